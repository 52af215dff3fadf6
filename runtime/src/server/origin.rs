//! Which client a request comes from, where trusted proxies stand in between.
//!
//! What a proxy says of its client is believed only if the proxy is trusted, and it may name another
//! trusted proxy. So the list of addresses in `X-Forwarded-For`, to which each proxy appends the one
//! that it sees, is walked from its end to the first address that is not trusted: that is the client.
//! Whatever stands before that, the client itself may have written.

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use std::net::SocketAddr;
use std::sync::Arc;
use zlayer_http1::{is_valid_host, parse_forwarded, parse_node};

use super::place::Place;
use crate::config::Networks;
use crate::message::fields::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::message::{Client, Scheme, TlsSession};

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address, or the one that a header of the PROXY protocol names.
    pub(super) address: SocketAddr,
    /// Where it came in.
    pub(super) place: Place,
    /// How it speaks.
    pub(super) scheme: Scheme,
    /// What TLS was agreed on with it.
    pub(super) tls: Option<Arc<TlsSession>>,
}

impl Peer {
    /// The client whose request came from this peer with these headers.
    pub(super) fn client(&self, headers: &HeaderMap, trusted: &Networks) -> Client {
        let mut client = Client {
            address: self.address,
            scheme: self.scheme,
            peer: self.address,
            port: self.place.named,
            is_internal: self.place.is_internal,
            peer_scheme: self.scheme,
            tls: self.tls.clone(),
            forwarded_host: None,
            is_proxied: trusted.contains(self.address.ip()),
        };
        if !client.is_proxied {
            return client;
        }
        if headers.contains_key(X_FORWARDED_FOR) {
            believe_list(headers, trusted, &mut client);
        } else if let Some(scheme) = believe_forwarded(headers, trusted, &mut client) {
            client.scheme = scheme;
        } else if let Some(scheme) = words(headers, &X_FORWARDED_PROTO).last().and_then(scheme) {
            client.scheme = scheme;
        }
        // Where there are several, the last is the nearest proxy's; the client may have sent the first.
        let host = words(headers, &X_FORWARDED_HOST).last();
        let host = host.filter(|host| is_valid_host(host.as_bytes()));
        client.forwarded_host = host.and_then(|host| host.parse().ok());
        client
    }
}

/// Walks `X-Forwarded-For`. `X-Forwarded-Proto` may have one word, or one for each address.
fn believe_list(headers: &HeaderMap, trusted: &Networks, client: &mut Client) {
    let addresses: Vec<_> = words(headers, &X_FORWARDED_FOR).collect();
    let schemes: Vec<_> = words(headers, &X_FORWARDED_PROTO).collect();
    let mut at = addresses.len();
    for (index, word) in addresses.iter().enumerate().rev() {
        // Somebody who is not named is no client that anybody could be told by: the proxy stands for it.
        let Some(address) = parse_node(word) else {
            break;
        };
        (client.address, at) = (address, index);
        if !trusted.contains(address.ip()) {
            break;
        }
    }
    let word = match schemes.len() == addresses.len() {
        true => schemes.get(at),
        false => schemes.last(),
    };
    if let Some(scheme) = word.copied().and_then(scheme) {
        client.scheme = scheme;
    }
}

/// Walks `Forwarded`, and returns the scheme that it tells.
fn believe_forwarded(
    headers: &HeaderMap,
    trusted: &Networks,
    client: &mut Client,
) -> Option<Scheme> {
    let mut told = None;
    // An element ends with its line: an open quote cannot reach into the next.
    for line in headers.get_all(FORWARDED).iter().rev() {
        let elements = line
            .to_str()
            .ok()
            .and_then(|line| parse_forwarded(line).ok());
        // Behind one that cannot be read nobody knows who said what.
        for element in elements?.iter().rev() {
            if let Some(scheme) = element.proto.as_deref().and_then(scheme) {
                told = Some(scheme);
            }
            let address = element.node.as_deref().and_then(parse_node)?;
            client.address = address;
            if !trusted.contains(address.ip()) {
                return told;
            }
        }
    }
    told
}

/// The elements of a list over all fields of that name (RFC 9110 section 5.6.1). What is no text counts
/// as an element that says nothing.
fn words<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(|word| word.trim_matches([' ', '\t']))
        .filter(|word| !word.is_empty())
}

fn scheme(word: &str) -> Option<Scheme> {
    match word {
        _ if word.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        _ if word.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn networks() -> Networks {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        trusted.iter().map(|one| one.parse().unwrap()).collect()
    }

    fn client(peer: &str, fields: &[(&'static str, &str)]) -> Client {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let peer = Peer {
            address: peer.parse().unwrap(),
            place: Place::default(),
            scheme: Scheme::Http,
            tls: None,
        };
        peer.client(&headers, &networks())
    }

    const PROXY: &str = "10.0.0.1:4000";

    #[test]
    fn nobody_else_is_believed() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "example.com"),
            ("forwarded", "for=192.0.2.1;proto=https"),
        ];
        for peer in [
            "198.51.100.1:4000",
            "[::ffff:198.51.100.1]:4000",
            "[2001:db9::1]:1",
        ] {
            let found = client(peer, &fields);
            assert_eq!(found.address, peer.parse().unwrap());
            assert_eq!(found.scheme, Scheme::Http);
            assert!(!found.is_proxied && found.forwarded_host.is_none());
        }
        assert!(client("[::ffff:10.0.0.1]:4000", &fields).is_proxied);
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (list, address) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1:0"),
            (
                &["203.0.113.9, 192.0.2.1, 10.0.0.2,10.0.0.3"],
                "192.0.2.1:0",
            ),
            (&["203.0.113.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1:0"),
            (&["192.0.2.1:4711 ,, ", " "], "192.0.2.1:4711"),
            (&["[2001:db9::7]:4711"], "[2001:db9::7]:4711"),
            (&["2001:db9::7, 2001:db8::1"], "[2001:db9::7]:0"),
            // All are trusted: the one that is furthest away.
            (&["10.0.0.7, 10.0.0.8"], "10.0.0.7:0"),
            // Whoever is not named by an address is behind the last that is.
            (&["192.0.2.1, unknown"], PROXY),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2:0"),
            (&["192.0.2.1, _hidden"], PROXY),
            (&["192.0.2.1, 10.0.0.999"], PROXY),
            (&["192.0.2.1", "\u{e4}"], PROXY),
            (&[""], PROXY),
        ] {
            let fields: Vec<_> = list.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(
                client(PROXY, &fields).address,
                address.parse().unwrap(),
                "{list:?}"
            );
        }
    }

    #[test]
    fn the_field_of_the_rfc_says_the_same() {
        for (list, address, scheme) in [
            (&["for=192.0.2.1"][..], "192.0.2.1:0", Scheme::Http),
            (
                &["For=\"192.0.2.1:80\";Proto=HTTPS"],
                "192.0.2.1:80",
                Scheme::Https,
            ),
            (
                &[
                    "for=203.0.113.9;proto=http, for=192.0.2.1;proto=https",
                    "for=10.0.0.2",
                ],
                "192.0.2.1:0",
                Scheme::Https,
            ),
            (
                &["for=\"[2001:db9::7]\", for=\"[2001:db8::1]\""],
                "[2001:db9::7]:0",
                Scheme::Http,
            ),
            (&["for=192.0.2.1, for=_hidden"], PROXY, Scheme::Http),
            (&["for=192.0.2.1, proto=https"], PROXY, Scheme::Http),
            (&["for=192.0.2.1", "for=\"10.0.0.2"], PROXY, Scheme::Http),
            (
                &["for=\"203.0.113.9", "for=192.0.2.1"],
                "192.0.2.1:0",
                Scheme::Http,
            ),
        ] {
            let fields: Vec<_> = list.iter().map(|line| ("forwarded", *line)).collect();
            let found = client(PROXY, &fields);
            assert_eq!(
                (found.address, found.scheme),
                (address.parse().unwrap(), scheme),
                "{list:?}"
            );
        }
        // Most proxies set the other one, and let what a client says here pass.
        let both = [
            ("forwarded", "for=203.0.113.9"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(client(PROXY, &both).address, "192.0.2.1:0".parse().unwrap());
    }

    #[test]
    fn the_scheme_is_that_of_the_clients_own_connection() {
        for (fields, scheme) in [
            (&[("x-forwarded-proto", "https")][..], Scheme::Https),
            (
                &[
                    ("x-forwarded-proto", "HTTPS"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                Scheme::Https,
            ),
            (&[("x-forwarded-proto", "gopher")], Scheme::Http),
            // One for each address.
            (
                &[
                    ("x-forwarded-proto", "http, https, http"),
                    ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2"),
                ],
                Scheme::Https,
            ),
            // Otherwise the nearest proxy's word.
            (
                &[
                    ("x-forwarded-proto", "http, https"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                Scheme::Https,
            ),
        ] {
            assert_eq!(client(PROXY, fields).scheme, scheme, "{fields:?}");
        }
        let host = |host| client(PROXY, &[("x-forwarded-host", host)]).forwarded_host;
        assert_eq!(host("example.com:81").unwrap(), "example.com:81");
        assert_eq!(host("example.com/x"), None);
        // A proxy that appends, as a field of its own or to the list.
        let two = [
            ("x-forwarded-host", "forged.example"),
            ("x-forwarded-host", "example.com"),
        ];
        for fields in [
            &two[..],
            &[("x-forwarded-host", "forged.example, example.com")],
        ] {
            let found = client(PROXY, fields).forwarded_host.unwrap();
            assert_eq!(found, "example.com", "{fields:?}");
        }
    }
}
