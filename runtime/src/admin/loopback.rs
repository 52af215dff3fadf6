//! Names by which this device calls itself.

/// Whether a Host, with or without a port, is a name of this device that only it can use.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "::1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_device_are_answered_to() {
        for host in [
            "localhost",
            "LocalHost:9090",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "127.0.0.2",
            "::1",
            "[::2]",
            "192.168.1.7:9090",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
