//! The hosts file (`/etc/hosts`): addresses that the device's owner gives to names.

use std::net::IpAddr;

use super::message::ADDRESSES;

/// The text of a hosts file, which is searched line by line. A line is an address and its names;
/// `#` begins a comment (hosts(5)).
#[derive(Default, PartialEq)]
pub(super) struct Hosts(String);

impl Hosts {
    pub(super) fn parse(text: String) -> Hosts {
        Hosts(text)
    }

    /// The addresses of `name`, which is in lower case and has no dot at its end. Lines whose
    /// address is not one are passed over.
    pub(super) fn find(&self, name: &str) -> Vec<IpAddr> {
        let lines = self.0.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?;
            let is_named = words.any(|word| {
                let word = word.strip_suffix('.').unwrap_or(word);
                word.eq_ignore_ascii_case(name)
            });
            is_named.then(|| address.parse().ok())?
        });
        let mut found = Vec::new();
        for address in lines {
            if !found.contains(&address) {
                found.push(address);
            }
            if found.len() == 2 * ADDRESSES {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_aliases_are_found_whatever_their_case() {
        let hosts = Hosts::parse(
            "# comment\n\
             192.0.2.1\tGateway gw # other\n\
             2001:db8::1 gateway\r\n\
             192.0.2.1 gateway.\n\
             nonsense gateway\n\
             fe80::1%eth0 gateway\n\
             192.0.2.9\n\
             #192.0.2.8 gateway"
                .to_owned(),
        );
        let addresses = |name: &str| {
            let found = hosts.find(name).into_iter();
            found.map(|one| one.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses("gateway"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(addresses("gw"), ["192.0.2.1"]);
        assert!(addresses("other").is_empty() && addresses("192.0.2.9").is_empty());
        assert!(Hosts::default().find("gateway").is_empty());
    }
}
