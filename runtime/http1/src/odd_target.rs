//! Heads with a target that is not UTF-8, which httparse refuses to read.
//!
//! Old clients and little devices send letters as one byte each (latin-1), and other servers take
//! them. The request line is read here, which is simple once its method and its target are known;
//! httparse reads the fields behind it.

use httparse::{EMPTY_HEADER, Header, Status};

use crate::RequestError;
use crate::headers::is_token;
use crate::request::{Line, Parsed, Version, explain, explain_version};
use crate::target::Target;

/// What ends a request line (RFC 9112, 2.3 and 3).
const ENDS: [(Version, &[u8]); 2] = [
    (Version::Http11, b"HTTP/1.1\r\n"),
    (Version::Http10, b"HTTP/1.0\r\n"),
];

/// Whether a target is not UTF-8.
pub(crate) fn is_odd(target: &[u8]) -> bool {
    !target.is_ascii() && std::str::from_utf8(target).is_err()
}

/// Reads a head that begins with method and target of `line`, and has at most so many fields; `None`
/// if it is not whole. Line ends are checked already.
pub(crate) fn parse<'h, 'b>(
    head: &'b [u8],
    (method, target): Line<'b>,
    fields: &'h mut Vec<Header<'b>>,
    most: usize,
) -> Result<Option<Parsed<'h, 'b>>, RequestError> {
    let method = match std::str::from_utf8(method) {
        Ok(text) if is_token(method) => text,
        _ => return Err(RequestError::InvalidMethod),
    };
    Target::parse(method, target)?;
    // A blank stands behind each of the two.
    let line = method.len() + target.len() + 2;
    let rest = head.get(line..).unwrap_or_default();
    let found = ENDS.iter().find(|(_, end)| rest.starts_with(end));
    let Some((version, end)) = found else {
        return match ENDS.iter().any(|(_, end)| end.starts_with(rest)) {
            true => Ok(None),
            false => {
                let whole = head.split(|byte| matches!(byte, b'\r' | b'\n')).next();
                Err(explain_version(whole.unwrap_or_default()))
            }
        };
    };
    // A head that comes byte by byte is looked at each time, and takes memory once.
    if !rest.windows(2).any(|two| two == b"\n\r" || two == b"\n\n") {
        return Ok(None);
    }
    *fields = vec![EMPTY_HEADER; most];
    match httparse::parse_headers(&rest[end.len()..], fields) {
        Ok(Status::Complete((length, headers))) => Ok(Some(Parsed {
            method,
            target,
            version: *version,
            headers,
            length: line + end.len() + length,
        })),
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(explain(error, head)),
    }
}
