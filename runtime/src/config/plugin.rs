//! What is said of one plugin, in a part for each owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zlayer_bundle::{AllowedHosts, DEFAULT_INSTANCES, HealthCheck, Role};

use crate::capability::Capabilities;
use crate::keyvalue;

use super::Secret;
use super::placement::Placement;

/// One plugin of a deployment.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Its name here. `None`: the plugin's own.
    pub name: Option<String>,
    /// What is said of it.
    pub config: PluginConfig,
}

/// What is said of one plugin. Plugins of which nothing is said by name share the parts of one.
#[derive(Debug, Clone, Default)]
pub struct PluginConfig {
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// How its instances are kept.
    pub pooling: Pooling,
    /// Where it takes part.
    pub placement: Arc<Placement>,
    /// How it is asked whether it is well; `None` if it is not (default).
    pub health: Option<Arc<HealthCheck>>,
}

/// What is said of what a plugin may do. What becomes of it depends on the plugin and its company:
/// see [`Granted`](super::Granted).
#[derive(Debug, Clone)]
pub struct Grants {
    /// The roles that it plays; `None` if nothing is said.
    pub roles: Option<Vec<Role>>,
    /// What it may call beyond what the worlds of its roles import.
    pub allowed: Capabilities,
    /// What it may not call whatever else is said.
    pub denied: Capabilities,
    /// The hosts that it may send requests to, and forward them to.
    pub allowed_hosts: AllowedHosts,
    /// The configuration that it sees.
    pub config: BTreeMap<String, String>,
    /// Secrets that are its own, by name.
    pub own_secrets: BTreeMap<String, Secret>,
    /// Names of the device's secrets that it may see, or how they begin before a `*`; `None` if nothing
    /// is said.
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
            roles: None,
            allowed: Capabilities::NONE,
            denied: Capabilities::NONE,
            allowed_hosts: AllowedHosts::default(),
            config: BTreeMap::new(),
            own_secrets: BTreeMap::new(),
            secrets: None,
            namespace: None,
            keyvalue: keyvalue::Settings::default(),
            log_records: 200,
        }
    }
}

/// How a plugin's instances are kept.
#[derive(Debug, Clone, Copy)]
pub struct Pooling {
    /// Instances of it that run at the same time, from 1 to [`crate::config::INSTANCES_MAX`];
    /// further requests queue (default [`DEFAULT_INSTANCES`]). Where the device has no room for as many, fewer run:
    /// see [`crate::plugin::share_out`] and [`crate::plugin::Plugin::load`].
    pub instances: usize,
    /// Requests that one instance of a `wasi:http` handler serves before it is replaced
    /// (default 1: a fresh instance each).
    pub reuse: u32,
    /// Instances that are made at the start and not given up for idleness (default 0). A plugin with an
    /// `init` makes one at the start in any case. They go where the memory is needed, as all that are
    /// idle do. A `wasi:http` handler keeps none unless `reuse` is more than 1.
    pub min_instances: usize,
    /// How long an instance beyond `min_instances` is kept that nobody asks for; `None` is until its
    /// memory is needed (default).
    pub idle_timeout: Option<Duration>,
    /// How long one call of the plugin may take, with the wait for an instance; that of a `wasi:http`
    /// handler until its response begins. `None` is as long as the request's own deadline allows
    /// (default), which nothing extends.
    pub request_timeout: Option<Duration>,
    /// Bytes that the linear memories of one instance may have together, at least 64 KiB;
    /// `None` is as many as the device has (default).
    pub max_memory: Option<usize>,
}

impl Default for Pooling {
    fn default() -> Self {
        Pooling {
            instances: DEFAULT_INSTANCES as usize,
            reuse: 1,
            min_instances: 0,
            idle_timeout: None,
            request_timeout: None,
            max_memory: None,
        }
    }
}
