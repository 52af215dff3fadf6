//! Networks of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::as_text::as_text;

/// An address of IP, or all that begin alike: `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits of it count.
    prefix: u8,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u32::from(own) ^ u32::from(other)
                    <= u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                u128::from(own) ^ u128::from(other)
                    <= u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let wanted = || {
            format!(
                "'{text}' is no network; it wants an address or ADDRESS/BITS, such as 192.0.2.0/24"
            )
        };
        let address: IpAddr = address.parse().map_err(|_| wanted())?;
        let most = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let prefix = match prefix {
            None => most,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                let prefix = prefix.parse().map_err(|_| wanted())?;
                match prefix <= most {
                    true => prefix,
                    false => return Err(format!("'{text}': such an address has {most} bits")),
                }
            }
            Some(_) => return Err(wanted()),
        };
        let network = match address.to_canonical() {
            // Peers appear as what they are, addresses of IPv4.
            IpAddr::V4(inner) if most == 128 && prefix >= 96 => Network {
                address: inner.into(),
                prefix: prefix - 96,
            },
            _ => Network { address, prefix },
        };
        let first = network.first();
        match first == network.address {
            true => Ok(network),
            // A slip of the hand could trust far more, or far fewer, than was meant.
            false => Err(format!(
                "'{text}' is an address within a network; write {first}/{} for all of it, or {} alone",
                network.prefix, network.address
            )),
        }
    }
}

impl Network {
    /// The first address of the network.
    fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V4((u32::from(address) & !rest).into())
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V6((u128::from(address) & !rest).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Several networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether an address lies in one of them. One of IPv4 is the same however it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Networks {
        Networks(networks.into_iter().collect())
    }
}

as_text!(Network);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "2001:db8::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::/0", "fe80::1", "192.0.2.1"),
        ] {
            let networks: Networks = [network.parse::<Network>().unwrap()].into_iter().collect();
            let contains = |address: &str| networks.contains(address.parse().unwrap());
            assert!(contains(inside) && !contains(outside), "{network}");
        }
        assert!(!Networks::default().contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_it_wants() {
        for (text, says) in [
            ("", "is no network"),
            ("localhost", "is no network"),
            ("192.0.2.0/", "is no network"),
            ("192.0.2.0/x", "is no network"),
            ("192.0.2.0/+8", "is no network"),
            ("192.0.2.0/256", "is no network"),
            ("192.0.2.0/33", "has 32 bits"),
            ("::/129", "has 128 bits"),
            (
                "192.0.2.7/24",
                "write 192.0.2.0/24 for all of it, or 192.0.2.7 alone",
            ),
            ("2001:db8::1/32", "write 2001:db8::/32"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
