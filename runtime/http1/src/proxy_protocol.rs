//! The header of the PROXY protocol, with which a load balancer says whose connection it passes on
//! (HAProxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! [`ProxyHeader::parse`] looks at the first bytes of a connection. It believes nothing by itself:
//! whoever calls it has to know that the peer may say such a thing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1 in bytes, with its end of line (section 2.1).
pub const PROXY_V1_BYTES: usize = 107;
/// The longest header of version 2 that is taken, in bytes. With addresses alone it has at most 232;
/// the rest are fields of the load balancer's own (TLVs), of which real ones send some hundred bytes.
pub const PROXY_V2_BYTES: usize = 4 << 10;

/// What a header of version 2 begins with (section 2.2). No header of HTTP or TLS does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// Bytes of a header of version 2 in front of its addresses.
const FIXED: usize = 16;
/// The TLV in which a load balancer describes the client's TLS (section 2.2.6), and the bit in its
/// first byte that says that there was any.
const PP2_TYPE_SSL: u8 = 0x20;
const PP2_CLIENT_SSL: u8 = 0x01;

/// A header of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Whose connection it is; `None` where it is the load balancer's own (`LOCAL`), or where it does
    /// not say (`UNKNOWN`, or an address that is not of IP). The addresses of the connection itself
    /// hold then.
    pub client: Option<SocketAddr>,
    /// Whether the load balancer says that the client spoke TLS with it.
    pub client_tls: bool,
    /// Bytes of the header. What follows belongs to the protocol behind it.
    pub length: usize,
}

/// Why the first bytes of a connection are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin neither as version 1 nor as version 2.
    NotProxy,
    /// It is longer than [`PROXY_V1_BYTES`] or [`PROXY_V2_BYTES`].
    TooLong,
    /// The line of version 1 does not end with CR LF.
    LineEnd,
    /// The protocol is none of `TCP4`, `TCP6` and `UNKNOWN`; in version 2 it is no stream of an
    /// address family that the protocol has.
    Protocol,
    /// An address is malformed, or of another family than was said.
    Address,
    /// A port is malformed.
    Port,
    /// The line has other words than it should have.
    Words,
    /// It is of another version than 1 and 2.
    Version,
    /// The command is neither `LOCAL` nor `PROXY`.
    Command,
    /// The length leaves no room for the addresses.
    Length,
    /// A field behind the addresses (TLV) is longer than the header.
    Field,
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProxyError::NotProxy => "does not begin with a PROXY header",
            ProxyError::TooLong => "the PROXY header is too long",
            ProxyError::LineEnd => "the PROXY line does not end with CR LF",
            ProxyError::Protocol => "the PROXY header names an unknown protocol",
            ProxyError::Address => "the PROXY header has a malformed address",
            ProxyError::Port => "the PROXY header has a malformed port",
            ProxyError::Words => "the PROXY line has too few or too many words",
            ProxyError::Version => "the PROXY header is of an unknown version",
            ProxyError::Command => "the PROXY header has an unknown command",
            ProxyError::Length => "the PROXY header is too short for its addresses",
            ProxyError::Field => "a field of the PROXY header is longer than the header",
        })
    }
}

impl std::error::Error for ProxyError {}

impl ProxyHeader {
    /// Parses the header at the beginning of `bytes`. `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The bytes are not the beginning of a valid header. That is known as soon as it can be.
    pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
        if begins(bytes, SIGNATURE) {
            return version_2(bytes);
        }
        if begins(bytes, WORD) {
            return version_1(bytes);
        }
        Err(ProxyError::NotProxy)
    }
}

/// Whether `bytes` are the beginning of what begins with `with`.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let common = bytes.len().min(with.len());
    bytes[..common] == with[..common]
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let seen = &bytes[..bytes.len().min(PROXY_V1_BYTES)];
    let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
        return match seen.len() == PROXY_V1_BYTES {
            true => Err(ProxyError::TooLong),
            false => Ok(None),
        };
    };
    let line = seen[..end].strip_suffix(b"\r");
    let line = line.ok_or(ProxyError::LineEnd)?;
    let length = end + 1;
    let text = std::str::from_utf8(line).map_err(|_| ProxyError::Words)?;
    let mut words = text.split(' ').skip(1);
    let client = match words.next() {
        // Whatever follows has to be ignored (section 2.1).
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses(words, |word| {
            word.parse::<Ipv4Addr>().ok().map(IpAddr::from)
        })?),
        Some("TCP6") => Some(addresses(words, |word| {
            word.parse::<Ipv6Addr>().ok().map(IpAddr::from)
        })?),
        _ => return Err(ProxyError::Protocol),
    };
    Ok(Some(ProxyHeader {
        client,
        client_tls: false,
        length,
    }))
}

/// Reads both addresses and both ports, and returns the client's.
fn addresses<'a>(
    mut words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Result<SocketAddr, ProxyError> {
    let mut next = || words.next().ok_or(ProxyError::Words);
    let mut both = [next()?, next()?].into_iter().map(&address);
    let (source, _) = match (both.next().flatten(), both.next().flatten()) {
        (Some(source), Some(destination)) => (source, destination),
        _ => return Err(ProxyError::Address),
    };
    let (source_port, _) = (port(next()?)?, port(next()?)?);
    match words.next() {
        Some(_) => Err(ProxyError::Words),
        None => Ok(SocketAddr::new(source, source_port)),
    }
}

/// A port is a decimal number without leading zeros or a sign (section 2.1).
fn port(word: &str) -> Result<u16, ProxyError> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = word.len() > 1 && word.starts_with('0');
    match word.parse() {
        Ok(port) if is_number && !has_zeros => Ok(port),
        _ => Err(ProxyError::Port),
    }
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let Some(&[version, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    if version >> 4 != 2 {
        return Err(ProxyError::Version);
    }
    let is_local = match version & 0xf {
        0 => true,
        1 => false,
        _ => return Err(ProxyError::Command),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > PROXY_V2_BYTES {
        return Err(ProxyError::TooLong);
    }
    let needed = match (is_local, family) {
        // The addresses have to be ignored (section 2.2), and so has whatever follows them.
        (true, _) | (false, 0x00) => None,
        (false, 0x11) => Some(2 * (4 + 2)),
        (false, 0x21) => Some(2 * (16 + 2)),
        // Paths of Unix sockets.
        (false, 0x31) => Some(2 * 108),
        _ => return Err(ProxyError::Protocol),
    };
    if needed.is_some_and(|needed| FIXED + needed > length) {
        return Err(ProxyError::Length);
    }
    let Some(rest) = bytes.get(FIXED..length) else {
        return Ok(None);
    };
    let mut header = ProxyHeader {
        client: None,
        client_tls: false,
        length,
    };
    let Some(needed) = needed else {
        return Ok(Some(header));
    };
    let (addresses, fields) = rest.split_at(needed);
    header.client = match *addresses {
        [a, b, c, d, _, _, _, _, high, low, _, _] => {
            let port = u16::from_be_bytes([high, low]);
            Some(SocketAddr::from(([a, b, c, d], port)))
        }
        _ if needed == 36 => {
            let mut address = [0; 16];
            address.copy_from_slice(&addresses[..16]);
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Some(SocketAddr::from((address, port)))
        }
        _ => None,
    };
    header.client_tls = says_tls(fields)?;
    Ok(Some(header))
}

/// Walks the fields behind the addresses, and returns whether one says that the client spoke TLS.
fn says_tls(mut fields: &[u8]) -> Result<bool, ProxyError> {
    let mut tls = false;
    while let Some((&[kind, high, low], rest)) = fields.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(ProxyError::Field)?;
        let first = value.first().copied().unwrap_or_default();
        tls |= kind == PP2_TYPE_SSL && first & PP2_CLIENT_SSL != 0;
        fields = rest;
    }
    match fields {
        [] => Ok(tls),
        _ => Err(ProxyError::Field),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n";

    /// A header of version 2.
    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 127, 0, 0, 1, 0x11, 0x5c, 0, 80];

    fn v6() -> Vec<u8> {
        let mut addresses = Vec::new();
        for address in ["2001:db8::7", "::1"] {
            addresses.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        addresses.extend([0x11, 0x5c, 0, 80]);
        addresses
    }

    /// Every beginning of a header wants more, and the whole of it is seen whatever follows.
    fn parsed(header: &[u8]) -> ProxyHeader {
        for end in 0..header.len() {
            assert_eq!(ProxyHeader::parse(&header[..end]), Ok(None), "{end}");
        }
        let found = ProxyHeader::parse(header).unwrap().unwrap();
        assert_eq!(found.length, header.len());
        let followed = [header, BEHIND].concat();
        assert_eq!(ProxyHeader::parse(&followed), Ok(Some(found)));
        found
    }

    #[test]
    fn both_versions_name_the_client() {
        let client = |header: &[u8]| parsed(header).client.map(|address| address.to_string());
        let of = |address: &str| Some(address.to_owned());
        let line = b"PROXY TCP4 192.0.2.7 127.0.0.1 4444 80\r\n";
        assert_eq!(client(line), of("192.0.2.7:4444"));
        let line = b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n";
        assert_eq!(client(line), of("[2001:db8::7]:0"));
        assert_eq!(client(&v2(0x21, 0x11, &V4)), of("192.0.2.7:4444"));
        assert_eq!(client(&v2(0x21, 0x21, &v6())), of("[2001:db8::7]:4444"));
    }

    #[test]
    fn a_header_that_names_nobody_leaves_the_connections_own_address() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(longest.len(), PROXY_V1_BYTES);
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            longest.into_bytes(),
            // LOCAL: a health check, with or without addresses, of whatever family.
            v2(0x20, 0x00, b""),
            v2(0x20, 0x11, &V4),
            v2(0x20, 0xff, b"whatever"),
            // No family, and paths of Unix sockets.
            v2(0x21, 0x00, b""),
            v2(0x21, 0x00, b"whatever"),
            v2(0x21, 0x31, &[b'a'; 216]),
        ] {
            assert_eq!(parsed(&header).client, None, "{header:?}");
        }
    }

    #[test]
    fn fields_behind_the_addresses_are_skipped_and_one_tells_of_tls() {
        let with = |fields: &[u8]| parsed(&v2(0x21, 0x11, &[&V4, fields].concat()));
        assert!(!with(&[0x04, 0, 2, 0, 0]).client_tls);
        assert!(!with(&[0x20, 0, 5, 0x06, 0, 0, 0, 0]).client_tls);
        let told = with(&[0x02, 0, 1, b'h', 0x20, 0, 5, 0x01, 0, 0, 0, 0]);
        assert!(told.client_tls && told.client.is_some());
        let most = PROXY_V2_BYTES - FIXED - V4.len() - 3;
        let mut long = vec![0xe0, (most >> 8) as u8, most as u8];
        long.resize(3 + most, 0);
        assert_eq!(with(&long).length, PROXY_V2_BYTES);
    }

    #[test]
    fn what_is_malformed_is_refused_by_its_reason() {
        use ProxyError::*;
        let line = |text: &str| text.as_bytes().to_vec();
        let mut too_long = v2(0x21, 0x11, &V4);
        too_long[14..16].copy_from_slice(&(PROXY_V2_BYTES as u16 - 15).to_be_bytes());
        for (bytes, reason) in [
            (line("GET / HTTP/1.1\r\n"), NotProxy),
            (line("PROXX TCP4"), NotProxy),
            (line("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), NotProxy),
            (line("PROXY\r\n"), NotProxy),
            (line("\r\n\r\nGET"), NotProxy),
            (b"\x16\x03\x01".to_vec(), NotProxy),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 4444 80\n"), LineEnd),
            (line("PROXY UNKNOWN\n"), LineEnd),
            (
                line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92))),
                TooLong,
            ),
            (line(&"PROXY TCP4 ".repeat(20)), TooLong),
            (line("PROXY TCP5 192.0.2.7 127.0.0.1 4444 80\r\n"), Protocol),
            (line("PROXY UDP4 192.0.2.7 127.0.0.1 4444 80\r\n"), Protocol),
            (
                line("PROXY  TCP4 192.0.2.7 127.0.0.1 4444 80\r\n"),
                Protocol,
            ),
            (line("PROXY \r\n"), Protocol),
            (line("PROXY TCP4\r\n"), Words),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 4444\r\n"), Words),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 4444 80 \r\n"), Words),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 4444 80 x\r\n"), Words),
            (b"PROXY TCP4 \xff\r\n".to_vec(), Words),
            (line("PROXY TCP4 ::1 ::1 4444 80\r\n"), Address),
            (line("PROXY TCP6 192.0.2.7 127.0.0.1 4444 80\r\n"), Address),
            (line("PROXY TCP4 192.0.2.07 127.0.0.1 4444 80\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 localhost 4444 80\r\n"), Address),
            (line("PROXY TCP6 [::1] [::1] 4444 80\r\n"), Address),
            (line("PROXY TCP6 fe80::1%eth0 ::1 4444 80\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7  127.0.0.1 4444 80\r\n"), Address),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 65536 80\r\n"), Port),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 4444 -1\r\n"), Port),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 +4444 80\r\n"), Port),
            (line("PROXY TCP4 192.0.2.7 127.0.0.1 04444 80\r\n"), Port),
            (v2(0x11, 0x11, &V4), Version),
            (v2(0x31, 0x11, &V4), Version),
            (v2(0x22, 0x11, &V4), Command),
            (v2(0x2f, 0x11, &V4), Command),
            (v2(0x21, 0x10, &V4), Protocol),
            (v2(0x21, 0x12, &V4), Protocol),
            (v2(0x21, 0x41, &V4), Protocol),
            (v2(0x21, 0x11, &V4[..11]), Length),
            (v2(0x21, 0x21, &V4), Length),
            (v2(0x21, 0x31, &V4), Length),
            (v2(0x21, 0x11, b""), Length),
            (too_long, TooLong),
            (v2(0x21, 0x11, &[&V4[..], &[4]].concat()), Field),
            (v2(0x21, 0x11, &[&V4[..], &[4, 0]].concat()), Field),
            (v2(0x21, 0x11, &[&V4[..], &[4, 0, 1]].concat()), Field),
            (
                v2(0x21, 0x11, &[&V4[..], &[4, 0xff, 0xff, 1]].concat()),
                Field,
            ),
        ] {
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!(ProxyHeader::parse(&bytes), Err(reason), "{shown:?}");
        }
    }
}
