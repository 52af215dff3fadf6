//! Request heads.

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{Header, Status};

use crate::framing::Framing;
use crate::headers::{is_token, list_elements};
use crate::odd_target;
use crate::target::Target;
use crate::{Limits, MAX_EMPTY_LINES, MAX_HEADERS, MAX_METHOD_BYTES, RequestError};

/// A request line and its header fields, checked and borrowed from the buffer they came in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestHead<'h, 'b> {
    /// A token, as sent: methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'b str,
    /// The request target as sent. It has one of the four forms and fits the method. It may hold
    /// bytes that no URI holds: what is passed on is [`origin_form`](Self::origin_form).
    pub target: &'b [u8],
    /// What the client speaks.
    pub version: Version,
    /// The fields in the order sent. Names are tokens, values have no blanks at their ends.
    pub headers: &'h [Header<'b>],
    /// How much body follows the head.
    pub body: BodyLength,
    /// Whether the client wants the connection to persist (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for [`CONTINUE`](crate::CONTINUE) before it sends the body.
    pub expect_continue: bool,
    parts: Target<'b>,
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// Parses the head at the front of `buf`, and says how many bytes it takes: the body starts
    /// behind them. `None` means that more bytes are wanted; then `buf` is still within `limits`.
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
        limits: &Limits,
    ) -> Result<Option<(Self, usize)>, RequestError> {
        // Nothing past the limit is looked at, so that one more byte cannot change the outcome.
        let view = &buf[..buf.len().min(limits.head_bytes)];
        let full = view.len() == limits.head_bytes;
        let skipped = skip_empty_lines(view)?;
        let head = &view[skipped..];
        let line = check_request_line(head, limits)?;
        let head = check_line_ends(head)?;

        let most = limits.headers.min(MAX_HEADERS);
        let parsed = match line.filter(|(_, target)| odd_target::is_odd(target)) {
            Some(line) => odd_target::parse(head, line, &mut slots.spare, most)?,
            None => parse_head(head, &mut slots.slots[..most])?,
        };
        let Some(Parsed {
            method,
            target,
            version,
            headers,
            length,
        }) = parsed
        else {
            return if full {
                Err(explain_length(head))
            } else {
                Ok(None)
            };
        };

        let mut parts = Target::parse(method, target)?;
        // Encoded it may have three times the length, and it is that form which others get.
        if parts.origin_form.len() > limits.target_bytes {
            return Err(RequestError::TargetTooLong);
        }
        let framing = Framing::read(version, headers)?;
        let host = framing.host.unwrap_or_default();
        // RFC 9112, 3.2: an empty Host says that the target has no authority either.
        if parts.authority.is_some() && framing.host.is_some() && host.is_empty() {
            return Err(RequestError::InvalidHost);
        }
        // RFC 9112, 3.2.2: the authority of the target wins, and Host is ignored.
        parts.authority = parts
            .authority
            .or(Some(host).filter(|host| !host.is_empty()));
        let head = Self {
            method,
            target,
            version,
            headers,
            body: framing.body,
            keep_alive: framing.keep_alive,
            expect_continue: framing.expect_continue,
            parts,
        };
        Ok(Some((head, skipped + length)))
    }

    /// The target as `/path?query`, whatever form it was sent in; or `*` for a server-wide OPTIONS,
    /// or nothing for CONNECT (RFC 9112, 3.2). Bytes that RFC 3986 allows nowhere, quotes, braces
    /// and letters outside ASCII among them, are percent-encoded, so it is ASCII and no longer than
    /// [`Limits::target_bytes`].
    #[must_use]
    pub fn origin_form(&self) -> &str {
        &self.parts.origin_form
    }

    /// The path of [`origin_form`](Self::origin_form). Percent signs are not decoded and not
    /// checked, dot segments not resolved.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts.path()
    }

    /// What follows the first `?` of [`origin_form`](Self::origin_form).
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.parts.query()
    }

    /// `host[:port]`, checked: from the target if that names one, else from Host (RFC 9112, 3.3).
    /// `None` if Host is empty, or missing in HTTP/1.0.
    #[must_use]
    pub fn authority(&self) -> Option<&'b str> {
        self.parts.authority
    }

    /// The value of the first field called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(header.value)
    }

    /// The options of all Connection fields. Besides `close` and `keep-alive` they name fields that
    /// are meant for this connection alone: whoever forwards the request removes those
    /// (RFC 9110, 7.6.1).
    pub fn connection_options(&self) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        let fields = self
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("connection"));
        fields
            .flat_map(|header| list_elements(header.value))
            .filter(|option| !option.is_empty())
    }
}

/// What was found in a head that is whole.
pub(crate) struct Parsed<'h, 'b> {
    pub(crate) method: &'b str,
    pub(crate) target: &'b [u8],
    pub(crate) version: Version,
    pub(crate) headers: &'h [Header<'b>],
    pub(crate) length: usize,
}

/// Has httparse read a head; `None` if it is not whole.
fn parse_head<'h, 'b>(
    head: &'b [u8],
    slots: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<Parsed<'h, 'b>>, RequestError> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(head, slots) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(explain(error, head)),
    };
    // A complete parse fills these three in.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(RequestError::InvalidVersion);
    };
    Ok(Some(Parsed {
        method,
        target: target.as_bytes(),
        version: match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        },
        headers: request.headers,
        length,
    }))
}

/// Room for the header fields of one head. Making one costs nothing.
pub struct HeaderSlots<'b> {
    pub(crate) slots: [MaybeUninit<Header<'b>>; MAX_HEADERS],
    /// In the place of the others for a head that is read in another way.
    spare: Vec<Header<'b>>,
}

impl HeaderSlots<'_> {
    /// Empty slots.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const { MaybeUninit::uninit() }; MAX_HEADERS],
            spare: Vec::new(),
        }
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeaderSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderSlots").finish_non_exhaustive()
    }
}

/// The versions of HTTP that the codec speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the length of a request body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    Empty,
    /// Content-Length, in bytes. It may be 0, and as large as the client dares.
    Fixed(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// How many bytes of empty lines lead `buf` (RFC 9112, 2.2).
fn skip_empty_lines(buf: &[u8]) -> Result<usize, RequestError> {
    let mut skipped = 0;
    while buf[skipped..].starts_with(b"\r\n") {
        skipped += 2;
        if skipped > 2 * MAX_EMPTY_LINES {
            return Err(RequestError::EmptyLines);
        }
    }
    Ok(skipped)
}

/// The lengths of method and target, also of a line that is not complete yet. Returns the two where the
/// target has come to its end, which a blank follows.
fn check_request_line<'b>(
    head: &'b [u8],
    limits: &Limits,
) -> Result<Option<Line<'b>>, RequestError> {
    let method_end = head
        .iter()
        .take(MAX_METHOD_BYTES + 1)
        .position(|byte| *byte == b' ');
    let Some(method_end) = method_end else {
        return match head.get(..=MAX_METHOD_BYTES) {
            Some(method) if is_token(method) => Err(RequestError::MethodTooLong),
            _ => Ok(None),
        };
    };
    let target = &head[method_end + 1..];
    let ends_within = |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n');
    let target_end = target
        .iter()
        .take(limits.target_bytes.saturating_add(1))
        .position(ends_within);
    if target_end.is_none() && target.len() > limits.target_bytes {
        return Err(RequestError::TargetTooLong);
    }
    let end = target_end.filter(|end| target[*end] == b' ');
    Ok(end.map(|end| (&head[..method_end], &target[..end])))
}

/// A method and a target, as they were sent.
pub(crate) type Line<'b> = (&'b [u8], &'b [u8]);

/// RFC 9112, 2.2: lines end with CRLF, and neither CR nor LF stands alone. httparse takes a bare LF
/// for a line end, as that section allows; strict servers refuse it, since others read it
/// differently.
///
/// Returns the head alone where it is complete, else all there is. A CR at the very end may still
/// get its LF.
fn check_line_ends(head: &[u8]) -> Result<&[u8], RequestError> {
    let mut line_start = 0;
    while let Some(length) = head[line_start..]
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))
    {
        let end = line_start + length;
        match (head[end], head.get(end + 1)) {
            (b'\n', _) => return Err(RequestError::BareLineFeed),
            (_, None) => return Ok(head),
            (_, Some(b'\n')) => {}
            (_, Some(_)) => return Err(RequestError::BareCarriageReturn),
        }
        if length == 0 {
            return Ok(&head[..end + 2]);
        }
        line_start = end + 2;
    }
    Ok(head)
}

/// Which limit a head has hit that has not ended.
fn explain_length(head: &[u8]) -> RequestError {
    if head.contains(&b'\n') {
        RequestError::HeadTooLong
    } else {
        RequestError::TargetTooLong
    }
}

/// The rule behind an error of httparse, which tells places but not reasons.
pub(crate) fn explain(error: httparse::Error, head: &[u8]) -> RequestError {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.next().unwrap_or_default();
    match error {
        httparse::Error::Token => {
            let method_end = request_line.iter().position(|byte| *byte == b' ');
            match method_end {
                Some(end) if is_token(&request_line[..end]) => RequestError::InvalidTarget,
                _ => RequestError::InvalidMethod,
            }
        }
        // Line ends are checked already, so a wrong new line can only be what trails the version.
        httparse::Error::Version | httparse::Error::NewLine | httparse::Error::Status => {
            explain_version(request_line)
        }
        httparse::Error::HeaderName => explain_name(lines),
        httparse::Error::HeaderValue => RequestError::InvalidHeaderValue,
        httparse::Error::TooManyHeaders => RequestError::TooManyHeaders,
    }
}

/// RFC 9112, 2.3: `HTTP/` DIGIT `.` DIGIT, of which only 1.0 and 1.1 are ours.
pub(crate) fn explain_version(request_line: &[u8]) -> RequestError {
    let version = request_line
        .splitn(3, |byte| *byte == b' ')
        .nth(2)
        .unwrap_or_default();
    match version {
        // The rest of a version that starts like this need not be waited for.
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9'] => RequestError::UnsupportedVersion,
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.'] => {
            RequestError::UnsupportedVersion
        }
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            RequestError::UnsupportedVersion
        }
        _ => RequestError::InvalidVersion,
    }
}

/// What is wrong with the first line among `lines` that is no field line.
fn explain_name<'a>(lines: impl Iterator<Item = &'a [u8]>) -> RequestError {
    for line in lines {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let name = &line[..colon];
        if is_token(name) {
            continue;
        }
        return match name {
            [b' ' | b'\t', ..] => RequestError::FoldedHeader,
            [token @ .., b' ' | b'\t'] if is_token(token.trim_ascii_end()) => {
                RequestError::SpaceBeforeColon
            }
            _ => RequestError::InvalidHeaderName,
        };
    }
    RequestError::InvalidHeaderName
}
