//! What holds for whatever an owner writes behind a flag. The fuzz targets check it, and so does a
//! test.

use std::net::IpAddr;

use zlayer_bundle::{
    AllowedHost, AllowedHosts, Bodies, ByteSize, Capability, Network, Networks, PathPattern,
    Profile, Role, Target,
};

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
        let has_slash_more = behind == "/" && !path.ends_with('/');
        for spelled in [longer.to_ascii_uppercase(), longer.to_ascii_lowercase()] {
            let guarded = pattern.covers(&longer) || has_slash_more;
            assert_eq!(pattern.guards(&spelled), guarded, "{text}");
        }
    }
    let folder = path.strip_suffix('/').unwrap_or(path);
    assert!(folder.is_empty() || pattern.guards(folder), "{text}");
}

/// Reads `text` as a pattern of hosts: it is written as it is read, and allows what it names and
/// nothing beside it.
pub fn host_pattern(text: &str) {
    let Ok(pattern) = text.parse::<AllowedHost>() else {
        return;
    };
    let shown = pattern.to_string();
    assert_eq!(shown.parse(), Ok(pattern.clone()));
    let (host, port) = match shown.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (&*shown, None),
    };
    let hosts: AllowedHosts = [pattern].into_iter().collect();
    let allows = |host: &str| {
        let allowed = hosts.allow(host, port.unwrap_or(80));
        assert!(port.is_none_or(|port| !hosts.allow(host, port ^ 1)));
        assert_eq!(hosts.allow_look_up(host), allowed);
        assert_eq!(
            hosts.allow(host, 81),
            allowed && port.is_none_or(|port| port == 81)
        );
        allowed
    };
    let (name, is_any) = (host.trim_start_matches("*."), host == "*");
    let name = name.trim_matches(['[', ']']);
    assert_eq!(
        allows(name),
        is_any || name.len() == host.trim_matches(['[', ']']).len()
    );
    assert_eq!(allows(&name.to_ascii_uppercase()), allows(name));
    assert_eq!(
        allows(&format!("a.{name}")),
        is_any || host.starts_with("*.")
    );
    assert_eq!(allows(&format!("a{name}")), is_any);
    assert_eq!(allows(&format!("{name}.invalid")), is_any);
}

/// Asks for `text` as a host: a pattern of names below another allows those alone, and a pattern of
/// names no address.
pub fn host(text: &str) {
    let one: Result<AllowedHost, String> = "*.example.com:80".parse();
    let hosts: AllowedHosts = one.into_iter().collect();
    for host in [
        text,
        &format!("{text}example.com"),
        &format!("{text}.example.com."),
    ] {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_below = name.len() > ".example.com".len() && name.ends_with(".example.com");
        assert_eq!(hosts.allow(host, 80), is_below, "{host}");
    }
    assert!(!hosts.allow(text, 81));
    if let Ok(address) = text.parse::<IpAddr>() {
        assert!(!hosts.names((address, 80).into()));
    }
}

/// Reads `text` as a size, and as each of the words that have a meaning: what is read is shown as the
/// same.
pub fn word(text: &str) {
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse(), Ok(size));
        // The number stands first, and what is behind it makes it no smaller.
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        assert!(digits.parse::<u64>().is_ok_and(|count| count <= size.0));
    }
    if let Ok(role) = text.parse::<Role>() {
        assert_eq!(role.name(), text);
    }
    if let Ok(capability) = text.parse::<Capability>() {
        assert_eq!(capability.name(), text);
    }
    if let Ok(bodies) = text.parse::<Bodies>() {
        assert_eq!(bodies.name(), text);
    }
    if let Ok(profile) = text.parse::<Profile>() {
        assert_eq!(profile.name(), text);
    }
    if let Ok(target) = text.parse::<Target>() {
        assert!(text.starts_with(target.name()));
    }
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_host_is_asked_for_only_those_that_are_meant_are_allowed() {
        mutations::each("paths", 20_000, |input| {
            super::host(&String::from_utf8_lossy(input));
        });
    }

    #[test]
    fn whatever_stands_behind_a_flag_is_read_in_one_way_or_refused() {
        mutations::each("flags", 20_000, |input| {
            let text = String::from_utf8_lossy(input);
            super::network(&text);
            super::path_pattern(&text);
            super::host_pattern(&text);
            super::word(&text);
        });
    }
}
