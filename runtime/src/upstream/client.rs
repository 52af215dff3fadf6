//! The client for whom a request is sent, as far as upstreams have to do with it.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, LINK, WWW_AUTHENTICATE};

use super::hop;
use super::owner::Owner;
use crate::message::Interims;

/// What a request's client brings along.
#[derive(Debug, Clone, Default)]
pub struct ForClient {
    /// The client's connection. Without one, a connection on which the client has identified itself
    /// is closed.
    pub owner: Option<Owner>,
    /// Where interim responses go. Without it they are dropped.
    pub interims: Option<Interims>,
    /// Whether of interim responses only the links are passed on, because stages are to see the
    /// response, and what they would take out or change is not known.
    pub only_links: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. The upstream then
    /// decides whether the body is sent at all (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

impl ForClient {
    /// Passes an interim response on.
    pub(super) fn send_interim(&self, mut head: http::response::Parts) {
        let Some(interims) = &self.interims else {
            return;
        };
        hop::strip_received(&mut head.headers);
        if self.only_links {
            let links: Vec<_> = head.headers.get_all(LINK).iter().cloned().collect();
            head.headers.clear();
            for link in links {
                head.headers.append(LINK, link);
            }
        }
        interims.send(head);
    }
}

/// Schemes that identify a connection instead of a request: whatever comes by the connection later
/// counts as sent by the same user (RFC 4559 section 5; NTLM is not specified by anybody but works
/// so everywhere).
const OF_CONNECTIONS: [&[u8]; 3] = [b"ntlm", b"negotiate", b"kerberos"];

/// Whether a request's head identifies the connection that it is sent by.
pub(super) fn identifies_connection(request: &HeaderMap) -> bool {
    names_scheme(request, &AUTHORIZATION)
}

/// Whether a response's head offers or goes on with such a scheme.
pub(super) fn offers_such(response: &HeaderMap) -> bool {
    names_scheme(response, &WWW_AUTHENTICATE)
}

fn names_scheme(headers: &HeaderMap, name: &HeaderName) -> bool {
    hop::elements(headers, name).any(|element| {
        let scheme = element.split(|byte| matches!(byte, b' ' | b'\t')).next();
        let scheme = scheme.unwrap_or_default();
        OF_CONNECTIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn schemes_that_identify_a_connection_are_known_whatever_else_is_offered() {
        for (value, known) in [
            ("NTLM", true),
            ("ntlm TlRMTVNTUAAB", true),
            ("Negotiate YII=", true),
            ("Basic realm=\"a\", NTLM", true),
            ("Basic YTpi", false),
            ("Bearer ntlm", false),
            ("NTLMx a", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
            assert_eq!(identifies_connection(&headers), known, "{value:?}");
            assert_eq!(offers_such(&headers), known, "{value:?}");
        }
    }
}
