//! What a request wants from the cache.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONNECTION, HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
};
use http::{HeaderMap, Method};

use super::directives::Directives;
use super::excluded::is_for_connection;
use crate::message::fields::CREDENTIALS;
use crate::message::wants_events;

/// What the cache can do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Get a stored response, or store the new one.
    Get,
    /// Get the head of a response that a GET stored.
    Head,
    /// Drop what is stored of its target, once the request has succeeded (RFC 9111 section 4.4).
    Unsafe,
    /// Nothing: the request goes past the cache.
    None,
}

impl Purpose {
    /// The purpose of a request.
    ///
    /// Some requests go past the cache: those for ranges, WebSockets and streams of events, those
    /// with preconditions that only the origin can judge (RFC 9111 section 4.3.2), GETs with a
    /// body, those that log a connection in, and those with `no-store`. Other directives of a request are a client's wishes, which a cache
    /// need not follow (section 5.2.1): otherwise any client could have the work done anew by
    /// asking for it.
    pub fn of(method: &Method, headers: &HeaderMap, has_body: bool) -> Purpose {
        let purpose = match *method {
            Method::GET => Purpose::Get,
            Method::HEAD => Purpose::Head,
            // Safe methods (RFC 9110 section 9.2.1), and CONNECT, which has no target here.
            Method::OPTIONS | Method::TRACE | Method::CONNECT => return Purpose::None,
            _ => return Purpose::Unsafe,
        };
        let past = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];
        if has_body
            || purpose == Purpose::Get && is_for_websocket(headers)
            || past.iter().any(|name| headers.contains_key(name))
            || wants_events(headers)
            || is_for_connection(headers, &AUTHORIZATION)
            || Directives::of(headers).no_store
        {
            return Purpose::None;
        }
        purpose
    }
}

/// What an entry is looked up by.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The cache key, as [`key`] makes it.
    pub key: Arc<str>,
    /// Whose request it is, as [`identity`] makes it from the claims; empty without an
    /// authenticator. Entries of one identity are for it alone.
    pub identity: Arc<str>,
    /// The request is authenticated, but the key does not tell clients apart. So a response is
    /// stored only if it varies by the client's credentials.
    pub authenticated: bool,
    /// The fields of the request that may tell whose it is, and that the key does not depend on:
    /// credentials, and those that the device's owner named.
    pub personal: Vec<HeaderName>,
    /// The request's headers, with the credentials that the client sent.
    pub headers: &'a HeaderMap,
}

impl<'a> Ask<'a> {
    /// A request of an unknown client.
    pub fn new(key: Arc<str>, headers: &'a HeaderMap) -> Ask<'a> {
        Ask {
            key,
            identity: Arc::from(""),
            authenticated: false,
            personal: Vec::new(),
            headers,
        }
    }

    /// An authenticated request, with the claims about its client.
    pub fn by(
        key: Arc<str>,
        claims: &mut dyn Iterator<Item = (&str, &str)>,
        headers: &'a HeaderMap,
    ) -> Ask<'a> {
        Ask {
            key,
            identity: identity(claims).into(),
            authenticated: true,
            personal: Vec::new(),
            headers,
        }
    }

    /// The first personal field of the request that a response does not depend on, if it varies by
    /// what `varies_by` accepts. A response that depends on `Authorization` is for one client,
    /// whatever other credentials that one has.
    pub(super) fn untold(&self, varies_by: impl Fn(&HeaderName) -> bool) -> Option<&HeaderName> {
        let by_authorization = self.personal.contains(&AUTHORIZATION) && varies_by(&AUTHORIZATION);
        self.personal.iter().find(|name| {
            let is_told = by_authorization && CREDENTIALS.contains(name);
            !is_told && !varies_by(name)
        })
    }
}

/// The whole cache key: the plugin that chose it, the site (scheme and host), the query and the plugin's `cache-key`.
/// The plugin's part knows neither host nor query, so without them it could mix up sites or
/// queries.
pub fn key(plugin: &str, site: &str, query: Option<&str>, chosen: &str) -> Arc<str> {
    let mut key = String::new();
    let site = site.to_ascii_lowercase();
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    for part in [plugin, &site, &query] {
        add(&mut key, part);
    }
    key.push_str(chosen);
    key.into()
}

/// Whether a GET asks for a WebSocket on this connection (RFC 6455 section 4.2.1). That is the one
/// protocol that the daemon may switch to; a wish for any other is ignored (RFC 9110 section 7.8).
fn is_for_websocket(headers: &HeaderMap) -> bool {
    let has = |name, element: &[u8]| {
        let mut values = headers.get_all(name).iter();
        values.any(|value| {
            let mut elements = value.as_bytes().split(|&byte| byte == b',');
            elements.any(|one| one.trim_ascii().eq_ignore_ascii_case(element))
        })
    };
    has(UPGRADE, b"websocket") && has(CONNECTION, b"upgrade")
}

/// All claims as one text, with the lengths of their parts.
fn identity(claims: &mut dyn Iterator<Item = (&str, &str)>) -> String {
    let mut identity = String::new();
    for (name, value) in claims {
        add(&mut identity, name);
        add(&mut identity, value);
    }
    identity
}

/// Appends a part with its length in front, so that one part cannot look like two.
fn add(text: &mut String, part: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{}:{part}", part.len());
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_whole_and_plain_requests_are_for_the_cache() {
        let of = |method: Method, fields: &[(&'static str, &str)]| {
            Purpose::of(&method, &headers(fields), false)
        };
        assert_eq!(of(Method::GET, &[]), Purpose::Get);
        assert_eq!(of(Method::HEAD, &[]), Purpose::Head);
        let reload = ("cache-control", "no-cache, max-age=0");
        assert_eq!(of(Method::GET, &[reload]), Purpose::Get);
        for field in [
            ("range", "bytes=0-1"),
            ("if-match", "\"a\""),
            ("if-unmodified-since", "x"),
            ("cache-control", "no-store"),
            ("accept", "text/html, Text/Event-Stream;q=1"),
            ("authorization", "NTLM TlRMTVNTUAAB"),
            ("authorization", "negotiate YII="),
        ] {
            assert_eq!(of(Method::GET, &[field]), Purpose::None, "{field:?}");
            assert_eq!(of(Method::HEAD, &[field]), Purpose::None, "{field:?}");
            assert_eq!(of(Method::POST, &[field]), Purpose::Unsafe, "{field:?}");
        }
        for field in [("accept", "text/*"), ("authorization", "Bearer NTLM")] {
            assert_eq!(of(Method::GET, &[field]), Purpose::Get, "{field:?}");
        }
        assert_eq!(of(Method::OPTIONS, &[]), Purpose::None);
        let report = Method::from_bytes(b"REPORT").unwrap();
        assert_eq!(of(report, &[]), Purpose::Unsafe);
        let get = Purpose::of(&Method::GET, &HeaderMap::new(), true);
        assert_eq!(get, Purpose::None);
    }

    #[test]
    fn no_upgrade_but_one_that_is_acted_on_goes_past_the_cache() {
        let of = |method: Method, upgrade: &str, connection: &str| {
            let fields = [("upgrade", upgrade), ("connection", connection)];
            Purpose::of(&method, &headers(&fields), false)
        };
        let both = of(Method::GET, "h2c, WebSocket", "keep-alive, Upgrade");
        assert_eq!(both, Purpose::None);
        for (upgrade, connection) in [
            ("h2c", "upgrade"),
            ("websocket", "keep-alive"),
            ("websockets", "upgrade"),
        ] {
            assert_eq!(of(Method::GET, upgrade, connection), Purpose::Get);
        }
        assert_eq!(of(Method::HEAD, "websocket", "upgrade"), Purpose::Head);
    }

    #[test]
    fn no_key_of_one_scope_is_a_key_of_another() {
        let one = key("p", "A.example:80", Some("q=1"), "GET:/");
        assert_eq!(one, key("p", "a.example:80", Some("q=1"), "GET:/"));
        for other in [
            key("q", "a.example:80", Some("q=1"), "GET:/"),
            key("p", "a.example:81", Some("q=1"), "GET:/"),
            key("p", "a.example:80", Some("q=2"), "GET:/"),
            key("p", "a.example:80", None, "GET:/"),
            key("p", "a.example:80", None, "4:?q=1GET:/"),
            key("p", "", None, "12:a.example:804:?q=1GET:/"),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(key("p", "h", None, "k"), key("p", "h", Some(""), "k"));
    }

    #[test]
    fn every_set_of_claims_is_an_identity_of_its_own() {
        let none = HeaderMap::new();
        let by = |claims: &[(&str, &str)]| {
            let ask = Ask::by(Arc::from("k"), &mut claims.iter().copied(), &none);
            assert!(ask.authenticated);
            ask.identity
        };
        let one = by(&[("sub", "a"), ("x", "")]);
        assert_eq!(one, by(&[("sub", "a"), ("x", "")]));
        for other in [
            &[][..],
            &[("sub", "a")],
            &[("sub", "a1:x0:")],
            &[("sub", "b"), ("x", "")],
        ] {
            assert_ne!(by(other), one);
        }
    }
}
