//! Fields that are meant for one connection alone.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, TE};

/// Besides those that `Connection` names (RFC 9110 sections 7.6.1, 10.1.1 and 11.7). `Trailer` stays:
/// trailers pass.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Never taken out for being named in `Connection`: the message would be another without them.
const KEPT: [&str; 2] = ["host", "content-length"];

/// Takes them out of a request's or a response's head. What is left keeps its order.
pub(super) fn strip(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for option in elements(headers, &CONNECTION) {
        if let Ok(name) = HeaderName::from_bytes(option.as_bytes())
            && !KEPT.contains(&name.as_str())
        {
            named.push(name);
        }
    }
    let goes = |name: &HeaderName| HOP_BY_HOP.contains(&name.as_str()) || named.contains(name);
    if !headers.keys().any(goes) {
        return;
    }
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        // Further values of a name come without it.
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| !goes(name)) {
            headers.append(name, value);
        }
    }
}

/// Whether who sent this head reads trailers (RFC 9110 section 10.1.4).
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    elements(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// The elements of a comma-separated list over all fields of that name.
pub(super) fn elements<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

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
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "trailer", "x-three"]);
        assert!(!accepts_trailers(&headers));
    }
}
