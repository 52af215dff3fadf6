//! Any bytes as what a proxy says: no decision is taken back when more bytes come, what is read of a
//! header of the PROXY protocol never goes beyond it, and addresses survive being written and read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_http1::{PROXY_V2_BYTES, ProxyHeader, parse_forwarded, parse_node};

fuzz_target!(|input: &[u8]| {
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
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for element in parse_forwarded(text).unwrap_or_default() {
        let node = element.node.as_deref().and_then(parse_node);
        if let Some(address) = node {
            assert_eq!(parse_node(&address.to_string()), Some(address));
        }
    }
});
