//! What a plugin may reach of its host: the contract's capabilities, and sets of them.

use std::fmt;
use std::str::FromStr;

use crate::as_text::as_text;

/// One of the contract's capabilities (`plugin-metadata.capabilities`), in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// The plugin may read its configuration.
    Config,
    /// The plugin may use its namespace in the store.
    Keyvalue,
    /// The plugin may write to the log. This does not cover standard output and standard error.
    Logging,
    /// The plugin may read its secrets.
    Secrets,
    /// The plugin may keep metrics.
    Metrics,
    /// The plugin may send HTTP requests.
    HttpClient,
}

impl Capability {
    /// All capabilities, in the contract's order.
    pub const ALL: [Capability; 6] = [
        Capability::Config,
        Capability::Keyvalue,
        Capability::Logging,
        Capability::Secrets,
        Capability::Metrics,
        Capability::HttpClient,
    ];

    /// The name of the capability in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Config => "config",
            Capability::Keyvalue => "keyvalue",
            Capability::Logging => "logging",
            Capability::Secrets => "secrets",
            Capability::Metrics => "metrics",
            Capability::HttpClient => "http-client",
        }
    }

    /// The imported interface that stands for it, without its version.
    pub fn interface(self) -> &'static str {
        match self {
            Capability::Config => "zlayer:plugin/config",
            Capability::Keyvalue => "zlayer:plugin/keyvalue",
            Capability::Logging => "zlayer:plugin/logging",
            Capability::Secrets => "zlayer:plugin/secrets",
            Capability::Metrics => "zlayer:plugin/metrics",
            Capability::HttpClient => "wasi:http/outgoing-handler",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Capability::ALL.into_iter().find(|one| one.name() == name);
        known.ok_or_else(|| {
            format!(
                "there is no capability '{name}'; there are config, keyvalue, logging, secrets, metrics, http-client"
            )
        })
    }
}

as_text!(Capability);

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// The empty set.
    pub const NONE: Capabilities = Capabilities(0);

    /// Returns the set with `one` added.
    #[must_use]
    pub const fn with(self, one: Capability) -> Capabilities {
        Capabilities(self.0 | 1 << one as u8)
    }

    /// What a component asks for that imports these interfaces.
    pub fn imported(imports: &[String]) -> Capabilities {
        let names = |import: &String, one: Capability| {
            let (interface, _version) = import.split_once('@').unwrap_or((import, ""));
            interface == one.interface()
        };
        let all = Capability::ALL.into_iter();
        all.filter(|one| imports.iter().any(|import| names(import, *one)))
            .collect()
    }

    /// Returns the set with the members of `other` added.
    #[must_use]
    pub const fn and(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// Returns the set without the members of `other`.
    #[must_use]
    pub fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }

    /// Whether `one` is in the set.
    pub fn contains(self, one: Capability) -> bool {
        self.0 & 1 << one as u8 != 0
    }

    /// The members of the set, in the contract's order.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |one| self.contains(*one))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Capabilities {
        let members = members.into_iter();
        members.fold(Capabilities::NONE, Capabilities::with)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Capabilities::NONE {
            return f.write_str("nothing");
        }
        for (index, one) in self.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(one.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for one in Capability::ALL {
            assert_eq!(one.name().parse(), Ok(one));
        }
        for name in ["", "Config", "http_client", "config,logging"] {
            assert!(name.parse::<Capability>().is_err(), "{name}");
        }
    }

    #[test]
    fn sets_are_put_together_and_taken_apart() {
        let two: Capabilities = [Capability::Metrics, Capability::Config]
            .into_iter()
            .collect();
        assert_eq!(two.to_string(), "config, metrics");
        assert_eq!(two.without(two).to_string(), "nothing");
        let all = two.and(Capabilities::NONE.with(Capability::Secrets));
        assert_eq!(all.to_string(), "config, secrets, metrics");
    }

    #[test]
    fn imports_tell_what_is_asked_for() {
        let imports = [
            "wasi:http/outgoing-handler@0.2.3",
            "wasi:http/types@0.2.3",
            "zlayer:plugin/common@0.1.0",
            "zlayer:plugin/keyvalue@0.1.0",
        ];
        let asked = Capabilities::imported(&imports.map(str::to_owned));
        assert_eq!(asked.to_string(), "keyvalue, http-client");
    }
}
