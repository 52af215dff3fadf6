//! Fields that are meant for one connection alone.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, TE};

use crate::message::fields::{has_underscore, is_double, is_hop_by_hop};

/// Fields that stay even if `Connection` names them: without them the message would mean something
/// else.
const KEPT: [&str; 2] = ["host", "content-length"];

/// Removes the fields that a client's `Connection` names from its request. This happens before any
/// stage sees the request, because a client must not be able to remove what stages or this proxy
/// add later. Fields that are always for one connection stay; [`strip`] removes them when the
/// request is passed on.
pub fn strip_named(headers: &mut HeaderMap) {
    let named = named(headers);
    if !named.is_empty() {
        retain(headers, |name| !named.contains(name));
    }
}

/// Removes the fields for one connection from a head that is about to be sent.
pub(super) fn strip(headers: &mut HeaderMap) {
    retain(headers, |name| !is_hop_by_hop(name));
}

/// Removes the fields whose names have underscores.
pub(super) fn strip_underscores(headers: &mut HeaderMap) {
    retain(headers, |name| !has_underscore(name));
}

/// Removes the fields whose names read as those of others that matter, where `_` and `-` are one.
pub fn strip_doubles(headers: &mut HeaderMap) {
    retain(headers, |name| !is_double(name));
}

/// Removes the fields for one connection, and those that `Connection` names, from a head that was
/// received.
pub(super) fn strip_received(headers: &mut HeaderMap) {
    strip_named(headers);
    strip(headers);
}

/// The fields in `headers` that its `Connection` names, without those that have a rule of their
/// own.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    for option in elements(headers, &CONNECTION) {
        if let Ok(name) = HeaderName::from_bytes(option)
            && headers.contains_key(&name)
            && !KEPT.contains(&name.as_str())
            && !is_hop_by_hop(&name)
            && !named.contains(&name)
        {
            named.push(name);
        }
    }
    named
}

/// Keeps only the fields that `stays` accepts, in their order.
fn retain(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    if headers.keys().all(&stays) {
        return;
    }
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        // The iterator gives a name only with the first of its values.
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| stays(name)) {
            headers.append(name, value);
        }
    }
}

/// Whether the sender of this head reads trailers (RFC 9110 section 10.1.4).
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    elements(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The elements of a comma-separated list over all fields of that name, as bytes: an element that
/// is not text must not hide the others.
pub(super) fn elements<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_belongs_to_the_connection_goes_and_all_else_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "h"),
            ("connection", "x-one, Close"),
            ("connection", "X-Two,, host, content-length"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("content-length", "4"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("trailer", "x-sum"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        assert!(accepts_trailers(&headers));
        strip_received(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "trailer", "x-three"]);
        assert!(!accepts_trailers(&headers));
    }

    #[test]
    fn names_with_underscores_go_alone_or_where_they_read_as_others() {
        let mut headers = HeaderMap::new();
        for name in ["x_forwarded_for", "content_length", "x_mine", "x-mine"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        strip_doubles(&mut headers);
        assert_eq!(headers.len(), 2);
        strip_underscores(&mut headers);
        assert!(headers.len() == 1 && headers.contains_key("x-mine"));
    }

    #[test]
    fn what_is_no_text_hides_nothing() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"close, x-one, \xff").unwrap();
        headers.append(CONNECTION, value);
        headers.append("x-one", HeaderValue::from_static("1"));
        strip_named(&mut headers);
        assert!(!headers.contains_key("x-one"));
    }

    #[test]
    fn the_fields_of_an_upgrade_wait_for_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Upgrade, X-Hop, te"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("x-hop", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_named(&mut headers);
        assert!(!headers.contains_key("x-hop"));
        assert_eq!(headers.len(), 3);
        // What came since is not the client's to take out.
        headers.append("x-hop", HeaderValue::from_static("2"));
        strip(&mut headers);
        assert_eq!(
            (headers.len(), &headers["x-hop"]),
            (1, &HeaderValue::from_static("2"))
        );
    }
}
