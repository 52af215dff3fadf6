//! What the header fields of a response say about its body and the connection.

use httparse::Header;

use crate::framing::{ConnectionOptions, parse_content_length};
use crate::headers::{is_token, list_elements};
use crate::{RequestError, ResponseBody, ResponseError, Version, forbids_body};

/// The fields that the client's side acts on, read from a head in one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseFraming {
    pub(crate) content_length: Option<u64>,
    pub(crate) body: ResponseBody,
    pub(crate) keep_alive: bool,
    /// Whether the fields break a rule, but mean one thing only.
    pub(crate) sloppy: bool,
}

impl ResponseFraming {
    /// RFC 9112, 6.3, in its order.
    pub(crate) fn read(
        version: Version,
        status: u16,
        method: &str,
        headers: &[Header<'_>],
    ) -> Result<Self, ResponseError> {
        let mut length = Length::default();
        let mut codings = Codings::default();
        let mut options = ConnectionOptions::default();
        for header in headers {
            let value = header.value;
            let refused = |rule| ResponseError::field(header.name.as_bytes(), rule);
            if header.name.eq_ignore_ascii_case("content-length") {
                length.add(value).map_err(refused)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                codings.add(value).map_err(refused)?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                options.add(value);
            }
        }
        let persists = options.keep_alive(version);
        let mut sloppy = length.sloppy || codings.sloppy;
        let coding = |rule| ResponseError::field(b"transfer-encoding", rule);
        let body = match (codings.chunked, codings.unknown, length.bytes) {
            // 6.3 (3): such a message ought to be handled as an error.
            (true, _, Some(_)) | (_, true, Some(_)) => {
                return Err(coding(RequestError::ConflictingLengths));
            }
            // 6.3 (4.1) would read a body to the end of the connection whose last coding is not
            // chunked. But no coding was asked for (7.4), and none can be passed on.
            (false, true, None) => return Err(coding(RequestError::ChunkedNotLast)),
            (true, true, None) => return Err(coding(RequestError::UnknownTransferEncoding)),
            // 6.1: the framing of such a message from HTTP/1.0 is faulty: it is read, and the
            // connection closed behind it.
            (true, false, None) => {
                sloppy |= version == Version::Http10;
                ResponseBody::Chunked
            }
            (false, false, Some(length)) => ResponseBody::Fixed(length),
            (false, false, None) => ResponseBody::UntilClose,
        };
        // 6.3 (1) and (2): no body, whatever the fields say.
        if forbids_body(status) || method == "HEAD" || status == 304 {
            // 8.6 of RFC 9110 and 6.1 forbid these fields where no 200 to a GET is described. A
            // server that sends them may send a body as well: nothing behind it is to be trusted.
            let described = method == "HEAD" || status == 304;
            let announced = !matches!(body, ResponseBody::UntilClose | ResponseBody::Fixed(0));
            return Ok(Self {
                content_length: length.bytes,
                body: ResponseBody::None,
                keep_alive: persists && status != 101 && (described || !announced),
                sloppy,
            });
        }
        Ok(Self {
            content_length: length.bytes,
            body,
            keep_alive: persists && body != ResponseBody::UntilClose,
            sloppy,
        })
    }
}

/// The Transfer-Encoding fields of one response, read as one list (RFC 9110, 5.3).
#[derive(Default)]
struct Codings {
    chunked: bool,
    unknown: bool,
    sloppy: bool,
}

impl Codings {
    /// Empty elements are skipped, as RFC 9110, 5.6.1 has it, and so is `identity`, which changes
    /// nothing: RFC 2616, 3.6 had it. `chunked` may not be applied twice (RFC 9112, 6.1), so who says
    /// it twice has done it once.
    fn add(&mut self, value: &[u8]) -> Result<(), RequestError> {
        self.sloppy |= value.is_empty();
        for element in list_elements(value) {
            let name_end = element
                .iter()
                .position(|byte| matches!(byte, b';' | b' ' | b'\t'));
            let (name, parameters) = element.split_at(name_end.unwrap_or(element.len()));
            if element.is_empty() {
                self.sloppy = true;
            } else if !is_token(name) {
                return Err(RequestError::InvalidTransferEncoding);
            } else if name.eq_ignore_ascii_case(b"chunked") {
                // RFC 9112, 7.1: chunked has no parameters; any are an error.
                if !parameters.is_empty() {
                    return Err(RequestError::InvalidTransferEncoding);
                }
                self.sloppy |= self.chunked;
                self.chunked = true;
            } else if self.chunked {
                return Err(RequestError::ChunkedNotLast);
            } else if name.eq_ignore_ascii_case(b"identity") && parameters.is_empty() {
                self.sloppy = true;
            } else {
                self.unknown = true;
            }
        }
        Ok(())
    }
}

/// The Content-Length fields of one response.
#[derive(Default)]
struct Length {
    bytes: Option<u64>,
    sloppy: bool,
}

impl Length {
    /// RFC 9112, 6.3 (5): a list of equal values counts as one of them. An empty field says
    /// nothing.
    fn add(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if value.is_empty() {
            self.sloppy = true;
            return Ok(());
        }
        for element in list_elements(value) {
            let bytes = parse_content_length(element)?;
            match self.bytes.replace(bytes) {
                None => {}
                Some(other) if other == bytes => self.sloppy = true,
                Some(_) => return Err(RequestError::RepeatedContentLength),
            }
        }
        Ok(())
    }
}
