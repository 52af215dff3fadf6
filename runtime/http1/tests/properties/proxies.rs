//! What holds for whatever proxies say of a client.

use std::net::{IpAddr, SocketAddr};

use zlayer_http1::{
    PROXY_V2_BYTES, ProxyHeader, is_well_formed_via, parse_forwarded, parse_node, well_formed_nodes,
};

/// An address as a proxy of ours appends it.
const APPENDED: &str = "192.0.2.77";

/// Checks `input` as the beginning of a connection, and as what stands in the fields of proxies. True if
/// it is a header of the PROXY protocol.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_proxies(input: &[u8]) -> bool {
    check_fields(input);
    check_header(input)
}

/// No decision is taken back when more bytes come, and what is decided is what the header says.
fn check_header(input: &[u8]) -> bool {
    let mut decided = Ok(None);
    for end in 0..=input.len().min(PROXY_V2_BYTES + 64) {
        let now = ProxyHeader::parse(&input[..end]);
        if decided != Ok(None) {
            assert_eq!(now, decided);
        }
        if let Ok(Some(header)) = now {
            assert!(header.length <= end && header.length <= PROXY_V2_BYTES);
            // It is read as soon as it is there: the daemon takes as many bytes as came last.
            assert!(decided != Ok(None) || header.length == end);
        }
        decided = now;
    }
    let Ok(Some(header)) = decided else {
        return false;
    };
    let raw = &input[..header.length];
    match raw.strip_prefix(b"PROXY ") {
        Some(line) => {
            assert_eq!(header.client, named_by_line(line));
            assert!(!header.client_tls);
        }
        None => {
            let length = usize::from(raw[14]) << 8 | usize::from(raw[15]);
            assert_eq!(header.length, 16 + length);
            assert_eq!(header.client, named_by_bytes(raw));
        }
    }
    true
}

/// The client of a valid header of version 1, as plainly as can be.
fn named_by_line(line: &[u8]) -> Option<SocketAddr> {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split([' ', '\r', '\n']).collect();
    let [kind, source, _, port, ..] = words[..] else {
        return None;
    };
    let address: IpAddr = source.parse().ok().filter(|_| kind != "UNKNOWN")?;
    assert_eq!(address.is_ipv4(), kind == "TCP4");
    Some((address, port.parse().ok()?).into())
}

/// The client of a valid header of version 2.
fn named_by_bytes(raw: &[u8]) -> Option<SocketAddr> {
    let at = |place: usize| raw.get(place).copied().unwrap_or_default();
    let port = |place: usize| u16::from(at(place)) << 8 | u16::from(at(place + 1));
    match (raw[12], raw[13]) {
        (0x21, 0x11) => Some(([at(16), at(17), at(18), at(19)], port(24)).into()),
        (0x21, 0x21) => {
            let octets: [u8; 16] = std::array::from_fn(|place| at(16 + place));
            Some((octets, port(48)).into())
        }
        _ => None,
    }
}

/// Whatever a client writes into the fields of proxies, it swallows nothing of what the next proxy
/// appends, and addresses survive being written and read.
fn check_fields(input: &[u8]) {
    let longer = [input.trim_ascii_end(), b", ", APPENDED.as_bytes()].concat();
    let (kept, kept_longer) = (well_formed_nodes(input), well_formed_nodes(&longer));
    assert!(input.trim_ascii().ends_with(kept) && kept_longer.ends_with(APPENDED.as_bytes()));
    assert!(kept_longer.len() <= kept.len() + ", ".len() + APPENDED.len());
    assert_eq!(well_formed_nodes(kept), kept);
    assert!(!kept.contains(&b'"') && !kept.contains(&b'('));

    let longer = [input, b", 1.1 proxy"].concat();
    assert_eq!(is_well_formed_via(input), is_well_formed_via(&longer));

    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let longer = format!("{text}, for={APPENDED}");
    match (parse_forwarded(text), parse_forwarded(&longer)) {
        (Ok(elements), Ok(more)) => {
            let (last, others) = more
                .split_last()
                .map_or((None, &[][..]), |(last, others)| (Some(last), others));
            assert_eq!(last.and_then(|last| last.node.as_deref()), Some(APPENDED));
            assert_eq!(others, elements);
            for element in elements {
                let node = element.node.as_deref().and_then(parse_node);
                if let Some(address) = node {
                    assert_eq!(parse_node(&address.to_string()), Some(address));
                }
            }
        }
        (Err(_), Err(_)) => {}
        other => panic!("{other:?}"),
    }
}
