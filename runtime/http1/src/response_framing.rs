//! What the header fields of a response say about its body and the connection.

use httparse::Header;

use crate::framing::{ConnectionOptions, TransferCodings, parse_content_length};
use crate::headers::list_elements;
use crate::{BodyLength, RequestError, ResponseBody, ResponseError, Version, forbids_body};

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
        let mut codings = TransferCodings::default();
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
        let mut sloppy = length.sloppy;
        let coding = |rule| ResponseError::field(b"transfer-encoding", rule);
        let body = match (codings.present, length.bytes) {
            // 6.3 (3): such a message ought to be handled as an error.
            (true, Some(_)) => return Err(coding(RequestError::ConflictingLengths)),
            // 6.3 (4.1) would read a body to the end of the connection whose last coding is not
            // chunked. But no coding was asked for (7.4), and none can be passed on.
            (true, None) => match codings.body().map_err(coding)? {
                // 6.1: the framing of such a message from HTTP/1.0 is faulty: it is read, and the
                // connection closed behind it.
                BodyLength::Chunked => {
                    sloppy |= version == Version::Http10;
                    ResponseBody::Chunked
                }
                BodyLength::Empty | BodyLength::Fixed(_) => {
                    return Err(coding(RequestError::ChunkedNotLast));
                }
            },
            (false, Some(length)) => ResponseBody::Fixed(length),
            (false, None) => ResponseBody::UntilClose,
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
