//! Content that goes on for as long as somebody listens: nobody can wait for the whole of it.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};

/// The media type of a stream of events.
const EVENTS: &str = "text/event-stream";
/// That of a stream of pictures, as cameras send it: each replaces the one before.
const PICTURES: &str = "multipart/x-mixed-replace";
/// With the value `no`, a response says that no proxy may hold any of it back. It is nginx's, and
/// servers send it with streams of any kind. So do frameworks with every response; what has a length
/// has an end.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether a request asks for a stream of events, as every `EventSource` does.
pub(crate) fn wants_events(request: &HeaderMap) -> bool {
    elements(request, &ACCEPT).any(|range| begins_with(range, b';', EVENTS))
}

/// What says that a response goes on for as long as its client listens, if anything does.
pub(crate) fn endless(response: &HeaderMap) -> Option<&'static str> {
    let is = |name, expected| elements(response, name).any(|one| begins_with(one, b';', expected));
    match () {
        () if is(&CONTENT_TYPE, EVENTS) => Some(EVENTS),
        () if is(&CONTENT_TYPE, PICTURES) => Some(PICTURES),
        () if response.contains_key(CONTENT_LENGTH) => None,
        () if is(&ACCEL_BUFFERING, "no") => Some("x-accel-buffering: no"),
        () => None,
    }
}

/// Whether what stands before `end`, or the whole text, is `word`, whatever its case.
pub(crate) fn begins_with(text: &[u8], end: u8, word: &str) -> bool {
    let first = text.split(|&byte| byte == end).next().unwrap_or_default();
    first.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

/// What stands between the commas of a field. Quotes are not looked into: none of the words that
/// are looked for here stands behind a comma in a quoted string of honest origin.
pub(crate) fn elements<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn streams_are_known_by_what_their_heads_say() {
        for (name, value, told) in [
            (
                CONTENT_TYPE,
                "Text/Event-Stream; charset=utf-8",
                Some(EVENTS),
            ),
            (
                CONTENT_TYPE,
                "multipart/x-mixed-replace ;boundary=a",
                Some(PICTURES),
            ),
            (CONTENT_TYPE, "text/plain", None),
            (ACCEL_BUFFERING, "No", Some("x-accel-buffering: no")),
            (ACCEL_BUFFERING, "yes", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(endless(&headers), told, "{value}");
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
            let has_end = value.eq_ignore_ascii_case("no");
            assert_eq!(endless(&headers), told.filter(|_| !has_end), "{value}");
        }
    }
}
