//! What no cache has any business with: streams that do not end, and what logs a connection in.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};

/// The media type of a stream of events, which goes on for as long as somebody listens.
const EVENTS: &str = "text/event-stream";
/// That of a stream of pictures, as cameras send it: each replaces the one before.
const PICTURES: &str = "multipart/x-mixed-replace";
/// With the value `no`, a response says that no proxy may hold any of it back. It is nginx's, and
/// servers send it with streams of any kind.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Schemes that log a connection in, and not a request (RFC 4559 section 6): what comes over the
/// connection afterwards is for that client, though nothing in it says so.
const FOR_CONNECTIONS: [&str; 2] = ["ntlm", "negotiate"];

/// Whether a request asks for a stream of events, as every `EventSource` does.
pub(super) fn wants_events(request: &HeaderMap) -> bool {
    elements(request, &ACCEPT).any(|range| begins_with(range, b';', EVENTS))
}

/// Whether a response goes on for as long as its client listens.
pub(super) fn is_stream(response: &HeaderMap) -> bool {
    let is = |name, expected| elements(response, name).any(|one| begins_with(one, b';', expected));
    is(&CONTENT_TYPE, EVENTS) || is(&CONTENT_TYPE, PICTURES) || is(&ACCEL_BUFFERING, "no")
}

/// Whether `name`, which holds credentials or challenges, has some of a scheme that logs a
/// connection in.
pub(super) fn is_for_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    elements(headers, name).any(|challenge| {
        let mut schemes = FOR_CONNECTIONS.into_iter();
        schemes.any(|scheme| begins_with(challenge, b' ', scheme))
    })
}

/// Whether what stands before `end`, or the whole text, is `word`, whatever its case.
fn begins_with(text: &[u8], end: u8, word: &str) -> bool {
    let first = text.split(|&byte| byte == end).next().unwrap_or_default();
    first.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

/// What stands between the commas of a field. Quotes are not looked into: none of the words that
/// are looked for here stands behind a comma in a quoted string of honest origin.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}
