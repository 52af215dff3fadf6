//! What the admin interface looks at.

use std::net::SocketAddr;
use std::sync::Arc;

use smol::channel::Receiver;

use super::store::Store;
use crate::admin::ADMIN_SHARE;
use crate::config::CONNECTION_SHARE;
use crate::keyvalue::{self, KeyValue};
use crate::log_ring::MEMORY_SHARE;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::plugin::{Plugin, State};
use crate::stats::ServerStats;

/// The parts of a daemon that there is something to tell of.
pub struct View {
    /// The plugins, and the stages that they take part in.
    pub pipeline: Arc<Pipeline>,
    /// What the server counts.
    pub server: Arc<ServerStats>,
    /// The plugins' own metrics.
    pub metrics: Arc<Metrics>,
    /// The one memory budget.
    pub budget: Arc<Budget>,
    /// The store.
    pub store: KeyValue,
    /// Clients' connections that there is room for at the same time.
    pub connections: usize,
    /// Where clients are listened to.
    pub address: SocketAddr,
    /// Closed when the daemon drains.
    pub stop: Receiver<()>,
}

impl View {
    /// The plugins, in the declared order.
    pub(super) fn plugins(&self) -> &[Arc<Plugin>] {
        self.pipeline.plugins()
    }

    /// Nothing, or why no good answer is to be expected from this daemon at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.stop.is_closed() {
            return Some("draining".to_owned());
        }
        for plugin in self.plugins() {
            match plugin.state() {
                State::Ready => {}
                State::Starting => return Some(format!("plugin {}: starting", plugin.name())),
                State::Failed(reason) => {
                    return Some(format!("plugin {}: init failed: {reason}", plugin.name()));
                }
            }
        }
        // One that is not open yet answers once it is.
        match self.store.status().state {
            keyvalue::State::Failing(reason) => Some(format!("store: {reason}")),
            keyvalue::State::Opening | keyvalue::State::Open => None,
        }
    }

    /// What takes how much of the memory budget, in bytes. All is set aside, used or not, but for
    /// `instances`: those beyond the one that each plugin is sure of.
    pub(super) fn memory(&self) -> [(&'static str, usize); 8] {
        let connections = self.connections * CONNECTION_SHARE;
        let bodies = self.pipeline.bodies_share();
        let store = keyvalue::Sizes::within(self.budget.limit()).memory();
        let cache = self
            .pipeline
            .cache()
            .map_or(0, |cache| cache.figures().limit);
        let plugins = self.plugins().iter().map(|plugin| plugin.set_aside()).sum();
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
        let hosts = self.plugins().iter().map(|plugin| plugin.host());
        let mut namespaces: Vec<_> = hosts
            .filter_map(|host| {
                let (bytes, keys) = host.held()?;
                Some((host.namespace_name.clone(), bytes, keys))
            })
            .collect();
        // Plugins that share one see the same figures.
        namespaces.sort();
        namespaces.dedup_by(|next, kept| next.0 == kept.0);
        Store {
            status: self.store.status(),
            namespaces,
        }
    }
}
