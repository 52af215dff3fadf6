//! Response heads of the client's side.

use std::fmt;

use httparse::{Header, Status};

use crate::request::{check_line_ends, explain_name};
use crate::response_framing::ResponseFraming;
use crate::{BodyDecoder, BodyLength, HeaderSlots, Limits, MAX_HEADERS, RequestError, Version};

/// A status line and its header fields, checked and borrowed from the buffer they came in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IncomingResponse<'h, 'b> {
    /// What the server speaks.
    pub version: Version,
    /// 101, or 200 to 999: interim responses are skipped. 101 is for whoever asked for an upgrade.
    pub status: u16,
    /// The fields in the order sent. Names are tokens, values have no blanks at their ends.
    pub headers: &'h [Header<'b>],
    /// How much body follows the head.
    pub body: ResponseBody,
    /// Whether the connection may carry another request once the body is read (RFC 9112, 9.3).
    pub keep_alive: bool,
}

/// How the length of a response body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseBody {
    /// There is none: the request was HEAD, or the status is 101, 204 or 304.
    None,
    /// Content-Length, in bytes. It may be 0.
    Fixed(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Whatever comes until the server closes. Nobody can tell whether that is all of it.
    UntilClose,
}

impl ResponseBody {
    /// What takes the body out of the bytes behind the head. `None` where they are the body as they
    /// are, until the server closes.
    #[must_use]
    pub fn decoder(self, limits: &Limits) -> Option<BodyDecoder> {
        let length = match self {
            ResponseBody::None => BodyLength::Empty,
            ResponseBody::Fixed(length) => BodyLength::Fixed(length),
            ResponseBody::Chunked => BodyLength::Chunked,
            ResponseBody::UntilClose => return None,
        };
        Some(BodyDecoder::of_response(length, limits))
    }
}

impl<'h, 'b> IncomingResponse<'h, 'b> {
    /// Parses the final head at the front of `buf`, which answers a request with `method`, and says
    /// how many bytes it takes: the body starts behind them. `None` means that more bytes are
    /// wanted; then `buf` is still within `limits`.
    ///
    /// Interim responses before it (RFC 9110, 15.2) are skipped. They count towards
    /// [`Limits::head_bytes`], so there is an end to them.
    ///
    /// Nothing is remembered between calls. Call again with the same bytes and those that came
    /// after them; the result does not depend on how they were split. Make `slots` anew each time.
    ///
    /// # Errors
    ///
    /// As soon as the bytes at hand can no longer become a valid head within `limits`, or at the
    /// latest when the head is complete.
    pub fn parse(
        buf: &'b [u8],
        slots: &'h mut HeaderSlots<'b>,
        method: &str,
        limits: &Limits,
    ) -> Result<Option<(Self, usize)>, ResponseError> {
        // Nothing past the limit is looked at, so that one more byte cannot change the outcome.
        let view = &buf[..buf.len().min(limits.head_bytes)];
        let mut skipped = 0;
        loop {
            let mut interim = HeaderSlots::new();
            let parsed = Self::parse_one(&view[skipped..], &mut interim, method, limits)?;
            let Some((head, length)) = parsed else {
                return match view.len() == limits.head_bytes {
                    true => Err(ResponseError::HeadTooLong),
                    false => Ok(None),
                };
            };
            if head.status >= 200 || head.status == 101 {
                break;
            }
            skipped += length;
        }
        let parsed = Self::parse_one(&view[skipped..], slots, method, limits)?;
        Ok(parsed.map(|(head, length)| (head, skipped + length)))
    }

    /// Parses one head, interim or final; `None` if it is not complete.
    fn parse_one<'s>(
        buf: &'b [u8],
        slots: &'s mut HeaderSlots<'b>,
        method: &str,
        limits: &Limits,
    ) -> Result<Option<(IncomingResponse<'s, 'b>, usize)>, ResponseError> {
        // httparse would skip empty lines here, as a server does (RFC 9112, 2.2). Behind a request
        // they are bytes that belong to nothing.
        if buf.starts_with(b"\r") || buf.starts_with(b"\n") {
            return Err(ResponseError::InvalidStatusLine);
        }
        let head = check_line_ends(buf).map_err(ResponseError::Rule)?;
        let mut response = httparse::Response::new(&mut []);
        let slots = &mut slots.0[..limits.headers.min(MAX_HEADERS)];
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            head,
            slots,
        );
        let length = match parsed {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(explain(error, head)),
        };
        let headers: &'s [Header<'b>] = response.headers;
        // A complete parse fills these in.
        let (Some(minor), Some(status)) = (response.version, response.code) else {
            return Err(ResponseError::InvalidStatusLine);
        };
        if status < 100 {
            return Err(ResponseError::InvalidStatusLine);
        }
        let version = match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        };
        let framing =
            ResponseFraming::read(version, status, method, headers).map_err(ResponseError::Rule)?;
        let head = IncomingResponse {
            version,
            status,
            headers,
            body: framing.body,
            keep_alive: framing.keep_alive,
        };
        Ok(Some((head, length)))
    }

    /// The value of the first field called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        let mut headers = self.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(header.value)
    }
}

/// Why a response head is refused. Nobody knows then where its body ends, or whose it is: close the
/// connection, and answer 502 if the response was to be passed on (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseError {
    /// The first line is no `HTTP/1.x` and a three-digit status (RFC 9112, 4).
    InvalidStatusLine,
    /// More header fields than [`Limits::headers`](crate::Limits::headers).
    TooManyHeaders,
    /// The head, interim responses before it included, is longer than
    /// [`Limits::head_bytes`](crate::Limits::head_bytes).
    HeadTooLong,
    /// A rule that holds for requests too.
    Rule(RequestError),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidStatusLine => {
                f.write_str("the status line is not HTTP/1.0 or HTTP/1.1 and a status code")
            }
            Self::TooManyHeaders => f.write_str("the response has too many headers"),
            Self::HeadTooLong => f.write_str("the status line and headers are too long"),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

impl std::error::Error for ResponseError {}

/// The rule behind an error of httparse, which tells places but not reasons.
fn explain(error: httparse::Error, head: &[u8]) -> ResponseError {
    match error {
        httparse::Error::HeaderName => {
            let lines = head
                .split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            ResponseError::Rule(explain_name(lines.skip(1)))
        }
        httparse::Error::HeaderValue => ResponseError::Rule(RequestError::InvalidHeaderValue),
        httparse::Error::TooManyHeaders => ResponseError::TooManyHeaders,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => ResponseError::InvalidStatusLine,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    type Parsed = Result<Option<(u16, ResponseBody, bool, usize)>, ResponseError>;

    fn parse(method: &str, head: &str) -> Parsed {
        parse_within(method, head, &Limits::default())
    }

    fn parse_within(method: &str, head: &str, limits: &Limits) -> Parsed {
        let mut slots = HeaderSlots::new();
        let parsed = IncomingResponse::parse(head.as_bytes(), &mut slots, method, limits)?;
        Ok(parsed.map(|(head, length)| (head.status, head.body, head.keep_alive, length)))
    }

    /// Body and persistence of a response with these fields.
    fn framed(method: &str, status: &str, fields: &str) -> (ResponseBody, bool) {
        let head = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
        let (_, body, keep_alive, length) = parse(method, &head).unwrap().unwrap();
        assert_eq!(length, head.len());
        (body, keep_alive)
    }

    fn refused(head: &str) -> ResponseError {
        parse("GET", head).unwrap_err()
    }

    #[test]
    fn a_head_is_read_whole_and_only_then() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b c \r\n\r\n";
        let text = format!("{head}hello");
        let mut slots = HeaderSlots::new();
        let limits = Limits::default();
        let (parsed, length) = IncomingResponse::parse(text.as_bytes(), &mut slots, "GET", &limits)
            .unwrap()
            .unwrap();
        assert_eq!((parsed.status, length), (200, head.len()));
        assert_eq!(parsed.header("x-a"), Some(&b"b c"[..]));
        assert_eq!(parsed.body, ResponseBody::Fixed(5));
        for end in 0..head.len() {
            assert_eq!(parse("GET", &head[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn status_lines_may_lack_a_reason_but_no_digit() {
        for line in [
            "HTTP/1.1 200",
            "HTTP/1.1 200 ",
            "HTTP/1.0 200 \u{e9}t\u{e9}",
            "HTTP/1.1 999 x",
        ] {
            assert!(
                parse("GET", &format!("{line}\r\n\r\n")).unwrap().is_some(),
                "{line}"
            );
        }
        for line in [
            "\r\nHTTP/1.1 200 OK",
            "HTTP/2 200 OK",
            "HTTP/1.2 200 OK",
            "http/1.1 200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 200 O\0K",
            "ICY 200 OK",
            "SSH-2.0-x",
            "<html>",
        ] {
            let error = refused(&format!("{line}\r\n\r\n"));
            assert_eq!(error, ResponseError::InvalidStatusLine, "{line:?}");
        }
        // What cannot become a status line need not be waited for.
        assert_eq!(refused("220 mail"), ResponseError::InvalidStatusLine);
    }

    #[test]
    fn line_ends_and_fields_are_held_to_the_rules_of_requests() {
        for (fields, rule) in [
            ("a: b\n", RequestError::BareLineFeed),
            ("a: b\rc\r\n", RequestError::BareCarriageReturn),
            ("a : b\r\n", RequestError::SpaceBeforeColon),
            ("a: b\r\n c\r\n", RequestError::FoldedHeader),
            ("a b: c\r\n", RequestError::InvalidHeaderName),
            ("a: \0\r\n", RequestError::InvalidHeaderValue),
            (
                "content-length: 1\r\ncontent-length: 1\r\n",
                RequestError::RepeatedContentLength,
            ),
            (
                "content-length: 1, 1\r\n",
                RequestError::InvalidContentLength,
            ),
            ("content-length: +1\r\n", RequestError::InvalidContentLength),
            (
                "content-length: 18446744073709551616\r\n",
                RequestError::InvalidContentLength,
            ),
            (
                "content-length: 1\r\ntransfer-encoding: chunked\r\n",
                RequestError::ConflictingLengths,
            ),
            ("transfer-encoding: gzip\r\n", RequestError::ChunkedNotLast),
            (
                "transfer-encoding: gzip, chunked\r\n",
                RequestError::UnknownTransferEncoding,
            ),
            (
                "transfer-encoding: chunked, gzip\r\n",
                RequestError::ChunkedNotLast,
            ),
            (
                "transfer-encoding: chunked, chunked\r\n",
                RequestError::ChunkedTwice,
            ),
            (
                "transfer-encoding:\r\n",
                RequestError::InvalidTransferEncoding,
            ),
        ] {
            let error = refused(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            assert_eq!(error, ResponseError::Rule(rule), "{fields:?}");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let rule = RequestError::TransferEncodingInHttp10;
        assert_eq!(refused(old), ResponseError::Rule(rule));
    }

    #[test]
    fn the_body_ends_as_the_fields_say() {
        let chunked = "transfer-encoding: Chunked\r\n";
        for (fields, body, keep_alive) in [
            ("content-length: 0\r\n", ResponseBody::Fixed(0), true),
            ("content-length: 7\r\n", ResponseBody::Fixed(7), true),
            (chunked, ResponseBody::Chunked, true),
            ("", ResponseBody::UntilClose, false),
            (
                "connection: keep-alive\r\n",
                ResponseBody::UntilClose,
                false,
            ),
            (
                "content-length: 7\r\nconnection: x, Close\r\n",
                ResponseBody::Fixed(7),
                false,
            ),
        ] {
            assert_eq!(
                framed("GET", "200 OK", fields),
                (body, keep_alive),
                "{fields:?}"
            );
        }
        for (fields, keep_alive) in [("", false), ("connection: keep-alive\r\n", true)] {
            let head = format!("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n{fields}\r\n");
            let parsed = parse("GET", &head).unwrap().unwrap();
            assert_eq!(parsed.2, keep_alive, "{fields:?}");
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (method, status, fields, keep_alive) in [
            ("HEAD", "200 OK", "content-length: 7\r\n", true),
            ("HEAD", "200 OK", "transfer-encoding: chunked\r\n", true),
            ("HEAD", "200 OK", "", true),
            ("GET", "304 Not Modified", "content-length: 7\r\n", true),
            ("GET", "204 No Content", "", true),
            ("GET", "204 No Content", "content-length: 0\r\n", true),
            // Such a server may well send what it announces.
            ("GET", "204 No Content", "content-length: 7\r\n", false),
            (
                "GET",
                "204 No Content",
                "transfer-encoding: chunked\r\n",
                false,
            ),
            (
                "GET",
                "101 Switching Protocols",
                "upgrade: websocket\r\n",
                false,
            ),
        ] {
            let expected = (ResponseBody::None, keep_alive);
            assert_eq!(
                framed(method, status, fields),
                expected,
                "{method} {status} {fields}"
            );
        }
        // Methods are case-sensitive.
        let (body, _) = framed("head", "200 OK", "content-length: 7\r\n");
        assert_eq!(body, ResponseBody::Fixed(7));
    }

    #[test]
    fn interim_responses_are_skipped_as_long_as_there_is_room() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        let head = format!("{interim}HTTP/1.1 204 No Content\r\n\r\n");
        let parsed = parse("GET", &head).unwrap().unwrap();
        assert_eq!((parsed.0, parsed.3), (204, head.len()));
        for end in 0..head.len() {
            assert_eq!(parse("GET", &head[..end]), Ok(None), "{end}");
        }
        let limits = Limits {
            head_bytes: 256,
            ..Limits::default()
        };
        let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20);
        let error = parse_within("GET", &endless, &limits);
        assert_eq!(error, Err(ResponseError::HeadTooLong));
    }

    #[test]
    fn heads_are_bounded_in_bytes_and_fields() {
        let limits = Limits {
            head_bytes: 64,
            headers: 2,
            ..Limits::default()
        };
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(64));
        let error = parse_within("GET", &long, &limits);
        assert_eq!(error, Err(ResponseError::HeadTooLong));
        let many = "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n";
        let error = parse_within("GET", many, &limits);
        assert_eq!(error, Err(ResponseError::TooManyHeaders));
    }
}
