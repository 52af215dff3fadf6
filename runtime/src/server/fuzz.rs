//! What holds for whatever proxies say of their clients. The fuzz targets check it, and so does a test.

use std::net::SocketAddr;

use http::HeaderMap;
use zlayer_http1::parse_node;

use super::access::shown::{CUT, quoted};
use super::origin::Peer;
use super::place::Place;
use crate::config::Networks;
use crate::message::Scheme;
use crate::message::fields::X_FORWARDED_FOR;

/// Asks whose request has these headers: nobody whom an untrusted peer names, and where a trusted one
/// appends addresses, nobody who is named in front of the first stranger.
pub fn origin(headers: &HeaderMap) {
    let trusted: Networks = ["10.0.0.0/8".parse(), "::1".parse()]
        .into_iter()
        .flatten()
        .collect();
    for address in ["10.0.0.1:80", "[::1]:80", "192.0.2.1:80"] {
        let Ok(address) = address.parse() else {
            panic!("{address} is an address");
        };
        let peer = Peer {
            address,
            place: Place::default(),
            scheme: Scheme::Http,
            tls: None,
        };
        let client = peer.client(headers, &trusted);
        assert_eq!(client.is_proxied, trusted.contains(address.ip()));
        if !client.is_proxied {
            assert_eq!((client.address, client.scheme), (address, Scheme::Http));
            assert!(client.forwarded_host.is_none());
        } else if headers.contains_key(X_FORWARDED_FOR) {
            let is_trusted = |one: &SocketAddr| trusted.contains(one.ip());
            assert!(is_appended(client.address, address, headers, is_trusted));
        }
    }
}

/// Whether `client` stands in `X-Forwarded-For` with trusted addresses alone behind it, and is a
/// stranger or has nobody in front of it; without such a one it is the peer.
fn is_appended(
    client: SocketAddr,
    peer: SocketAddr,
    headers: &HeaderMap,
    is_trusted: impl Fn(&SocketAddr) -> bool,
) -> bool {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
    let words = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    let words = words.map(str::trim_ascii).filter(|word| !word.is_empty());
    let nodes: Vec<Option<SocketAddr>> = words.map(parse_node).collect();
    let behind = nodes.iter().rev().map_while(|node| node.as_ref());
    let trusted = behind.clone().take_while(|node| is_trusted(node)).count();
    match behind.clone().nth(trusted) {
        Some(stranger) => client == *stranger,
        None => client == behind.last().copied().unwrap_or(peer),
    }
}

/// Shows `input` as the access log does: it stays within its quotes and its bound, it can be read back,
/// and a token in a query is not shown.
pub fn shown(input: &[u8]) {
    for most in [0, 6, 64, 2048] {
        let shown = quoted(input, most);
        assert!(shown.len() <= most.max(1) + CUT.len() + 2);
        let inner = shown
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let Some(inner) = inner else {
            panic!("{shown} is not in quotes");
        };
        assert!(
            inner
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"')
        );
        // Nothing that has no secrets in it is changed.
        let may_be_masked = input.iter().any(|byte| b"=@%".contains(byte));
        if !may_be_masked && !input.is_empty() {
            let text = String::from_utf8_lossy(input);
            let text = text.as_bytes();
            let is_whole = text.len() <= most && unescaped(inner) == text;
            let cut = inner.strip_suffix(CUT).map(unescaped);
            let is_cut = cut.is_some_and(|cut| text.starts_with(&cut));
            assert!(is_whole || is_cut, "{most}: {shown}");
        }
    }
    token_is_masked(&String::from_utf8_lossy(input));
}

/// Reads what nginx would have written: `\xHH` is a byte, all else stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, behind) = behind.split_at_checked(2).unwrap_or(("", ""));
        bytes.extend(u8::from_str_radix(digits, 16));
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// The words behind `token=` in a query stand nowhere in the line.
fn token_is_masked(text: &str) {
    for start in ["?token=", "&token="] {
        let Some((before, behind)) = text.split_once(start) else {
            continue;
        };
        let end = behind.find(|c: char| !c.is_ascii_alphanumeric());
        let value = &behind[..end.unwrap_or(behind.len())];
        let is_long = value.len() >= 8 && text.matches(value).count() == 1;
        if is_long && !before.contains("://") {
            assert!(
                !quoted(text.as_bytes(), usize::MAX >> 1).contains(value),
                "{text}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::message::fuzz::Heads;
    use crate::mutations;

    #[test]
    fn whoever_is_not_trusted_names_nobody() {
        mutations::each("fields", 20_000, |input| {
            super::origin(&Heads::of(input).request)
        });
    }

    #[test]
    fn whatever_a_client_says_stays_within_its_quotes() {
        mutations::each("paths", 20_000, super::shown);
    }
}
