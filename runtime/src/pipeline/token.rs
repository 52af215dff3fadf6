//! The token of a client that cannot set headers: a browser opens a WebSocket with nothing but a
//! URL and subprotocols.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use zlayer_http1::websocket::offered_protocols;

use crate::host::common::KeyValue;
use crate::message::fields::pairs;

/// The field in which subprotocols are offered and chosen.
pub(super) const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");

/// How a subprotocol that carries a token begins.
const PREFIX: &[u8] = b"auth-";
/// The query parameter that carries a token (RFC 6750 section 2.3).
const PARAMETER: &str = "access_token";

/// A token in the subprotocols or the query of a request that begins a WebSocket.
#[derive(Debug)]
pub struct Token {
    text: String,
    /// Whether the authenticator that is asked has found it valid, and is shown it.
    is_shown: bool,
    /// Whether an authenticator has taken it: the client is known by it.
    is_taken: bool,
    /// The reason why an authenticator has refused it.
    refused: Option<String>,
}

impl Token {
    /// The token of a request that begins a WebSocket: a subprotocol `auth-TOKEN`, else
    /// `access_token=` in the query, percent signs decoded. `None` if it has an Authorization
    /// field, which counts then.
    pub(super) fn of(head: &http::request::Parts) -> Option<Token> {
        if head.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let text = in_protocols(&head.headers).or_else(|| in_query(head.uri.query()?))?;
        // It is shown as the value of a field, which holds no control characters.
        let is_value = !text.is_empty() && !text.chars().any(char::is_control);
        is_value.then_some(Token {
            text,
            is_shown: false,
            is_taken: false,
            refused: None,
        })
    }

    /// The token itself.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What the authenticator that is asked sees of it: the field that a client would have sent
    /// which can set fields (RFC 6750 section 2.1).
    pub(super) fn shown(&self) -> Option<KeyValue> {
        self.is_shown.then(|| KeyValue {
            key: AUTHORIZATION.as_str().to_owned(),
            value: format!("Bearer {}", self.text),
        })
    }

    /// Shows it to the authenticator that is asked next, or to nobody.
    pub(super) fn show(&mut self, is_shown: bool) {
        self.is_shown = is_shown;
    }

    /// Notes that the client is known by it.
    pub(super) fn take(&mut self) {
        self.is_taken = true;
    }

    /// Notes that an authenticator does not know it.
    pub(super) fn refuse(&mut self, reason: String) {
        self.refused = Some(reason);
    }

    /// Whether an authenticator has taken it; or the reason why one has refused it, if none has.
    pub(super) fn settled(self) -> Result<bool, String> {
        match (self.is_taken, self.refused) {
            (false, Some(reason)) => Err(reason),
            (is_taken, _) => Ok(is_taken),
        }
    }
}

/// Takes all tokens out of a request: they were meant for the authenticator alone.
pub(in crate::pipeline) fn strip(head: &mut http::request::Parts) {
    if head.headers.contains_key(PROTOCOL) {
        let offers = pairs(&head.headers);
        let others = offered_protocols(&offers).filter(|offer| !offer.starts_with(PREFIX));
        let others = others.collect::<Vec<_>>().join(&b", "[..]);
        head.headers.remove(PROTOCOL);
        if let Ok(value) = HeaderValue::from_bytes(&others)
            && !value.is_empty()
        {
            head.headers.insert(PROTOCOL, value);
        }
    }
    let Some(query) = head.uri.query() else {
        return;
    };
    if !query.split('&').any(is_token) {
        return;
    }
    let others: Vec<_> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let path = head.uri.path();
    let target = match others.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", others.join("&")),
    };
    // What is left of a valid target is valid.
    if let Ok(target) = PathAndQuery::try_from(target) {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target);
        head.uri = http::Uri::from_parts(parts).unwrap_or_default();
    }
}

fn in_protocols(headers: &HeaderMap) -> Option<String> {
    if !headers.contains_key(PROTOCOL) {
        return None;
    }
    let offers = pairs(headers);
    let token = offered_protocols(&offers).find_map(|offer| offer.strip_prefix(PREFIX))?;
    let token = std::str::from_utf8(token).ok()?;
    (!token.is_empty()).then(|| token.to_owned())
}

fn in_query(query: &str) -> Option<String> {
    let mut values = query
        .split('&')
        .filter(|pair| is_token(pair))
        .filter_map(|pair| pair.split_once('='))
        .map(|(_, value)| value);
    // If there are two, two programs may read different ones, so neither is taken.
    match (values.next(), values.next()) {
        (Some(value), None) => decoded(value),
        _ => None,
    }
}

/// Whether a pair of the query carries a token, however its name is spelled.
fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    percent_decode_str(name).eq(PARAMETER.bytes())
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

    fn head(uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn token(uri: &str, fields: &[(&str, &str)]) -> Option<String> {
        Token::of(&head(uri, fields)).map(|token| token.text)
    }

    #[test]
    fn a_token_is_found_where_browsers_can_put_it() {
        let offer = ("sec-websocket-protocol", "chat, auth-a.b-c");
        assert_eq!(token("/", &[offer]).unwrap(), "a.b-c");
        let uri = "/ws?x=1&access_token=a%2Eb%2b+c";
        assert_eq!(token(uri, &[]).unwrap(), "a.b+ c");
        assert_eq!(token("/?access%5Ftoken=a", &[]).unwrap(), "a");
        // The subprotocol comes first.
        assert_eq!(token(uri, &[offer]).unwrap(), "a.b-c");
        let chat = ("sec-websocket-protocol", "chat");
        assert_eq!(token(uri, &[chat]).unwrap(), "a.b+ c");
    }

    #[test]
    fn there_is_none_elsewhere() {
        let uri = "/?access_token=a";
        assert_eq!(token(uri, &[("authorization", "x")]), None);
        for uri in [
            "/",
            "/?access_token",
            "/?access_token=",
            "/?access_token=%",
            "/?access_token=%zz",
            "/?access_token=%ff",
            "/?access_token=a%0d%0ab",
            "/?access_token=a&access_token=b",
            "/?access_token=a&access%5ftoken=b",
            "/?access_tokens=a",
        ] {
            assert_eq!(token(uri, &[]), None, "{uri}");
        }
        let empty = ("sec-websocket-protocol", "auth-");
        assert_eq!(token("/", &[empty]), None);
    }

    #[test]
    fn tokens_are_taken_out_and_all_else_stays() {
        for (uri, offers, left, offered) in [
            ("/ws?access_token=a", &["auth-a"][..], "/ws", None),
            (
                "/ws",
                &["chat, auth-a", "auth-b , superchat"],
                "/ws",
                Some("chat, superchat"),
            ),
            (
                "/ws?x=1&access%5Ftoken=a&y",
                &["chat"],
                "/ws?x=1&y",
                Some("chat"),
            ),
            ("/ws?x=access_token", &[], "/ws?x=access_token", None),
        ] {
            let fields: Vec<_> = offers
                .iter()
                .map(|offer| ("sec-websocket-protocol", *offer))
                .collect();
            let mut head = head(uri, &fields);
            strip(&mut head);
            assert_eq!(head.uri, left);
            let kept = head
                .headers
                .get(PROTOCOL)
                .map(|value| value.to_str().unwrap());
            assert_eq!(kept, offered, "{uri} {offers:?}");
        }
    }

    #[test]
    fn a_token_is_shown_only_between_its_validation_and_the_next_question() {
        let mut token = Token::of(&head("/?access_token=a", &[])).unwrap();
        assert!(token.shown().is_none());
        token.show(true);
        assert_eq!(token.shown().unwrap().value, "Bearer a");
        token.show(false);
        assert!(token.shown().is_none());
        token.refuse("no".to_owned());
        assert_eq!(token.settled(), Err("no".to_owned()));
        let mut token = Token::of(&head("/?access_token=a", &[])).unwrap();
        token.refuse("no".to_owned());
        token.take();
        assert_eq!(token.settled(), Ok(true), "another one knows it");
        let untried = Token::of(&head("/?access_token=a", &[])).unwrap();
        assert_eq!(untried.settled(), Ok(false));
    }
}
