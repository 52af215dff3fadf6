//! The hosts that a plugin may send requests to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::as_text::as_text;

/// A list of patterns. A host is allowed if one of them matches; an empty list allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

/// One of `HOST`, `HOST:PORT`, `*.DOMAIN`, `*.DOMAIN:PORT`, `*` and `*:PORT`. Without a port, all
/// ports match. `*.DOMAIN` matches every name below DOMAIN, but not DOMAIN itself. An IPv6 address
/// stands in brackets.
///
/// A pattern is compared with the name that a plugin asks for, not with the address behind it. Some
/// addresses have to be [named](AllowedHosts::names) beside that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// A domain with a leading dot, in lower case.
    Below(String),
    /// A name or an address, in lower case.
    Name(String),
    Address(IpAddr),
}

impl AllowedHosts {
    /// Whether a request may go to `host` (a name, or an address without brackets) at `port`.
    pub fn allow(&self, host: &str, port: u16) -> bool {
        self.any(host, |allowed| allowed.is_none_or(|one| one == port))
    }

    /// Whether the addresses of `host` may be looked up: whether requests may go there, at whatever
    /// port.
    pub fn allow_look_up(&self, host: &str) -> bool {
        self.any(host, |_| true)
    }

    /// Whether a pattern names this very address and port: as an address, or as `localhost`, which
    /// stands for all of loopback. `*` and other names name none: whoever answers for a name says
    /// which address it leads to.
    pub fn names(&self, address: SocketAddr) -> bool {
        // One of IPv4 may be written in the form of the other family.
        let ip = address.ip().to_canonical();
        self.0.iter().any(|allowed| {
            let host = match &allowed.host {
                Host::Address(one) => one.to_canonical() == ip,
                Host::Name(name) => name == "localhost" && ip.is_loopback(),
                Host::Any | Host::Below(_) => false,
            };
            host && allowed.port.is_none_or(|port| port == address.port())
        })
    }

    /// Whether a pattern matches `host`, and `fits` its port.
    fn any(&self, host: &str, fits: impl Fn(Option<u16>) -> bool) -> bool {
        let address = host.parse::<IpAddr>().ok();
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.0.iter().any(|allowed| {
            let host = match &allowed.host {
                Host::Any => true,
                Host::Address(one) => address == Some(*one),
                Host::Name(one) => name == *one,
                Host::Below(domain) => {
                    address.is_none() && name.len() > domain.len() && name.ends_with(domain)
                }
            };
            host && fits(allowed.port)
        })
    }

    /// Adds these patterns to the list.
    pub fn extend(&mut self, more: Vec<AllowedHost>) {
        self.0.extend(more);
    }

    /// The patterns, as they are written.
    pub fn shown(&self) -> Vec<String> {
        self.0.iter().map(AllowedHost::to_string).collect()
    }

    /// Whether the list allows no host.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<AllowedHost> for AllowedHosts {
    fn from_iter<I: IntoIterator<Item = AllowedHost>>(hosts: I) -> Self {
        AllowedHosts(hosts.into_iter().collect())
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{}' is not a host; write it like api.example.com, api.example.com:8443, \
                 *.example.com, [::1]:80 or *",
                text.escape_debug()
            )
        };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|port| digits && *port > 0);
                (host, Some(port.ok_or_else(wrong)?))
            }
            _ => (text, None),
        };
        let name = |name: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let labels = name.split('.').all(|label| !label.is_empty());
            (labels && name.bytes().all(known)).then(|| name.to_ascii_lowercase())
        };
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match (host, literal, host.strip_prefix("*.")) {
            ("*", ..) => Host::Any,
            (_, Some(literal), _) => match literal.parse() {
                Ok(address) => Host::Address(IpAddr::V6(address)),
                Err(_) => return Err(wrong()),
            },
            (_, _, Some(domain)) => Host::Below(format!(".{}", name(domain).ok_or_else(wrong)?)),
            _ => match host.parse::<std::net::Ipv4Addr>() {
                Ok(address) => Host::Address(IpAddr::V4(address)),
                Err(_) => Host::Name(name(host).ok_or_else(wrong)?),
            },
        };
        Ok(AllowedHost { host, port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Below(domain) => write!(f, "*{domain}")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

as_text!(AllowedHost);

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            host.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn allows(pattern: &str, host: &str, port: u16) -> bool {
        let hosts: AllowedHosts = [pattern.parse().unwrap()].into_iter().collect();
        hosts.allow(host, port)
    }

    #[test]
    fn a_pattern_allows_what_it_says_and_no_more() {
        for (pattern, host, port) in [
            ("example.com", "example.com", 80),
            ("example.com", "EXAMPLE.com.", 443),
            ("Example.com:8080", "example.com", 8080),
            ("*.example.com", "a.example.com", 80),
            ("*.example.com", "a.b.example.com", 80),
            ("*", "anything", 1),
            ("*", "::1", 1),
            ("*:443", "anything", 443),
            ("127.0.0.1", "127.0.0.1", 80),
            ("[::1]", "::1", 80),
            ("[0:0::1]:80", "::1", 80),
        ] {
            assert!(allows(pattern, host, port), "{pattern} {host}:{port}");
        }
        for (pattern, host, port) in [
            ("example.com", "a.example.com", 80),
            ("example.com", "example.com.evil", 80),
            ("example.com:8080", "example.com", 80),
            ("*.example.com", "example.com", 80),
            ("*.example.com", ".example.com", 80),
            ("*.example.com", "aexample.com", 80),
            ("*:443", "anything", 80),
            ("127.0.0.1", "127.0.0.2", 80),
            ("*.0.0.1", "127.0.0.1", 80),
            ("[::1]", "127.0.0.1", 80),
        ] {
            assert!(!allows(pattern, host, port), "{pattern} {host}:{port}");
        }
        assert!(!AllowedHosts::default().allow("localhost", 80));
    }

    #[test]
    fn an_address_is_named_by_itself_or_as_localhost() {
        let names = |pattern: &str, address: &str| {
            let hosts: AllowedHosts = [pattern.parse().unwrap()].into_iter().collect();
            hosts.names(address.parse().unwrap())
        };
        for (pattern, address) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("[::ffff:127.0.0.1]", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("localhost", "127.1.2.3:80"),
            ("Localhost:80", "[::1]:80"),
        ] {
            assert!(names(pattern, address), "{pattern} {address}");
        }
        for (pattern, address) in [
            ("*", "127.0.0.1:80"),
            ("*:80", "127.0.0.1:80"),
            ("*.localhost", "127.0.0.1:80"),
            ("a.localhost", "127.0.0.1:80"),
            ("a.example", "127.0.0.1:80"),
            ("127.0.0.1", "127.0.0.2:80"),
            ("127.0.0.1:81", "127.0.0.1:80"),
            ("localhost", "192.0.2.1:80"),
            ("localhost:81", "127.0.0.1:80"),
        ] {
            assert!(!names(pattern, address), "{pattern} {address}");
        }
    }

    #[test]
    fn what_may_be_asked_at_any_port_may_be_looked_up() {
        let hosts: AllowedHosts = ["a.example:8080", "*.b.example"]
            .map(|text| text.parse().unwrap())
            .into_iter()
            .collect();
        assert!(hosts.allow_look_up("A.example.") && hosts.allow_look_up("x.b.example"));
        assert!(!hosts.allow_look_up("b.example") && !hosts.allow_look_up("127.0.0.1"));
    }

    #[test]
    fn patterns_are_read_as_they_are_shown() {
        for text in [
            "a.b",
            "a:1",
            "*.a.b",
            "*.a:65535",
            "*",
            "*:80",
            "1.2.3.4:5",
            "[::1]",
            "[::1]:2",
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:b",
            "a/b",
            "http://a",
            "*a",
            "a.*",
            "*.",
            "*.*",
            "a..b",
            ".a",
            "::1",
            "[::1",
            "[a]",
            "[1.2.3.4]",
            "a b",
            "u@a",
            "**",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text:?}");
        }
    }
}
