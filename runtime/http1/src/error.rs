//! What can be wrong with a message.

use std::fmt;

/// Why a request head is refused.
///
/// After any of these the end of the request is not known for certain: answer with
/// [`status`](Self::status), then close the connection and read nothing more as HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// An LF without a CR before it (RFC 9112, 2.2).
    BareLineFeed,
    /// A CR without an LF behind it (RFC 9112, 2.2).
    BareCarriageReturn,
    /// More than [`MAX_EMPTY_LINES`](crate::MAX_EMPTY_LINES) before the request line.
    EmptyLines,
    /// The method is not a token (RFC 9110, 9.1).
    InvalidMethod,
    /// The method is longer than [`MAX_METHOD_BYTES`](crate::MAX_METHOD_BYTES) (RFC 9112, 3).
    MethodTooLong,
    /// The request target has none of the four forms, or not the one for this method
    /// (RFC 9112, 3.2).
    InvalidTarget,
    /// The target is longer than [`Limits::target_bytes`](crate::Limits::target_bytes).
    TargetTooLong,
    /// The request line does not end with an HTTP version (RFC 9112, 2.3).
    InvalidVersion,
    /// An HTTP version other than 1.0 and 1.1 (RFC 9110, 15.6.6).
    UnsupportedVersion,
    /// A header name is not a token, or its line has no colon (RFC 9110, 5.1).
    InvalidHeaderName,
    /// Whitespace between a header name and its colon (RFC 9112, 5.1).
    SpaceBeforeColon,
    /// A header line that starts with whitespace: obsolete line folding (RFC 9112, 5.2), or a first
    /// header that is indented (RFC 9112, 2.2).
    FoldedHeader,
    /// A header value holds control bytes (RFC 9110, 5.5).
    InvalidHeaderValue,
    /// More header fields than [`Limits::headers`](crate::Limits::headers) (RFC 6585, 5).
    TooManyHeaders,
    /// The head is longer than [`Limits::head_bytes`](crate::Limits::head_bytes) (RFC 6585, 5).
    HeadTooLong,
    /// No Host field in an HTTP/1.1 request (RFC 9112, 3.2).
    MissingHost,
    /// More than one Host field (RFC 9112, 3.2).
    RepeatedHost,
    /// The Host field is no `host[:port]`, or is empty although the target has an authority
    /// (RFC 9112, 3.2).
    InvalidHost,
    /// Content-Length is not a plain decimal number below 2^64 (RFC 9110, 8.6).
    InvalidContentLength,
    /// More than one Content-Length field, even if they agree (RFC 9112, 6.3).
    RepeatedContentLength,
    /// Both Content-Length and Transfer-Encoding (RFC 9112, 6.3).
    ConflictingLengths,
    /// Transfer-Encoding in an HTTP/1.0 request (RFC 9112, 6.1).
    TransferEncodingInHttp10,
    /// Transfer-Encoding is empty, no list of tokens, or gives parameters to `chunked`
    /// (RFC 9112, 6.1 and 7.1).
    InvalidTransferEncoding,
    /// `chunked` is not the last transfer coding, or is missing (RFC 9112, 6.3).
    ChunkedNotLast,
    /// `chunked` is applied more than once (RFC 9112, 6.1).
    ChunkedTwice,
    /// A transfer coding other than `chunked` (RFC 9112, 6.1).
    UnknownTransferEncoding,
    /// An Expect field that asks for something other than `100-continue` (RFC 9110, 10.1.1).
    UnknownExpectation,
}

impl RequestError {
    /// The status code to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::TooManyHeaders | Self::HeadTooLong => 431,
            Self::MethodTooLong | Self::UnknownTransferEncoding => 501,
            Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "a line ends with LF alone; lines end with CR LF",
            Self::BareCarriageReturn => "a CR is not followed by LF; lines end with CR LF",
            Self::EmptyLines => "too many empty lines before the request line",
            Self::InvalidMethod => "the method is not a token",
            Self::MethodTooLong => "the method is longer than any known one",
            Self::InvalidTarget => "the request target is not valid for this method",
            Self::TargetTooLong => "the request target is too long",
            Self::InvalidVersion => "the request line does not end with an HTTP version",
            Self::UnsupportedVersion => "the HTTP version is not supported; use HTTP/1.1",
            Self::InvalidHeaderName => "a header name is not a token followed by a colon",
            Self::SpaceBeforeColon => "whitespace stands between a header name and its colon",
            Self::FoldedHeader => {
                "a header line starts with whitespace; send each header on one line"
            }
            Self::InvalidHeaderValue => "a header value holds control characters",
            Self::TooManyHeaders => "the request has too many headers",
            Self::HeadTooLong => "the request line and headers are too long",
            Self::MissingHost => "an HTTP/1.1 request needs a Host header",
            Self::RepeatedHost => "the Host header is sent more than once",
            Self::InvalidHost => "the Host header is not a host with an optional port",
            Self::InvalidContentLength => "Content-Length is not a decimal number",
            Self::RepeatedContentLength => "Content-Length is sent more than once",
            Self::ConflictingLengths => "Content-Length and Transfer-Encoding exclude each other",
            Self::TransferEncodingInHttp10 => "HTTP/1.0 has no Transfer-Encoding",
            Self::InvalidTransferEncoding => "Transfer-Encoding is not a list of transfer codings",
            Self::ChunkedNotLast => "the last transfer coding must be chunked",
            Self::ChunkedTwice => "chunked is applied more than once",
            Self::UnknownTransferEncoding => "the only transfer coding supported is chunked",
            Self::UnknownExpectation => "the only expectation supported is 100-continue",
        })
    }
}

impl std::error::Error for RequestError {}

/// Why a request body is refused.
///
/// The end of the body is then unknown: the connection cannot be used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyError {
    /// A chunk size is not a bare hexadecimal number (RFC 9112, 7.1).
    InvalidChunkSize,
    /// A chunk size of 2^64 or more (RFC 9112, 7.1).
    ChunkSizeOverflow,
    /// A chunk's size line holds control bytes or has no clean CR LF (RFC 9112, 7.1.1).
    InvalidChunkLine,
    /// A chunk's extensions are not names with values (RFC 9112, 7.1.1).
    InvalidChunkExtension,
    /// A chunk's size line is longer than
    /// [`Limits::chunk_line_bytes`](crate::Limits::chunk_line_bytes), or all the extensions are
    /// longer than [`Limits::extension_bytes`](crate::Limits::extension_bytes).
    ChunkLineTooLong,
    /// The data of a chunk is not followed by CR LF (RFC 9112, 7.1).
    MissingChunkEnd,
    /// A trailer line is not `name: value`, or has no clean CR LF (RFC 9112, 7.1.2).
    InvalidTrailer,
    /// The trailer section is longer than
    /// [`Limits::trailer_bytes`](crate::Limits::trailer_bytes), or has more fields than
    /// [`Limits::headers`](crate::Limits::headers).
    TrailersTooLong,
}

impl BodyError {
    /// The status code to answer with, if the response has not started yet.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TrailersTooLong => 431,
            _ => 400,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidChunkSize => "a chunk size is not a hexadecimal number",
            Self::ChunkSizeOverflow => "a chunk size is too large for any body",
            Self::InvalidChunkLine => {
                "a chunk size line does not end with CR LF or holds control characters"
            }
            Self::InvalidChunkExtension => {
                "a chunk's extensions are not `;name` or `;name=value`, the value a token or in quotes"
            }
            Self::ChunkLineTooLong => "a chunk size line or its extensions are too long",
            Self::MissingChunkEnd => "a chunk is not followed by CR LF; is its size wrong?",
            Self::InvalidTrailer => {
                "a trailer line is not a name, a colon and a value ended by CR LF"
            }
            Self::TrailersTooLong => "the trailer section is too long",
        })
    }
}

impl std::error::Error for BodyError {}

/// Why a response head or a trailer section cannot be written.
///
/// Nothing was written. The fault lies with whoever made the response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderError {
    /// A header name is not a token (RFC 9110, 5.1).
    InvalidName {
        /// The first 64 characters of the name.
        name: String,
    },
    /// A header value holds control bytes (RFC 9110, 5.5).
    InvalidValue {
        /// The header's name.
        name: String,
    },
    /// A method that is not a token, or longer than
    /// [`MAX_METHOD_BYTES`](crate::MAX_METHOD_BYTES) (RFC 9110, 9.1).
    InvalidMethod,
    /// A request target that has none of the four forms, or not the one for its method
    /// (RFC 9112, 3.2).
    InvalidTarget,
    /// No Host field in a request, more than one, or one that is no `host[:port]` (RFC 9112, 3.2).
    InvalidHost,
    /// A status code outside 100 to 999 (RFC 9110, 15).
    InvalidStatus {
        /// The code.
        status: u16,
    },
    /// A length that announces a body, with a status that has none (RFC 9110, 6.4.1 and 15.3.6).
    BodyForbidden {
        /// The code.
        status: u16,
    },
}

impl HeaderError {
    pub(crate) fn invalid_name(name: &str) -> Self {
        Self::InvalidName {
            name: name.chars().take(64).collect(),
        }
    }

    pub(crate) fn invalid_value(name: &str) -> Self {
        Self::InvalidValue {
            name: name.chars().take(64).collect(),
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:?}` escapes what could forge a line in a log.
        match self {
            Self::InvalidName { name } => {
                write!(
                    f,
                    "header name {name:?} is not a token: use letters, digits and -"
                )
            }
            Self::InvalidValue { name } => {
                write!(
                    f,
                    "the value of header {name:?} holds control characters: remove them"
                )
            }
            Self::InvalidMethod => f.write_str("the method is not a token: use GET, POST, ..."),
            Self::InvalidTarget => {
                f.write_str("the request target is not valid for its method: use a path")
            }
            Self::InvalidHost => {
                f.write_str("the request needs one Host header, a host with an optional port")
            }
            Self::InvalidStatus { status } => {
                write!(
                    f,
                    "status {status} is not a status code: use one from 100 to 999"
                )
            }
            Self::BodyForbidden { status } => {
                write!(f, "a response with status {status} has no body: send none")
            }
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_map_to_the_status_of_their_rule() {
        assert_eq!(RequestError::BareLineFeed.status(), 400);
        assert_eq!(RequestError::TargetTooLong.status(), 414);
        assert_eq!(RequestError::UnknownExpectation.status(), 417);
        assert_eq!(RequestError::TooManyHeaders.status(), 431);
        assert_eq!(RequestError::HeadTooLong.status(), 431);
        assert_eq!(RequestError::MethodTooLong.status(), 501);
        assert_eq!(RequestError::UnknownTransferEncoding.status(), 501);
        assert_eq!(RequestError::UnsupportedVersion.status(), 505);
        assert_eq!(BodyError::InvalidChunkSize.status(), 400);
        assert_eq!(BodyError::TrailersTooLong.status(), 431);
    }

    #[test]
    fn a_hostile_header_name_cannot_forge_a_log_line() {
        let error = HeaderError::invalid_name(&format!("a\r\nroot logged in{}", "x".repeat(1000)));
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains('\r'), "{text}");
        assert!(text.len() < 200, "{text}");
    }
}
