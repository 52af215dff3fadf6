//! The body of an upstream's response, on its way to whoever reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smol::Task;
use zlayer_http1::{BodyDecoder, Decoded, ResponseBody};

use super::connection::Connection;
use super::upload::UploadError;
use super::{Owner, Upstreams};
use crate::message::BodyError;
use crate::message::fields::trailer_map;

/// A response's body, with the rest of the exchange that it belongs to.
pub(super) struct UpstreamBody {
    /// `None` once the body has ended or failed.
    rest: Option<RestOfExchange>,
    /// How many bytes are still to come, if the response has a `Content-Length`.
    left: Option<u64>,
    upstreams: Upstreams,
    /// The client's connection, to which the upstream's may belong.
    owner: Option<Owner>,
    id: Box<str>,
}

struct RestOfExchange {
    connection: Connection,
    upload: RestOfUpload,
    /// `None` if the body goes on until the connection ends.
    decoder: Option<BodyDecoder>,
    /// Whether the connection may be used for another exchange.
    keep: bool,
    stall: Duration,
    /// Whether somebody waits for the next piece, so that the deadline is set.
    waiting: bool,
}

/// The part of the request that is not sent yet.
pub(super) struct RestOfUpload {
    /// Sends it while the response is read. It stops when this is dropped.
    pub(super) upload: Option<Task<Result<(), UploadError>>>,
    /// Whether the task waits for more of the request's body, so that nothing can be sent.
    pub(super) waits: Arc<AtomicBool>,
}

/// A part of the body that was read from the connection.
enum Piece {
    Data(Bytes),
    End(HeaderMap),
}

impl UpstreamBody {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of an exchange, each used as it is"
    )]
    pub(super) fn new(
        upstreams: Upstreams,
        owner: Option<Owner>,
        connection: Connection,
        upload: RestOfUpload,
        body: ResponseBody,
        keep: bool,
        stall: Duration,
        id: &str,
    ) -> UpstreamBody {
        let decoder = body.decoder(&upstreams.settings().http);
        UpstreamBody {
            rest: Some(RestOfExchange {
                connection,
                upload,
                decoder,
                keep,
                stall,
                waiting: false,
            }),
            left: match body {
                ResponseBody::Fixed(length) => Some(length),
                _ => None,
            },
            upstreams,
            owner,
            id: id.into(),
        }
    }

    /// Ends the body. Its connection may be used again if the request has been sent as well.
    fn finish(&mut self) {
        if let Some(rest) = self.rest.take()
            && rest.keep
            && rest.upload.upload.is_none()
            && rest.connection.buffer.bytes().is_empty()
            && !rest.decoder.is_some_and(|decoder| decoder.is_sloppy())
        {
            let owner = self.owner.as_ref();
            self.upstreams.keep_idle(rest.connection, owner);
        }
    }

    /// Ends the body with an error. The log says why; the reader sees that the body is cut short.
    fn fail(&mut self, error: BodyError, reason: &str) -> BodyError {
        if let Some(rest) = self.rest.take() {
            let key = &rest.connection.place.key;
            log::warn!(
                "[{}] upstream {key}: its answer is cut off: {reason}",
                self.id
            );
        }
        error
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(rest) = &mut this.rest else {
            return Poll::Ready(None);
        };
        let frame = match ready!(rest.poll_piece(cx)) {
            Err((error, reason)) => Err(this.fail(error, &reason)),
            Ok(Piece::Data(data)) => {
                let whole = rest.decoder.as_ref().is_some_and(BodyDecoder::is_done);
                if let Some(left) = &mut this.left {
                    *left = left.saturating_sub(data.len() as u64);
                }
                if whole {
                    // The last byte ends the body, so nobody need poll once more.
                    this.finish();
                }
                Ok(Frame::data(data))
            }
            Ok(Piece::End(trailers)) => {
                this.finish();
                if trailers.is_empty() {
                    return Poll::Ready(None);
                }
                Ok(Frame::trailers(trailers))
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.rest.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl RestOfExchange {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, (BodyError, String)>> {
        if !self.waiting {
            // The time that the reader took for the last piece does not count against the upstream.
            self.connection.deadline.set(self.stall);
            self.waiting = true;
        }
        loop {
            if let Some(upload) = &mut self.upload.upload
                && let Poll::Ready(ended) = Pin::new(upload).poll(cx)
            {
                self.upload.upload = None;
                match ended {
                    Ok(()) => {}
                    // The upstream has sent its response, and does not need the rest of the
                    // request.
                    Err(UploadError::Upstream(_)) => self.keep = false,
                    Err(UploadError::Body(error)) => {
                        let reason = format!("the request's body: {error}");
                        return Poll::Ready(Err((error, reason)));
                    }
                }
            }
            if let Some(piece) = self.decode()? {
                self.waiting = false;
                return Poll::Ready(Ok(piece));
            }
            match self.connection.poll_fill(cx, 0) {
                Poll::Ready(Ok(count)) if count > 0 => continue,
                Poll::Ready(Ok(_)) if self.decoder.is_none() => {
                    return Poll::Ready(Ok(Piece::End(HeaderMap::new())));
                }
                // Only what follows the last chunk is missing.
                Poll::Ready(Ok(_))
                    if self.decoder.as_mut().is_some_and(BodyDecoder::end_of_input) =>
                {
                    continue;
                }
                Poll::Ready(Ok(_)) => {
                    let reason = "the connection was closed".to_owned();
                    return Poll::Ready(Err((BodyError::UpstreamClosed, reason)));
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err((BodyError::UpstreamLost, error.to_string())));
                }
                Poll::Pending => {}
            }
            ready!(self.connection.deadline.poll(cx));
            if self.upload.upload.is_some() && self.upload.waits.load(Ordering::Relaxed) {
                // The upstream may be waiting for the rest of the request.
                self.connection.deadline.set(self.stall);
                continue;
            }
            let reason = "it stood still for too long".to_owned();
            return Poll::Ready(Err((BodyError::UpstreamStalled, reason)));
        }
    }

    /// Decodes what is in the buffer.
    fn decode(&mut self) -> Result<Option<Piece>, (BodyError, String)> {
        let buffer = &mut self.connection.buffer;
        let Some(decoder) = &mut self.decoder else {
            let data = Bytes::copy_from_slice(buffer.bytes());
            buffer.consume(data.len());
            return Ok((!data.is_empty()).then_some(Piece::Data(data)));
        };
        let (consumed, piece) = match decoder.decode(buffer.bytes()) {
            Ok(Decoded::NeedMore { consumed }) => (consumed, None),
            Ok(Decoded::Data { consumed, data }) => {
                (consumed, Some(Piece::Data(Bytes::copy_from_slice(data))))
            }
            Ok(Decoded::End { consumed, trailers }) => {
                (consumed, Some(Piece::End(trailer_map(trailers))))
            }
            Err(error) => return Err((BodyError::UpstreamMalformed, error.to_string())),
        };
        buffer.consume(consumed);
        Ok(piece)
    }
}
