//! What a plugin may reach: capabilities, sets of them, and the calls that were denied.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// The empty set.
    pub const NONE: Capabilities = Capabilities(0);
    /// What a plugin is granted unless the deployment denies it: all but sending HTTP requests,
    /// which is granted together with the hosts that they may go to.
    pub const DEFAULT: Capabilities = Capabilities(0b01_1111);

    /// Returns the set with `one` added.
    #[must_use]
    pub fn with(self, one: Capability) -> Capabilities {
        Capabilities(self.0 | 1 << one as u8)
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

/// What stands in front of a plugin's calls: it lets through what is granted, and counts the rest.
#[derive(Debug)]
pub struct Gate {
    granted: Capabilities,
    denied: [AtomicU64; Capability::ALL.len()],
}

impl Gate {
    /// Lets this set through, with nothing denied so far.
    pub fn new(granted: Capabilities) -> Gate {
        Gate {
            granted,
            denied: Default::default(),
        }
    }

    /// The capabilities that are granted.
    pub fn granted(&self) -> Capabilities {
        self.granted
    }

    /// Whether a call that needs `one` may go on. Counts it as denied if it may not.
    pub fn allow(&self, one: Capability) -> bool {
        let granted = self.granted.contains(one);
        if !granted {
            self.deny(one);
        }
        granted
    }

    /// Counts a denied call whose capability is granted, but not for what it asked.
    pub fn deny(&self, one: Capability) {
        self.denied[one as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls that needed `one` were denied.
    pub fn denied_calls(&self, one: Capability) -> u64 {
        self.denied[one as usize].load(Ordering::Relaxed)
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
    fn outgoing_http_alone_is_denied_by_default() {
        let missing: Vec<_> = Capability::ALL
            .into_iter()
            .filter(|one| !Capabilities::DEFAULT.contains(*one))
            .collect();
        assert_eq!(missing, [Capability::HttpClient]);
        let two = Capabilities::NONE
            .with(Capability::Metrics)
            .with(Capability::Config);
        assert_eq!(two.to_string(), "config, metrics");
        assert_eq!(two.without(two).to_string(), "nothing");
    }

    #[test]
    fn what_is_denied_is_counted_apart() {
        let gate = Gate::new(Capabilities::NONE.with(Capability::Config));
        assert!(gate.allow(Capability::Config));
        assert!(!gate.allow(Capability::Secrets) && !gate.allow(Capability::Secrets));
        let counts = Capability::ALL.map(|one| gate.denied_calls(one));
        assert_eq!(counts, [0, 0, 0, 2, 0, 0]);
    }
}
