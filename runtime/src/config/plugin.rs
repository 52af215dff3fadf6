//! What is said of one plugin, in a part for each owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::allowed_hosts::AllowedHosts;
use crate::capability::{Capabilities, Capability};
use crate::keyvalue;

use super::placement::Placement;

/// What is said of one plugin. Plugins of which nothing is said by name share the parts of one.
#[derive(Debug, Clone, Default)]
pub struct PluginConfig {
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// How its instances are kept.
    pub pooling: Pooling,
    /// Where it takes part.
    pub placement: Arc<Placement>,
}

/// What a plugin may reach through the host.
#[derive(Debug, Clone)]
pub struct Grants {
    /// What it may call. Use [`Grants::granted`], which also looks at the hosts.
    pub capabilities: Capabilities,
    /// The hosts that it may send requests to, and forward them to.
    pub allowed_hosts: AllowedHosts,
    /// The configuration that it sees.
    pub config: BTreeMap<String, String>,
    /// Names of the secrets that it may see; `None` is all of them.
    pub secrets: Option<Vec<String>>,
    /// Its namespace in the store; `None` is the plugin's name. Plugins that name the same one
    /// share it.
    pub namespace: Option<String>,
    /// How its namespace is kept.
    pub keyvalue: keyvalue::Settings,
    /// Log records a second that it may write in the long run, and five times as many at once
    /// (default 200).
    pub log_records: u32,
}

impl Default for Grants {
    fn default() -> Self {
        Grants {
            capabilities: Capabilities::DEFAULT.with(Capability::HttpClient),
            allowed_hosts: AllowedHosts::default(),
            config: BTreeMap::new(),
            secrets: None,
            namespace: None,
            keyvalue: keyvalue::Settings::default(),
            log_records: 200,
        }
    }
}

impl Grants {
    /// What it may call. Outgoing requests are granted together with hosts to send them to.
    pub fn granted(&self) -> Capabilities {
        match self.allowed_hosts.is_empty() {
            true => self
                .capabilities
                .without(Capabilities::NONE.with(Capability::HttpClient)),
            false => self.capabilities,
        }
    }

    /// Whether it may see the secret of this name.
    pub fn shows_secret(&self, name: &str) -> bool {
        let names = self.secrets.as_ref();
        names.is_none_or(|names| names.iter().any(|one| one == name))
    }
}

/// How a plugin's instances are kept.
#[derive(Debug, Clone, Copy)]
pub struct Pooling {
    /// Instances of it that run at the same time, from 1 to [`crate::config::INSTANCES_MAX`];
    /// further requests queue (default 32). Where the device has no room for as many, fewer run:
    /// see [`crate::plugin::share_out`] and [`crate::plugin::Plugin::load`].
    pub instances: usize,
    /// Requests that one instance of a `wasi:http` handler serves before it is replaced
    /// (default 1: a fresh instance each).
    pub reuse: u32,
}

impl Default for Pooling {
    fn default() -> Self {
        Pooling {
            instances: 32,
            reuse: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_requests_are_granted_together_with_hosts() {
        let mut grants = Grants::default();
        assert!(!grants.granted().contains(Capability::HttpClient));
        assert!(grants.granted().contains(Capability::Config));
        grants
            .allowed_hosts
            .extend("a.example".parse().into_iter().collect());
        assert!(grants.granted().contains(Capability::HttpClient));
    }

    #[test]
    fn all_secrets_are_shown_unless_some_are_named() {
        let mut grants = Grants::default();
        assert!(grants.shows_secret("a"));
        grants.secrets = Some(vec!["a".to_owned()]);
        assert!(grants.shows_secret("a") && !grants.shows_secret("b"));
        grants.secrets = Some(Vec::new());
        assert!(!grants.shows_secret("a"));
    }
}
