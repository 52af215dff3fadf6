//! Addresses that are reached only by those who may name them.
//!
//! Behind them are this device itself and what trusts whoever is near: services that listen on
//! loopback because they ask nobody who they are, the machine's own ports, the metadata services of
//! clouds, which hand out credentials.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Why an address has to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restricted {
    /// Connecting to it leads to this device (Linux), as all of `0.0.0.0/8` might.
    Unspecified,
    Loopback,
    /// Among them 169.254.169.254, where clouds have their metadata.
    LinkLocal,
    /// Metadata that is elsewhere.
    Metadata,
    Multicast,
    Broadcast,
    /// One of this device's interfaces has it.
    Own,
}

/// Metadata services at addresses that are no link-local ones: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same of IPv6: Amazon, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Restricted {
    /// Why `address` has to be named, if it has.
    ///
    /// # Errors
    ///
    /// The system does not tell whether the address is its own.
    pub(super) fn of(address: IpAddr) -> io::Result<Option<Restricted>> {
        let meant = meant(address);
        if let Some(known) = meant.iter().find_map(|one| by_range(*one)) {
            return Ok(Some(known));
        }
        for one in meant {
            if is_own(one)? {
                return Ok(Some(Restricted::Own));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Restricted::Unspecified => "an unspecified address",
            Restricted::Loopback => "a loopback address",
            Restricted::LinkLocal => "a link-local address",
            Restricted::Metadata => "the address of a metadata service",
            Restricted::Multicast => "a multicast address",
            Restricted::Broadcast => "a broadcast address",
            Restricted::Own => "an address of this device",
        })
    }
}

/// The address, and those of IPv4 that it may stand for: a gateway of the network, or the system
/// itself, sends there what is sent to it.
fn meant(address: IpAddr) -> Vec<IpAddr> {
    let mut meant = vec![address.to_canonical()];
    let IpAddr::V6(address) = address else {
        return meant;
    };
    let at = |first: usize| {
        let octets = address.octets();
        Ipv4Addr::new(
            octets[first],
            octets[first + 1],
            octets[first + 2],
            octets[first + 3],
        )
    };
    let embedded: &[Ipv4Addr] = match address.segments() {
        // IPv4-compatible (RFC 4291 section 2.5.5.1). `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 || low > 1 => &[at(12)],
        // IPv4-translated (RFC 2765 section 2.1).
        [0, 0, 0, 0, 0xffff, 0, ..] => &[at(12)],
        // NAT64's well-known prefix (RFC 6052 section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => &[at(12)],
        // NAT64's prefix for local use (RFC 8215), as long as a site made it: the address stands
        // behind 48 bits, with the eight bits at 64 left out, and nothing behind it (RFC 6052
        // section 2.2); or else behind 96.
        [0x64, 0xff9b, 1, .., 0, 0] => {
            let [_, _, _, _, _, _, a, b, _, c, d, ..] = address.octets();
            &[Ipv4Addr::new(a, b, c, d)]
        }
        [0x64, 0xff9b, 1, ..] => &[at(12)],
        // 6to4 (RFC 3056 section 2).
        [0x2002, ..] => &[at(2)],
        // Teredo: a server, and a client with its bits turned (RFC 4380 section 4).
        [0x2001, 0, ..] => &[at(4), Ipv4Addr::from_bits(!at(12).to_bits())],
        _ => &[],
    };
    meant.extend(embedded.iter().copied().map(IpAddr::V4));
    meant
}

/// What an address is by its number alone.
fn by_range(address: IpAddr) -> Option<Restricted> {
    Some(match address {
        IpAddr::V4(v4) if v4.is_loopback() => Restricted::Loopback,
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Restricted::Unspecified,
        IpAddr::V4(v4) if v4.is_link_local() => Restricted::LinkLocal,
        IpAddr::V4(v4) if v4.is_multicast() => Restricted::Multicast,
        IpAddr::V4(v4) if v4.is_broadcast() => Restricted::Broadcast,
        IpAddr::V4(v4) if METADATA_V4.contains(&v4) => Restricted::Metadata,
        IpAddr::V6(v6) if v6.is_loopback() => Restricted::Loopback,
        IpAddr::V6(v6) if v6.is_unspecified() => Restricted::Unspecified,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Restricted::LinkLocal,
        IpAddr::V6(v6) if v6.is_multicast() => Restricted::Multicast,
        IpAddr::V6(v6) if METADATA_V6.contains(&v6) => Restricted::Metadata,
        _ => return None,
    })
}

/// Whether one of this device's interfaces has the address, or the broadcast address of its network:
/// then a socket can be bound to it. Nothing is sent.
fn is_own(address: IpAddr) -> io::Result<bool> {
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        Ok(_) if !binds_foreign(address) => Ok(true),
        // Bound or refused for another reason (a policy of the system's): where its packets would
        // leave from tells, as long as it is the first address of its interface.
        _ => leads_here(address),
    }
}

/// Whether sockets can be bound to addresses that are not the device's (`ip_nonlocal_bind`): to two of
/// different networks for documentation (RFC 5737, RFC 3849, RFC 9637), of which it may have one.
fn binds_foreign(address: IpAddr) -> bool {
    let foreign: [IpAddr; 2] = match address {
        IpAddr::V4(_) => [[198, 51, 100, 77].into(), [203, 0, 113, 77].into()],
        IpAddr::V6(_) => [
            Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77).into(),
            Ipv6Addr::new(0x3fff, 0xfff, 0, 0, 0, 0, 0, 0x77).into(),
        ],
    };
    let binds = |one: &IpAddr| UdpSocket::bind((*one, 0)).is_ok();
    foreign.iter().all(binds)
}

/// Whether the kernel would send packets for the address from that address.
fn leads_here(address: IpAddr) -> io::Result<bool> {
    /// Any port: a UDP socket that is connected has sent nothing.
    const PORT: u16 = 9;
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((any, 0)) {
        Ok(socket) => socket,
        // Without that family there is no such address, and no way there either.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(false),
        Err(error) => return Err(error),
    };
    match socket.connect((address, PORT)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        // There is no way there.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Restricted> {
        Restricted::of(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn addresses_that_lead_to_this_device_or_its_neighbours_are_known_in_every_form() {
        for (address, why) in [
            ("127.0.0.1", Restricted::Loopback),
            ("127.255.255.254", Restricted::Loopback),
            ("0.0.0.0", Restricted::Unspecified),
            ("0.1.2.3", Restricted::Unspecified),
            ("169.254.169.254", Restricted::LinkLocal),
            ("100.100.100.200", Restricted::Metadata),
            ("224.0.0.1", Restricted::Multicast),
            ("255.255.255.255", Restricted::Broadcast),
            ("::", Restricted::Unspecified),
            ("::1", Restricted::Loopback),
            ("fe80::1", Restricted::LinkLocal),
            ("febf::1", Restricted::LinkLocal),
            ("ff02::1", Restricted::Multicast),
            ("fd00:ec2::254", Restricted::Metadata),
            ("::ffff:127.0.0.1", Restricted::Loopback),
            ("::ffff:0.0.0.0", Restricted::Unspecified),
            ("::127.0.0.1", Restricted::Loopback),
            ("::ffff:0:127.0.0.1", Restricted::Loopback),
            ("64:ff9b::127.0.0.1", Restricted::Loopback),
            ("64:ff9b::169.254.169.254", Restricted::LinkLocal),
            ("64:ff9b:1::127.0.0.1", Restricted::Loopback),
            ("64:ff9b:1:7f00:0:100::", Restricted::Loopback),
            ("2002:7f00:1::", Restricted::Loopback),
            ("2002:a9fe:a9fe::1", Restricted::LinkLocal),
            ("2001:0:7f00:1::", Restricted::Loopback),
            ("2001:0:c000:201::80ff:fffe", Restricted::Loopback),
        ] {
            assert_eq!(of(address), Some(why), "{address}");
        }
    }

    #[test]
    fn other_addresses_need_not_be_named() {
        for address in [
            "198.51.100.1",
            "10.255.255.253",
            "8.8.8.8",
            "2001:db8::1",
            "64:ff9b::198.51.100.1",
            "2002:c633:6401::1",
            "::ffff:198.51.100.1",
            "fec0::1",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
    }

    #[test]
    fn an_address_of_an_interface_is_this_devices_own() {
        // The address that this machine has towards others, where it has one. Nothing is sent.
        let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let own = match socket.connect(("198.51.100.1", 9)) {
            Ok(()) => socket.local_addr().unwrap().ip(),
            Err(_) => return,
        };
        assert_eq!(of(&own.to_string()), Some(Restricted::Own));
        let IpAddr::V4(v4) = own else { unreachable!() };
        let mapped = v4.to_ipv6_mapped().to_string();
        assert_eq!(of(&mapped), Some(Restricted::Own));
        // Loopback's other addresses are bound to like those of any interface.
        assert!(is_own([127, 0, 0, 77].into()).unwrap());
        assert!(!is_own([198, 51, 100, 1].into()).unwrap());
        assert!(leads_here([127, 0, 0, 1].into()).unwrap());
        assert!(!leads_here([198, 51, 100, 1].into()).unwrap());
    }
}
