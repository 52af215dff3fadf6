//! Which hosts of requests an endpoint is for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::as_text::as_text;

/// One of `HOST` and `*.DOMAIN`, which is every name below DOMAIN but not DOMAIN itself. A host is a name or an
/// address, one of IPv6 in brackets.
///
/// It is compared with the host that a client asks for, as URLs are (RFC 9110, 4.2.3; RFC 3986, 6.2.2.1): whatever
/// the case of letters, without the port, and with or without the dot at a name's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(Host);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    /// The same, with a dot in front.
    Below(String),
    Address(IpAddr),
}

impl HostPattern {
    /// Whether a request for `authority` is meant: a host, with or without a port, as `Host` has it. Nothing is
    /// allocated.
    pub fn covers(&self, authority: &str) -> bool {
        let host = without_port(authority);
        match &self.0 {
            Host::Address(own) => address(host) == Some(*own),
            Host::Name(name) => bare(host).eq_ignore_ascii_case(name),
            Host::Below(domain) => {
                let (host, domain) = (bare(host).as_bytes(), domain.as_bytes());
                // A label at least stands in front.
                let behind = host.len().checked_sub(domain.len()).filter(|at| *at > 0);
                behind.is_some_and(|at| host[at..].eq_ignore_ascii_case(domain))
            }
        }
    }

    /// How much it says: a host says more than any `*.DOMAIN`, and a longer domain more than one above it.
    pub fn rank(&self) -> usize {
        match &self.0 {
            Host::Below(domain) => domain.len(),
            Host::Name(_) | Host::Address(_) => usize::MAX,
        }
    }
}

/// The host of an authority: what stands before its port (RFC 3986, 3.2).
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an address of IPv6 stand within its brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A name without the dot of the root.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// An address as it stands in a URL. One of IPv4 that is written in the other family's form is the same one.
fn address(host: &str) -> Option<IpAddr> {
    let inner = { host.strip_prefix('[') }.and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => { inner.parse::<Ipv6Addr>().ok() }.map(|one| IpAddr::V6(one).to_canonical()),
        None => bare(host).parse().ok().map(IpAddr::V4),
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let wrong = |mends: &str| Err(format!("'{shown}' is no host of a request: {mends}"));
        if let Some(address) = address(text) {
            return Ok(HostPattern(Host::Address(address)));
        }
        if text.contains(['[', ']']) || text.parse::<Ipv6Addr>().is_ok() {
            return wrong("an address of IPv6 stands in brackets, like [::1]");
        }
        if text.contains(':') {
            return wrong(
                "scheme and port are for `protocol` and `port` to say; write the name alone",
            );
        }
        if text == "*" {
            return wrong("leave `host` out for all of them");
        }
        if !text.is_ascii() {
            return wrong("clients ask for it in ASCII; write it as they do, with xn--");
        }
        let (name, is_below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let name = bare(name);
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_known);
        if !name.split('.').all(is_label) || name.len() > 253 {
            return wrong("write it like shop.example.com, *.example.com, 192.0.2.1 or [::1]");
        }
        let name = name.to_ascii_lowercase();
        Ok(HostPattern(match is_below {
            true => Host::Below(format!(".{name}")),
            false => Host::Name(name),
        }))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Name(name) => f.write_str(name),
            Host::Below(domain) => write!(f, "*{domain}"),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

as_text!(HostPattern);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_the_host_that_a_client_asks_for() {
        for (pattern, covered, others) in [
            (
                "shop.example",
                &[
                    "shop.example",
                    "SHOP.Example",
                    "shop.example.",
                    "shop.example:8080",
                    "shop.example.:80",
                    "shop.example:",
                ][..],
                &[
                    "a.shop.example",
                    "shop.example.evil",
                    "shop.example..",
                    "xshop.example",
                    "",
                    ":80",
                    "[::1]",
                ][..],
            ),
            (
                "*.example.com",
                &["a.example.com", "A.B.EXAMPLE.com:1", "a.example.com."],
                &[
                    "example.com",
                    ".example.com",
                    "aexample.com",
                    "a.example.com.evil",
                    "",
                ],
            ),
            ("Example.COM.", &["example.com"], &["com"]),
            ("localhost", &["localhost:8080"], &["127.0.0.1"]),
            (
                "127.0.0.1",
                &["127.0.0.1", "127.0.0.1:80", "[::ffff:127.0.0.1]"],
                &["127.0.0.2", "localhost", "x.127.0.0.1"],
            ),
            (
                "[0:0::1]",
                &["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]"],
                &["::1", "[::2]", "[::1", "127.0.0.1"],
            ),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            for host in covered {
                assert!(pattern.covers(host), "{pattern} {host}");
            }
            for host in others {
                assert!(!pattern.covers(host), "{pattern} {host}");
            }
        }
    }

    #[test]
    fn whoever_says_more_has_the_higher_rank() {
        let rank = |text: &str| text.parse::<HostPattern>().unwrap().rank();
        assert!(rank("a.b") > rank("*.a.b.c.d.e.f"));
        assert!(rank("*.a.b") > rank("*.b"));
        assert_eq!(rank("[::1]"), rank("a"));
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_mends_it() {
        for (text, says) in [
            ("", "write it like"),
            ("*", "leave `host` out"),
            ("a.*", "write it like"),
            ("*.", "write it like"),
            ("*a.b", "write it like"),
            ("*.*.a", "write it like"),
            ("a..b", "write it like"),
            (".a", "write it like"),
            ("a b", "write it like"),
            ("a/b", "write it like"),
            ("a:80", "`port`"),
            ("http://a", "`protocol`"),
            ("::1", "brackets"),
            ("[::1]:80", "brackets"),
            ("[a]", "brackets"),
            ("b\u{fc}cher.example", "xn--"),
        ] {
            let told = text.parse::<HostPattern>().unwrap_err();
            assert!(told.contains(says), "{text:?}: {told}");
        }
        assert!("a".repeat(64).parse::<HostPattern>().is_err());
        for text in ["a", "a.b", "*.a.b", "1.2.3.4", "[::1]", "a_b.c-d"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }
}
