//! The parts of a daemon that the admin interface shows.

use std::sync::Arc;

use smol::channel::Receiver;

use super::deployments::Deployments;
use super::store::{Held, Store};
use crate::admin::ADMIN_SHARE;
use crate::keyvalue::{self, KeyValue};
use crate::log_ring::MEMORY_SHARE;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::pipeline::{Pipeline, Present};
use crate::plugin::{Health, HealthState, Plugin, PluginState};
use crate::server::Doors;
use crate::server::tls::Https;
use crate::stats::ServerStats;

/// The parts of a daemon that status and metrics are made from.
pub struct View {
    /// The pipeline of the plugins that requests take at present.
    pub present: Arc<Present>,
    /// What the server counts.
    pub server: Arc<ServerStats>,
    /// The metrics that plugins keep.
    pub metrics: Arc<Metrics>,
    /// The one memory budget.
    pub budget: Arc<Budget>,
    /// The key-value store of the plugins.
    pub store: KeyValue,
    /// Clients' connections that there is room for at the same time.
    pub connections: usize,
    /// Bytes of memory set aside for them, with the certificates that they are shown.
    pub connections_memory: usize,
    /// Threads that serve.
    pub threads: usize,
    /// Where clients come in.
    pub doors: Arc<Doors>,
    /// The certificates, where HTTPS is served.
    pub https: Option<Https>,
    /// Which deployment is served, and what changes it.
    pub deployments: Arc<dyn Deployments>,
    /// Closed when the daemon drains.
    pub stop: Receiver<()>,
}

impl View {
    /// The plugins, in the declared order.
    pub(super) fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.pipeline().plugins().to_vec()
    }

    /// The pipeline that requests take at present.
    pub(super) fn pipeline(&self) -> Arc<Pipeline> {
        self.present.get()
    }

    /// Why this daemon cannot serve well at the moment; `None` if it can.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.stop.is_closed() {
            return Some("draining".to_owned());
        }
        let pipeline = self.pipeline();
        if let Some(nothing) = pipeline.nothing() {
            return Some(format!("nothing is served: {nothing}"));
        }
        for plugin in pipeline.plugins() {
            match plugin.state() {
                PluginState::Ready => {
                    let health = plugin.health().map(Health::state);
                    if let Some(HealthState::Unhealthy(_, reason)) = health {
                        return Some(format!("plugin {}: unhealthy: {reason}", plugin.name()));
                    }
                }
                PluginState::Starting => {
                    return Some(format!("plugin {}: starting", plugin.name()));
                }
                PluginState::Failed(reason) => {
                    return Some(format!("plugin {}: init failed: {reason}", plugin.name()));
                }
            }
        }
        // While the store opens, calls wait for it.
        match self.store.status().state {
            keyvalue::StoreState::Failing(reason) => Some(format!("store: {reason}")),
            keyvalue::StoreState::Unused
            | keyvalue::StoreState::Opening
            | keyvalue::StoreState::Open => None,
        }
    }

    /// What each part takes of the memory budget, in bytes. All of it is set aside, used or not.
    /// Only `instances` varies: it counts those beyond the one that each plugin is sure of.
    pub(super) fn memory(&self) -> [(&'static str, usize); 8] {
        let connections = self.connections_memory;
        let pipeline = self.pipeline();
        let bodies = pipeline.bodies_share();
        let store = keyvalue::Sizes::within(self.budget.limit()).memory();
        let cache = pipeline.cache();
        let cache = cache.map_or(0, |cache| cache.figures().limit);
        let plugins = pipeline
            .plugins()
            .iter()
            .map(|plugin| plugin.set_aside())
            .sum();
        let fixed = store + connections + ADMIN_SHARE + MEMORY_SHARE + bodies + cache + plugins;
        [
            ("store", store),
            ("connections", connections),
            ("bodies", bodies),
            ("cache", cache),
            ("admin", ADMIN_SHARE),
            ("log", MEMORY_SHARE),
            ("plugins", plugins),
            ("instances", self.budget.used().saturating_sub(fixed)),
        ]
    }

    pub(super) fn store(&self) -> Store {
        let plugins = self.plugins();
        let hosts = plugins.iter().map(|plugin| plugin.host());
        let mut namespaces: Vec<_> = hosts
            .filter_map(|host| {
                let namespace = host.used_namespace()?;
                let (bytes, keys) = namespace.held();
                Some(Held {
                    name: host.namespace_name.clone(),
                    bytes,
                    keys,
                    durability: host.grants.keyvalue.durability.to_string(),
                    refused: namespace.refused(),
                })
            })
            .collect();
        // Plugins that share a namespace see the same figures.
        namespaces.sort();
        namespaces.dedup_by(|next, kept| next.name == kept.name);
        Store {
            status: self.store.status(),
            namespaces,
        }
    }
}
