//! The resolver's configuration (`/etc/resolv.conf`, resolv.conf(5)): which name servers are asked,
//! and how.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Name servers that are used; further ones are ignored, as the C library does.
const SERVERS: usize = 3;
/// Domains of the search list that are used.
const SEARCHED: usize = 6;
/// How long a server may take, if the file does not say. The C library's five seconds are as long
/// as a request has for connecting: the second server would never be asked.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often each server is asked, if the file does not say.
const ATTEMPTS: u32 = 2;
/// The largest values of the options, as in the C library.
const NDOTS_MAX: usize = 15;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;

/// A name server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServer {
    pub(super) address: IpAddr,
    /// The interface of a link-local address, by name or number (RFC 4007 section 11).
    pub(super) zone: Option<Box<str>>,
}

/// What a resolv.conf says. Lines that nobody knows are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// The servers, in the order in which they are asked.
    pub(super) servers: Vec<NameServer>,
    /// The domains that are put behind short names.
    pub(super) search: Vec<Box<str>>,
    /// A name with fewer dots is looked for in the search list first.
    pub(super) ndots: usize,
    /// How long one server may take for one reply.
    pub(super) timeout: Duration,
    /// How often each server is asked.
    pub(super) attempts: u32,
    /// Whether the look-ups begin with one server after the other.
    pub(super) rotate: bool,
    /// Whether everything is asked over TCP.
    pub(super) use_tcp: bool,
}

/// What holds without the file: the name server is on this device.
impl Default for ResolvConf {
    fn default() -> Self {
        ResolvConf::parse("")
    }
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            rotate: false,
            use_tcp: false,
        };
        for line in text.lines() {
            // Comments stand on lines of their own, but nobody calls a server `#`.
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(name_server);
                    if let Some(server) = server.filter(|_| conf.servers.len() < SERVERS) {
                        conf.servers.push(server);
                    }
                }
                // The last one counts, whichever of the two it is.
                Some("domain") => conf.search = domains(words.take(1)),
                Some("search") => conf.search = domains(words),
                Some("options") => words.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(NameServer {
                address: Ipv4Addr::LOCALHOST.into(),
                zone: None,
            });
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(dots)) => {
                self.ndots = usize::try_from(dots).map_or(NDOTS_MAX, |dots| dots.min(NDOTS_MAX));
            }
            ("timeout", Some(seconds)) => {
                self.timeout = Duration::from_secs(u64::from(seconds).clamp(1, TIMEOUT_MAX));
            }
            ("attempts", Some(times)) => self.attempts = times.clamp(1, ATTEMPTS_MAX),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.use_tcp = true,
            _ => {}
        }
    }

    /// The full names to ask for, in their order, where somebody asks for `name`. They have no dot
    /// at their ends.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let searched = self.search.iter().map(|domain| match &**domain {
            // The root: the name as it is.
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        });
        let mut found: Vec<String> = searched.collect();
        match dots >= self.ndots {
            true => found.insert(0, name.to_owned()),
            false => found.push(name.to_owned()),
        }
        found
    }
}

fn name_server(text: &str) -> Option<NameServer> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address.parse::<Ipv6Addr>().ok()?.into(), Some(zone.into())),
        None => (text.parse().ok()?, None),
    };
    Some(NameServer { address, zone })
}

fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Box<str>> {
    let words = words.map(|word| word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase());
    words.take(SEARCHED).map(String::into_boxed_str).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_what_is_unknown_passed_over() {
        let conf = ResolvConf::parse(
            "# made by hand\n\
             nameserver 192.0.2.1 # the router\n\
             nameserver nonsense\n\
             nameserver fe80::1%eth0\n\
             nameserver\t2001:db8::1\n\
             nameserver 192.0.2.4\n\
             domain first.example\n\
             search Lan home.arpa.\n\
             options ndots:2 timeout:1 attempts:3 rotate use-vc edns0 ndots:x\n\
             sortlist 192.0.2.0\n",
        );
        let server = |address: &str, zone: Option<&str>| NameServer {
            address: address.parse().unwrap(),
            zone: zone.map(Into::into),
        };
        let wanted = ResolvConf {
            servers: vec![
                server("192.0.2.1", None),
                server("fe80::1", Some("eth0")),
                server("2001:db8::1", None),
            ],
            search: vec!["lan".into(), "home.arpa".into()],
            ndots: 2,
            timeout: Duration::from_secs(1),
            attempts: 3,
            rotate: true,
            use_tcp: true,
        };
        assert_eq!(conf, wanted);
    }

    #[test]
    fn values_have_bounds_and_an_empty_file_has_the_defaults() {
        let conf = ResolvConf::parse("options timeout:0 attempts:99 ndots:99");
        assert_eq!(conf.timeout, Duration::from_secs(1));
        assert_eq!((conf.attempts, conf.ndots), (ATTEMPTS_MAX, NDOTS_MAX));
        let none = ResolvConf::default();
        assert_eq!(none.servers[0].address, Ipv4Addr::LOCALHOST);
        let many = format!("search{}", " d".repeat(100));
        assert_eq!(ResolvConf::parse(&many).search.len(), SEARCHED);
    }

    #[test]
    fn short_names_are_searched_first_and_others_last() {
        let conf = ResolvConf::parse("search lan home.arpa\noptions ndots:2");
        let short = ["a.b.lan", "a.b.home.arpa", "a.b"];
        assert_eq!(conf.candidates("a.b"), short);
        let long = ["a.b.c", "a.b.c.lan", "a.b.c.home.arpa"];
        assert_eq!(conf.candidates("a.b.c"), long);
        assert_eq!(conf.candidates("a.b."), ["a.b"]);
        assert_eq!(ResolvConf::parse("search .").candidates("a"), ["a", "a"]);
    }
}
