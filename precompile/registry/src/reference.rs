//! Where something lies in a registry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::Error;

/// A place in a registry: `REGISTRY/NAME:TAG`, or `REGISTRY/NAME@sha256:DIGEST`.
///
/// The registry is always named. Elsewhere `handler:v1` means Docker's own; here a file whose name was mistyped
/// would bring code of a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub(crate) inner: oci_client::Reference,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        let wrong = |reason: String| Error::NotAReference {
            text: text.escape_debug().to_string(),
            reason,
        };
        if text.contains("://") {
            return Err(wrong("write it without the scheme".to_owned()));
        }
        let registry = text.split_once('/').map(|(first, _)| first);
        let is_registry = |first: &str| first.contains(['.', ':']) || first == "localhost";
        if !registry.is_some_and(is_registry) {
            return Err(wrong("it names no registry".to_owned()));
        }
        let inner = oci_client::Reference::from_str(text).map_err(|e| wrong(e.to_string()))?;
        match inner.digest() {
            Some(digest) if !is_digest(digest) => Err(wrong(
                "its digest is none: sha256: and 64 hexadecimal digits".to_owned(),
            )),
            _ => Ok(Reference { inner }),
        }
    }
}

impl Reference {
    /// The host that is spoken to, with its port where one is named.
    pub fn registry(&self) -> &str {
        self.inner.registry()
    }

    /// The last part of the name: that of the plugin.
    pub fn name(&self) -> &str {
        let repository = self.inner.repository();
        repository.rsplit('/').next().unwrap_or(repository)
    }

    /// The digest, where it is named.
    pub fn digest(&self) -> Option<&str> {
        self.inner.digest()
    }

    /// The same name, for the one content that has this digest.
    pub fn at(&self, digest: &str) -> String {
        let (registry, repository) = (self.inner.registry(), self.inner.repository());
        format!("{registry}/{repository}@{digest}")
    }

    /// Whether the registry is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.registry())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.whole())
    }
}

/// Whether a text is a digest that this crate can check.
pub(crate) fn is_digest(text: &str) -> bool {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(is_lower_hex))
}

/// Whether a host, with or without a port, is this machine by its very name or address. Names of other kinds
/// may lead anywhere tomorrow.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || { address.parse() }.is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, whole, name) in [
            (
                "ghcr.io/myorg/handler:v1",
                "ghcr.io/myorg/handler:v1",
                "handler",
            ),
            ("localhost/a", "localhost/a:latest", "a"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "c"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.name()),
                (whole, name)
            );
        }
        let text = format!("ghcr.io/a/b@{digest}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.digest(), Some(digest.as_str()));
        assert_eq!(reference.to_string(), text);
        let tagged: Reference = "ghcr.io/a/b:v1".parse().unwrap();
        assert_eq!(tagged.at(&digest), text);
    }

    #[test]
    fn what_is_no_reference_is_told_with_why() {
        for (text, says) in [
            ("handler:v1", "names no registry"),
            ("myorg/handler:v1", "names no registry"),
            ("https://ghcr.io/a/b", "without the scheme"),
            ("ghcr.io/A/b:v1", "ghcr.io/A/b:v1"),
            ("ghcr.io/a:v 1", "ghcr.io/a:v 1"),
            ("ghcr.io/a@sha512:00", "ghcr.io/a@sha512:00"),
            ("ghcr.io/a\x1b[2J", "\\u{1b}"),
        ] {
            let told = Reference::from_str(text).unwrap_err().to_string();
            assert!(told.contains(says), "{told}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_address() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "127.0.0.1.example",
            "128.0.0.1:80",
            "registry.lan",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
