//! Names that mean the same everywhere, and that no server is asked for (RFC 6761).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of `localhost` and of all names below it (section 6.3). What is below `invalid`
/// never exists (section 6.4): it has none. None for all other names. `name` is in lower case.
pub(super) fn special(name: &str) -> Option<Vec<IpAddr>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.rsplit('.').next() {
        Some("localhost") => Some(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]),
        Some("invalid") => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_this_device_and_invalid_nothing() {
        for name in ["localhost", "localhost.", "a.localhost"] {
            let addresses = special(name).unwrap();
            assert_eq!(addresses.len(), 2);
            assert!(addresses.iter().all(IpAddr::is_loopback), "{name}");
        }
        assert_eq!(special("a.invalid"), Some(Vec::new()));
        for name in ["localhost.example", "notlocalhost", ""] {
            assert_eq!(special(name), None, "{name}");
        }
    }
}
