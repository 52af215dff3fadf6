//! What the header fields of a response say about its body and the connection.

use httparse::Header;

use crate::framing::{ConnectionOptions, TransferCodings, parse_content_length};
use crate::{BodyLength, RequestError, ResponseBody, Version, forbids_body};

/// The fields that the client's side acts on, read from a head in one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseFraming {
    pub(crate) body: ResponseBody,
    pub(crate) keep_alive: bool,
}

impl ResponseFraming {
    /// RFC 9112, 6.3, in its order.
    pub(crate) fn read(
        version: Version,
        status: u16,
        method: &str,
        headers: &[Header<'_>],
    ) -> Result<Self, RequestError> {
        let mut content_length = None;
        let mut codings = TransferCodings::default();
        let mut options = ConnectionOptions::default();
        for header in headers {
            let value = header.value;
            if header.name.eq_ignore_ascii_case("content-length") {
                // RFC 9112, 6.3 (5) would let equal repetitions pass. They have no honest use.
                if content_length.is_some() {
                    return Err(RequestError::RepeatedContentLength);
                }
                content_length = Some(parse_content_length(value)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                codings.add(value)?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                options.add(value);
            }
        }
        let persists = options.keep_alive(version);
        let body = match (codings.present, content_length) {
            // 6.3 (3): such a message ought to be handled as an error.
            (true, Some(_)) => return Err(RequestError::ConflictingLengths),
            // 6.1: a client must treat it as faulty framing.
            (true, None) if version == Version::Http10 => {
                return Err(RequestError::TransferEncodingInHttp10);
            }
            // 6.3 (4.1) would read a body to the end of the connection whose last coding is not
            // chunked. But no coding was asked for (7.4), and none can be passed on.
            (true, None) => match codings.body()? {
                BodyLength::Chunked => ResponseBody::Chunked,
                BodyLength::Empty | BodyLength::Fixed(_) => {
                    return Err(RequestError::ChunkedNotLast);
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
                body: ResponseBody::None,
                keep_alive: persists && status != 101 && (described || !announced),
            });
        }
        Ok(Self {
            body,
            keep_alive: persists && body != ResponseBody::UntilClose,
        })
    }
}
