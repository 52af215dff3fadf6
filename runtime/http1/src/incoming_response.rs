//! Response heads of the client's side.

use std::borrow::Cow;
use std::fmt;

use httparse::Header;

use crate::headers::{is_field_byte, is_token, trim_blanks};
use crate::response_framing::ResponseFraming;
use crate::{BodyDecoder, BodyLength, Limits, MAX_EMPTY_LINES, RequestError, Version};

/// How many header fields a [`ResponseSlots`] has room for.
///
/// A slot is two string slices: all of them take 8 KiB on a 64-bit machine, on the stack of the
/// caller for the length of one parse. Servers of the field send up to a hundred fields where an
/// application adds one for each of its modules.
pub const MAX_RESPONSE_HEADERS: usize = 256;

/// A status line and its header fields, checked and borrowed from the buffer they came in.
///
/// What a server got wrong is read all the same where it can be read in one way only; then
/// [`sloppy`](Self::sloppy) is set.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IncomingResponse<'h, 'b> {
    /// What the server speaks.
    pub version: Version,
    /// 100 to 999. Below 200 the response is an interim one and another head follows it (RFC 9110,
    /// 15.2); but 101 is final, for whoever asked for an upgrade.
    pub status: u16,
    /// The fields in the order sent. Names are tokens, values have no blanks at their ends. Where
    /// the response is sloppy, values may hold control bytes: see [`clean_value`].
    pub headers: &'h [Header<'b>],
    /// What Content-Length says, if it says anything, however often.
    pub content_length: Option<u64>,
    /// How much body follows the head.
    pub body: ResponseBody,
    /// Whether the connection may carry another request once the body is read (RFC 9112, 9.3).
    /// Never where the response is sloppy.
    pub keep_alive: bool,
    /// Whether the head breaks a rule, in a way that leaves no doubt about what it means.
    pub sloppy: bool,
}

/// How the length of a response body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseBody {
    /// There is none: the request was HEAD, or the status is 1xx, 204 or 304.
    None,
    /// Content-Length, in bytes. It may be 0.
    Fixed(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Whatever comes until the server closes. Nobody can tell whether that is all of it.
    UntilClose,
}

impl ResponseBody {
    /// What takes the body out of the bytes behind the head; it is as lenient as the parser of
    /// heads. `None` where the bytes are the body as they are, until the server closes.
    #[must_use]
    pub fn decoder(self, limits: &Limits) -> Option<BodyDecoder> {
        let length = match self {
            ResponseBody::None => BodyLength::Empty,
            ResponseBody::Fixed(length) => BodyLength::Fixed(length),
            ResponseBody::Chunked => BodyLength::Chunked,
            ResponseBody::UntilClose => return None,
        };
        Some(BodyDecoder::lenient(length, limits))
    }
}

/// Room for the header fields of one response head.
#[derive(Debug)]
pub struct ResponseSlots<'b>([Header<'b>; MAX_RESPONSE_HEADERS]);

impl ResponseSlots<'_> {
    /// Empty slots.
    #[must_use]
    pub const fn new() -> Self {
        Self([httparse::EMPTY_HEADER; MAX_RESPONSE_HEADERS])
    }
}

impl Default for ResponseSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'h, 'b> IncomingResponse<'h, 'b> {
    /// Parses the head at the front of `buf`, which answers a request with `method`, and says how
    /// many bytes it takes: the body, or after an interim response the next head, starts behind
    /// them. `None` means that more bytes are wanted; then `buf` is still within `limits`.
    ///
    /// Nothing is remembered between calls. Call again with the same bytes and those that came
    /// after them; the result does not depend on how they were split. How many interim responses
    /// there may be is for the caller to bound.
    ///
    /// # Errors
    ///
    /// As soon as the bytes at hand cannot become a status line or exceed `limits`, or else when
    /// the head is complete.
    pub fn parse(
        buf: &'b [u8],
        slots: &'h mut ResponseSlots<'b>,
        method: &str,
        limits: &Limits,
    ) -> Result<Option<(Self, usize)>, ResponseError> {
        // Nothing past the limit is looked at, so that one more byte cannot change the outcome.
        let view = &buf[..buf.len().min(limits.head_bytes)];
        let start = skip_empty_lines(view)?;
        let Some(first) = Line::at(view, start) else {
            check_line_start(&view[start..])?;
            return more_wanted(view, limits);
        };
        let StatusLine {
            version,
            status,
            sloppy,
        } = StatusLine::read(first.text)?;
        let Some((fields_end, length)) = head_end(view, first.next) else {
            return more_wanted(view, limits);
        };
        let section = &view[..fields_end];
        let read = read_fields(section, first.next, slots, limits)?;
        let headers: &'h [Header<'b>] = &slots.0[..read.count];
        let framing = ResponseFraming::read(version, status, method, headers)?;
        let bare_end = !view[..length].ends_with(b"\r\n");
        let sloppy = start > 0 || sloppy || first.bare || bare_end || read.sloppy || framing.sloppy;
        let head = IncomingResponse {
            version,
            status,
            headers,
            content_length: framing.content_length,
            body: framing.body,
            keep_alive: framing.keep_alive && !sloppy,
            sloppy,
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

/// A value as it may be passed on: a space for each control byte, which is what RFC 9110, 5.5 has a
/// recipient do that does not refuse the message, and what RFC 9112, 5.2 has it do with the end of
/// a line that is folded.
#[must_use]
pub fn clean_value(value: &[u8]) -> Cow<'_, [u8]> {
    if value.iter().all(|byte| is_field_byte(*byte)) {
        return Cow::Borrowed(value);
    }
    let clean: Vec<u8> = value
        .iter()
        .map(|byte| if is_field_byte(*byte) { *byte } else { b' ' })
        .collect();
    Cow::Owned(trim_blanks(&clean).to_vec())
}

/// A line that is complete.
struct Line<'b> {
    /// Without its end.
    text: &'b [u8],
    /// Where the next line starts.
    next: usize,
    /// Whether it ends with LF alone. RFC 9112, 2.2 lets a recipient take that for a line's end.
    bare: bool,
}

impl<'b> Line<'b> {
    fn at(buf: &'b [u8], start: usize) -> Option<Line<'b>> {
        let length = buf[start..].iter().position(|byte| *byte == b'\n')?;
        let text = &buf[start..start + length];
        let next = start + length + 1;
        Some(match text.strip_suffix(b"\r") {
            Some(text) => Line {
                text,
                next,
                bare: false,
            },
            None => Line {
                text,
                next,
                bare: true,
            },
        })
    }
}

fn more_wanted<T>(view: &[u8], limits: &Limits) -> Result<Option<T>, ResponseError> {
    match view.len() == limits.head_bytes {
        true => Err(ResponseError::HeadTooLong {
            most: limits.head_bytes,
        }),
        false => Ok(None),
    }
}

/// How many bytes of empty lines lead `view`: what a server wrote too much behind the body before.
fn skip_empty_lines(view: &[u8]) -> Result<usize, ResponseError> {
    let mut skipped = 0;
    for _ in 0..=MAX_EMPTY_LINES {
        match Line::at(view, skipped) {
            Some(line) if line.text.is_empty() => skipped = line.next,
            _ => return Ok(skipped),
        }
    }
    Err(ResponseError::InvalidStatusLine)
}

/// How every status line starts, in whatever case.
const START: &[u8] = b"HTTP/1.";

/// What cannot become a status line need not be waited for: bytes that are no `HTTP/1.`.
fn check_line_start(line: &[u8]) -> Result<(), ResponseError> {
    let length = line.len().min(START.len());
    // An empty line may come to its end yet.
    match line == b"\r" || line[..length].eq_ignore_ascii_case(&START[..length]) {
        true => Ok(()),
        false => Err(ResponseError::InvalidStatusLine),
    }
}

/// A status line (RFC 9112, 4).
struct StatusLine {
    version: Version,
    status: u16,
    /// Whether it breaks a rule, but means one thing only.
    sloppy: bool,
}

impl StatusLine {
    /// The version, a space and three digits; then nothing, or a space and a text that nobody
    /// reads. RFC 9112, 4 lets a recipient take any blanks for that space. A higher minor version is
    /// read as the highest that is known (RFC 9110, 2.5).
    fn read(line: &[u8]) -> Result<StatusLine, ResponseError> {
        let (start, rest) = line
            .split_at_checked(START.len())
            .ok_or(ResponseError::InvalidStatusLine)?;
        let [minor @ b'0'..=b'9', rest @ ..] = rest else {
            return Err(ResponseError::InvalidStatusLine);
        };
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
        let (blanks, [a @ b'1'..=b'9', b, c, reason @ ..]) = rest.split_at(blanks) else {
            return Err(ResponseError::InvalidStatusLine);
        };
        let digits = b.is_ascii_digit() && c.is_ascii_digit();
        let ends = reason.first().is_none_or(is_blank);
        if !start.eq_ignore_ascii_case(START) || blanks.is_empty() || !digits || !ends {
            return Err(ResponseError::InvalidStatusLine);
        }
        let digit = |byte: &u8| u16::from(byte - b'0');
        let is_plain = start == START && blanks == b" " && !reason.starts_with(b"\t");
        Ok(StatusLine {
            version: match minor {
                b'0' => Version::Http10,
                _ => Version::Http11,
            },
            status: digit(a) * 100 + digit(b) * 10 + digit(c),
            sloppy: !is_plain || *minor > b'1',
        })
    }
}

/// Where the fields end, and where the head does: behind the first empty line.
fn head_end(view: &[u8], fields: usize) -> Option<(usize, usize)> {
    let mut start = fields;
    while let Some(line) = Line::at(view, start) {
        if line.text.is_empty() {
            return Some((start, line.next));
        }
        start = line.next;
    }
    None
}

/// How many fields were read, and whether one of them was sloppy.
struct Read {
    count: usize,
    sloppy: bool,
}

/// Reads the field lines of `section` from `start` to its end into the slots.
fn read_fields<'b>(
    section: &'b [u8],
    start: usize,
    slots: &mut ResponseSlots<'b>,
    limits: &Limits,
) -> Result<Read, ResponseError> {
    let most = limits.headers.min(MAX_RESPONSE_HEADERS);
    let mut read = Read {
        count: 0,
        sloppy: false,
    };
    // Where the value of the last field starts.
    let mut value_start = None;
    let mut next = start;
    while let Some(line) = Line::at(section, next) {
        let line_start = std::mem::replace(&mut next, line.next);
        let line_end = line_start + line.text.len();
        read.sloppy |= line.bare;
        if let [b' ' | b'\t', ..] = line.text {
            read.sloppy = true;
            // RFC 9112, 5.2: a gateway that does not refuse a folded line replaces the fold by
            // spaces. The value then spans the lines, and `clean_value` makes spaces of their ends.
            match value_start.zip(slots.0[..read.count].last_mut()) {
                Some((from, last)) => last.value = trim_blanks(&section[from..line_end]),
                // RFC 9112, 2.2: what folds nothing is skipped.
                None => check_skipped(line.text, RequestError::FoldedHeader)?,
            }
            continue;
        }
        let colon = line.text.iter().position(|byte| *byte == b':');
        let name = &line.text[..colon.unwrap_or(line.text.len())];
        // RFC 9112, 5.1: a proxy must remove the blanks before the colon of a response's field.
        let blanks = name
            .iter()
            .rev()
            .take_while(|byte| matches!(byte, b' ' | b'\t'));
        let token = &name[..name.len() - blanks.count()];
        let (Some(colon), true) = (colon, is_token(token)) else {
            check_skipped(name, RequestError::InvalidHeaderName)?;
            (read.sloppy, value_start) = (true, None);
            continue;
        };
        if read.count == most {
            return Err(ResponseError::TooManyHeaders { most });
        }
        let value = trim_blanks(&line.text[colon + 1..]);
        // A token is ASCII.
        slots.0[read.count] = Header {
            name: std::str::from_utf8(token).unwrap_or_default(),
            value,
        };
        read.count += 1;
        read.sloppy |= token.len() < name.len() || !value.iter().all(|byte| is_field_byte(*byte));
        value_start = Some(line_start + colon + 1);
    }
    Ok(read)
}

/// Checks that a line which is no field can be skipped. It is a field for nobody, unless somebody reads
/// over what is wrong with it; and there is a doubt about the message only if it then says where the
/// body ends.
fn check_skipped(line: &[u8], rule: RequestError) -> Result<(), ResponseError> {
    let letters = line.iter().filter(|byte| byte.is_ascii_alphabetic());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    let frames = [&b"contentlength"[..], b"transferencoding"]
        .iter()
        .any(|name| letters.windows(name.len()).any(|part| part == *name));
    match frames {
        true => Err(ResponseError::field(line, rule)),
        false => Ok(()),
    }
}

/// Why a response head is refused. Nobody knows then where its body ends, or whose it is: close the
/// connection, and answer 502 if the response was to be passed on (RFC 9112, 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseError {
    /// The first line is no `HTTP/1.x` and a three-digit status (RFC 9112, 4).
    InvalidStatusLine,
    /// More header fields than [`Limits::headers`](crate::Limits::headers).
    TooManyHeaders {
        /// How many there may be.
        most: usize,
    },
    /// The head, interim responses before it included, is longer than
    /// [`Limits::head_bytes`](crate::Limits::head_bytes).
    HeadTooLong {
        /// How many bytes it may have.
        most: usize,
    },
    /// A field breaks a rule that holds for requests too, and can be read in more than one way.
    Field {
        /// The first 64 bytes of the field's name, or of its line if that has no name.
        name: String,
        /// The rule.
        rule: RequestError,
    },
}

impl ResponseError {
    pub(crate) fn field(name: &[u8], rule: RequestError) -> ResponseError {
        let name = &name[..name.len().min(64)];
        ResponseError::Field {
            name: String::from_utf8_lossy(name).into_owned(),
            rule,
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidStatusLine => {
                f.write_str("the status line is not HTTP/1.0 or HTTP/1.1 and a status code")
            }
            Self::TooManyHeaders { most } => write!(f, "it has more than {most} headers"),
            Self::HeadTooLong { most } => {
                write!(f, "its status line and headers have more than {most} bytes")
            }
            // `{:?}` escapes what could forge a line in a log.
            Self::Field { name, rule } => write!(f, "header {name:?}: {rule}"),
        }
    }
}

impl std::error::Error for ResponseError {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    type Parsed = Result<Option<(u16, ResponseBody, bool, usize)>, ResponseError>;

    fn parse(method: &str, head: &str) -> Parsed {
        parse_within(method, head, &Limits::default())
    }

    fn parse_within(method: &str, head: &str, limits: &Limits) -> Parsed {
        let mut slots = ResponseSlots::new();
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
        let mut slots = ResponseSlots::new();
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
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 999 x",
        ] {
            assert!(
                parse("GET", &format!("{line}\r\n\r\n")).unwrap().is_some(),
                "{line}"
            );
        }
        for line in [
            "\r\n\r\n\r\nHTTP/1.1 200 OK",
            " HTTP/1.1 200 OK",
            "HTTP/2 200 OK",
            "HTTP/1.10 200 OK",
            "HTTP/1. 200 OK",
            "HTTP/1 200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1200 OK",
            "HTTP/1.1 +20 OK",
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

    /// Status, body, fields with clean values, and whether the head is sloppy and its connection
    /// may be used again.
    fn read(text: &[u8]) -> (ResponseBody, Vec<(String, String)>, bool, bool) {
        let mut slots = ResponseSlots::new();
        let limits = Limits::default();
        let (head, length) = IncomingResponse::parse(text, &mut slots, "GET", &limits)
            .unwrap()
            .unwrap();
        assert_eq!(length, text.len());
        let fields = head.headers.iter().map(|header| {
            let value = String::from_utf8(clean_value(header.value).into_owned()).unwrap();
            (header.name.to_owned(), value)
        });
        (head.body, fields.collect(), head.sloppy, head.keep_alive)
    }

    #[test]
    fn what_is_wrong_but_means_one_thing_is_read_and_the_connection_given_up() {
        for (text, body, fields) in [
            (
                &b"HTTP/1.1 200 OK\ncontent-length: 2\nA: b\n\n"[..],
                ResponseBody::Fixed(2),
                &[("content-length", "2"), ("A", "b")][..],
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\n",
                ResponseBody::Fixed(2),
                &[("content-length", "2")],
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 02\r\n\r\n",
                ResponseBody::Fixed(2),
                &[("content-length", "2"), ("Content-Length", "02")],
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n",
                ResponseBody::Fixed(2),
                &[("content-length", "2, 2")],
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
                ResponseBody::UntilClose,
                &[("content-length", "")],
            ),
            (
                b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                ResponseBody::Chunked,
                &[("transfer-encoding", "chunked")],
            ),
            (
                b"HTTP/1.1 200 OK\r\nServer \t: v\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("Server", "v"), ("content-length", "0")],
            ),
            (
                b"HTTP/1.1 200 OK\r\na: \x01b\0c\rd\x7f\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("a", "b c d"), ("content-length", "0")],
            ),
            (
                b"HTTP/1.1 200 OK\r\na: b\r\n  c\r\n\td\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("a", "b    c  \td"), ("content-length", "0")],
            ),
            (
                b"\r\n\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("content-length", "0")],
            ),
            (
                b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("content-length", "0")],
            ),
            (
                b"HTTP/1.9 200 OK\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("content-length", "0")],
            ),
            (
                b"HTTP/1.1 \t 200\tOK\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("content-length", "0")],
            ),
            (
                b"HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("content-length", "0")],
            ),
            (
                b"HTTP/1.1 200 OK\r\na: b\r\nno field\r\n folded\r\n: x\r\nd e: f\r\ncontent-length: 0\r\n\r\n",
                ResponseBody::Fixed(0),
                &[("a", "b"), ("content-length", "0")],
            ),
            (
                b"HTTP/1.1 200 OK\r\nx-\xe4: v\r\n\x00: v\r\nx(y): v\r\n\r\n",
                ResponseBody::UntilClose,
                &[],
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                ResponseBody::Chunked,
                &[
                    ("transfer-encoding", "chunked"),
                    ("Transfer-Encoding", "chunked"),
                ],
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: , Identity, chunked, chunked,\r\n\r\n",
                ResponseBody::Chunked,
                &[("transfer-encoding", ", Identity, chunked, chunked,")],
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 2\r\n\r\n",
                ResponseBody::Fixed(2),
                &[("transfer-encoding", "identity"), ("content-length", "2")],
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\n",
                ResponseBody::UntilClose,
                &[("transfer-encoding", "")],
            ),
        ] {
            let (read_body, read_fields, sloppy, keep_alive) = read(text);
            let shown = text.escape_ascii();
            assert_eq!(
                (read_body, sloppy, keep_alive),
                (body, true, false),
                "{shown}"
            );
            let read_fields: Vec<_> = read_fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(read_fields, fields, "{shown}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_with_the_fields_name() {
        for (fields, rule) in [
            (" content-length: 2\r\n", RequestError::FoldedHeader),
            ("content length: 2\r\n", RequestError::InvalidHeaderName),
            ("content-length\x00: 2\r\n", RequestError::InvalidHeaderName),
            ("Content-Length 2\r\n", RequestError::InvalidHeaderName),
            (
                "x\rTransfer-Encoding: chunked\r\n",
                RequestError::InvalidHeaderName,
            ),
            (
                "abc\r\n transfer-encoding: chunked\r\n",
                RequestError::FoldedHeader,
            ),
            (
                "content-length: 1\r\ncontent-length: 2\r\n",
                RequestError::RepeatedContentLength,
            ),
            (
                "content-length: 1, 2\r\n",
                RequestError::RepeatedContentLength,
            ),
            ("content-length: 1,\r\n", RequestError::InvalidContentLength),
            (
                "content-length: 1\0\r\n",
                RequestError::InvalidContentLength,
            ),
            (
                "content-length: 1\r\n 2\r\n",
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
                "transfer-encoding: chunked, identity\r\n",
                RequestError::ChunkedNotLast,
            ),
            (
                "transfer-encoding: identity, chunked\r\ncontent-length: 1\r\n",
                RequestError::ConflictingLengths,
            ),
            (
                "transfer-encoding: \"chunked\"\r\n",
                RequestError::InvalidTransferEncoding,
            ),
        ] {
            let error = refused(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            let ResponseError::Field { name, rule: broken } = error else {
                panic!("{fields:?}: {error:?}");
            };
            assert_eq!(broken, rule, "{fields:?}");
            assert!(fields.contains(&name), "{fields:?}: {name:?}");
        }
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
    fn interim_responses_come_one_by_one() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\ncontent-length: 5\r\n\r\n";
        let text = format!("{interim}HTTP/1.1 204 No Content\r\n\r\n");
        let parsed = parse("GET", &text).unwrap().unwrap();
        assert_eq!((parsed.0, parsed.1), (103, ResponseBody::None));
        assert_eq!(parsed.3, interim.len());
        let parsed = parse("GET", &text[interim.len()..]).unwrap().unwrap();
        assert_eq!(parsed.0, 204);
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
        assert_eq!(error, Err(ResponseError::HeadTooLong { most: 64 }));
        let many = "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n";
        let error = parse_within("GET", many, &limits);
        assert_eq!(error, Err(ResponseError::TooManyHeaders { most: 2 }));
    }
}
