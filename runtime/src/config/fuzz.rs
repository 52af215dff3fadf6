//! What holds for whatever an owner writes behind a flag. The fuzz targets check it, and so does a
//! test.

use std::net::IpAddr;

use super::entrance::{Network, Networks};
use super::placement::PathPattern;

/// Reads `text` as a network: it is written as it is read, and holds the addresses that differ from its
/// first in none of the bits that count.
pub fn network(text: &str) {
    let Ok(network) = text.parse::<Network>() else {
        return;
    };
    let shown = network.to_string();
    assert_eq!(shown.parse(), Ok(network), "{text}");
    let (first, bits) = shown.split_once('/').unwrap_or_default();
    let (Ok(first), Ok(bits)) = (first.parse::<IpAddr>(), bits.parse::<u32>()) else {
        panic!("{shown} is no network");
    };
    let networks: Networks = [network].into_iter().collect();
    assert!(networks.contains(first));
    for bit in 0..128 {
        let (other, counts) = match first {
            IpAddr::V4(first) => {
                let Some(turned) = (1_u32 << 31).checked_shr(bit) else {
                    break;
                };
                let other = (u32::from(first) ^ turned).into();
                // However an address of IPv4 is written, it is the same.
                let mapped = std::net::Ipv4Addr::to_ipv6_mapped(&other);
                assert_eq!(networks.contains(mapped.into()), bit >= bits, "{text}");
                (IpAddr::V4(other), bit < bits)
            }
            IpAddr::V6(first) => {
                let other = IpAddr::V6((u128::from(first) ^ 1 << (127 - bit)).into());
                (other, bit < bits || other.to_canonical().is_ipv4())
            }
        };
        assert_eq!(networks.contains(other), !counts, "{text} and {other}");
    }
}

/// Reads `text` as a pattern of paths: it covers what it says, and whatever it covers it guards,
/// however that is written.
pub fn path_pattern(text: &str) {
    let Ok(pattern) = text.parse::<PathPattern>() else {
        return;
    };
    let path = text.strip_suffix('*').unwrap_or(text);
    assert!(pattern.covers(path), "{text}");
    let is_prefix = path.len() < text.len();
    for behind in ["", "a", "/", "/a"] {
        let longer = format!("{path}{behind}");
        assert_eq!(
            pattern.covers(&longer),
            is_prefix || behind.is_empty(),
            "{text} and {longer}"
        );
        for spelled in [longer.to_ascii_uppercase(), longer.to_ascii_lowercase()] {
            assert_eq!(pattern.guards(&spelled), pattern.covers(&longer), "{text}");
        }
    }
    let folder = path.strip_suffix('/').unwrap_or(path);
    assert!(!is_prefix || folder.is_empty() || pattern.guards(folder));
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_stands_behind_a_flag_is_read_in_one_way_or_refused() {
        mutations::each("flags", 20_000, |input| {
            let text = String::from_utf8_lossy(input);
            super::network(&text);
            super::path_pattern(&text);
        });
    }
}
