//! Finds the token of a client that cannot set headers: a browser opens a WebSocket with nothing
//! but a URL and subprotocols.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, UPGRADE};
use percent_encoding::percent_decode_str;

use super::PROTOCOL;
use crate::message::fields::pairs;
use zlayer_http1::websocket::offered_protocols;

/// How a subprotocol that carries a token begins.
const PREFIX: &str = "auth-";
/// The query parameter that carries a token (RFC 6750 section 2.3).
const PARAMETER: &str = "access_token";

/// The bearer token of a request for a WebSocket: a subprotocol `auth-TOKEN`, else `access_token=`
/// in the query, percent signs decoded. `None` if the request does not ask for a WebSocket, or has
/// an Authorization field, which counts then.
pub fn upgrade_token(head: &http::request::Parts) -> Option<String> {
    let headers = &head.headers;
    let upgrades = headers.get(UPGRADE).is_some_and(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if !upgrades || headers.contains_key(AUTHORIZATION) {
        return None;
    }
    if headers.contains_key(PROTOCOL) {
        let offers = pairs(headers);
        let token = offered_protocols(&offers)
            .find_map(|offer| offer.strip_prefix(PREFIX.as_bytes()))
            .and_then(|token| std::str::from_utf8(token).ok());
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            return Some(token.to_owned());
        }
    }
    let parameters = head.uri.query()?.split('&');
    let mut values = parameters
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == PARAMETER)
        .map(|(_, value)| value);
    // If there are two, two programs may read different ones, so neither is taken.
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => decoded(value),
        _ => None,
    }
}

/// Decodes percent signs and, as in forms, `+` for a blank. `None` if the result is not Unicode, or
/// if a percent sign lacks its two digits.
fn decoded(value: &str) -> Option<String> {
    let has_digits = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !value.split('%').skip(1).all(has_digits) {
        return None;
    }
    let value = value.replace('+', " ");
    let decoded = percent_decode_str(&value).decode_utf8();
    decoded.ok().map(Cow::into_owned)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn token(uri: &str, fields: &[(&str, &str)]) -> Option<String> {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        upgrade_token(&builder.body(()).unwrap().into_parts().0)
    }

    const WEBSOCKET: (&str, &str) = ("upgrade", "WebSocket");

    #[test]
    fn a_token_is_found_where_browsers_can_put_it() {
        let offer = ("sec-websocket-protocol", "chat, auth-a.b-c");
        assert_eq!(token("/", &[WEBSOCKET, offer]).unwrap(), "a.b-c");
        let uri = "/ws?x=1&access_token=a%2Eb%2b+c";
        assert_eq!(token(uri, &[WEBSOCKET]).unwrap(), "a.b+ c");
        // The subprotocol comes first.
        assert_eq!(token(uri, &[WEBSOCKET, offer]).unwrap(), "a.b-c");
        let chat = ("sec-websocket-protocol", "chat");
        assert_eq!(token(uri, &[WEBSOCKET, chat]).unwrap(), "a.b+ c");
    }

    #[test]
    fn there_is_none_elsewhere() {
        let uri = "/?access_token=a";
        assert_eq!(token(uri, &[]), None);
        assert_eq!(token(uri, &[("upgrade", "h2c")]), None);
        assert_eq!(token(uri, &[WEBSOCKET, ("authorization", "x")]), None);
        for uri in [
            "/",
            "/?access_token",
            "/?access_token=",
            "/?access_token=%",
            "/?access_token=%zz",
            "/?access_token=%ff",
            "/?access_token=a&access_token=b",
        ] {
            assert_eq!(token(uri, &[WEBSOCKET]), None, "{uri}");
        }
        let empty = ("sec-websocket-protocol", "auth-");
        assert_eq!(token("/", &[WEBSOCKET, empty]), None);
    }
}
