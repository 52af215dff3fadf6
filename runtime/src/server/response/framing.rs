//! How the body of a response is framed (RFC 9112 section 6).

use zlayer_http1::{ResponseLength, Version, encode_chunk, encode_last_chunk};

use super::WriteError;
use crate::message::fields::pairs;

/// How the bytes of a body are framed, and how many of the announced length are still to come.
pub(super) enum Framing {
    Fixed { left: u64 },
    Chunked,
    UntilClose,
}

impl Framing {
    pub(super) fn new(length: ResponseLength, version: Version) -> Framing {
        match (length, version) {
            (ResponseLength::Fixed(left), _) => Framing::Fixed { left },
            (ResponseLength::Chunked, Version::Http11) => Framing::Chunked,
            _ => Framing::UntilClose,
        }
    }

    pub(super) fn encode_piece(
        &mut self,
        out: &mut Vec<u8>,
        data: &[u8],
    ) -> Result<(), WriteError> {
        match self {
            Framing::Chunked => encode_chunk(out, data),
            _ => {
                self.begin_piece(out, data.len())?;
                out.extend_from_slice(data);
            }
        }
        Ok(())
    }

    pub(super) fn begin_piece(
        &mut self,
        out: &mut Vec<u8>,
        length: usize,
    ) -> Result<(), WriteError> {
        match self {
            // The client would take bytes beyond the announced length for the next response.
            Framing::Fixed { left } => {
                *left = left.checked_sub(length as u64).ok_or(WriteError::Broken)?
            }
            Framing::Chunked => out.extend_from_slice(format!("{length:x}\r\n").as_bytes()),
            Framing::UntilClose => {}
        }
        Ok(())
    }

    pub(super) fn end_piece(&self, out: &mut Vec<u8>) {
        if let Framing::Chunked = self {
            out.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn encode_end(
        &self,
        out: &mut Vec<u8>,
        trailers: Option<&http::HeaderMap>,
    ) -> Result<(), WriteError> {
        match self {
            Framing::Fixed { left: 0 } | Framing::UntilClose => Ok(()),
            Framing::Fixed { .. } => Err(WriteError::Broken),
            Framing::Chunked => {
                let fields = trailers.map(pairs).unwrap_or_default();
                encode_last_chunk(out, &fields).map_err(|_| WriteError::Broken)
            }
        }
    }
}
