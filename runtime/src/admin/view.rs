//! What the admin interface looks at.

use std::net::SocketAddr;
use std::sync::Arc;

use smol::channel::Receiver;

use super::store::Store;
use crate::admin::ADMIN_SHARE;
use crate::cache::Cache;
use crate::keyvalue::{self, KeyValue};
use crate::log_ring::MEMORY_SHARE;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::plugin::{Plugin, State};
use crate::server::CONNECTION_SHARE;
use crate::stats::ServerStats;

/// The parts of a daemon that there is something to tell of.
pub struct View {
    /// The plugin that is served.
    pub plugin: Arc<Plugin>,
    /// Its version, from its manifest.
    pub version: String,
    /// Its roles, from its manifest.
    pub roles: Vec<&'static str>,
    /// What the server counts.
    pub server: Arc<ServerStats>,
    /// The plugin's own metrics.
    pub metrics: Arc<Metrics>,
    /// The one memory budget.
    pub budget: Arc<Budget>,
    /// The store.
    pub store: KeyValue,
    /// The response cache, where a plugin has that role.
    pub cache: Option<Arc<Cache>>,
    /// Where clients are listened to.
    pub address: SocketAddr,
    /// Closed when the daemon drains.
    pub stop: Receiver<()>,
}

impl View {
    pub(super) fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// Nothing, or why no good answer is to be expected from this daemon at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.stop.is_closed() {
            return Some("draining".to_owned());
        }
        match self.plugin.state() {
            State::Ready => {}
            State::Starting => return Some(format!("plugin {}: starting", self.plugin.name())),
            State::Failed(reason) => {
                return Some(format!(
                    "plugin {}: init failed: {reason}",
                    self.plugin.name()
                ));
            }
        }
        // One that is not open yet answers once it is.
        match self.store.status().state {
            keyvalue::State::Failing(reason) => Some(format!("store: {reason}")),
            keyvalue::State::Opening | keyvalue::State::Open => None,
        }
    }

    /// What takes how much of the memory budget, in bytes. All but instances is set aside, used or not.
    pub(super) fn memory(&self) -> [(&'static str, usize); 6] {
        let connections = self.plugin.limits().connections * CONNECTION_SHARE;
        let bodies = self.plugin.bodies_share();
        let store = keyvalue::Sizes::within(self.budget.limit()).memory();
        let fixed = store + connections + ADMIN_SHARE + MEMORY_SHARE + bodies;
        [
            ("store", store),
            ("connections", connections),
            ("bodies", bodies),
            ("admin", ADMIN_SHARE),
            ("log", MEMORY_SHARE),
            ("instances", self.budget.used().saturating_sub(fixed)),
        ]
    }

    pub(super) fn store(&self) -> Store {
        let host = self.plugin.host();
        let held = host
            .held()
            .map(|(bytes, keys)| (host.name.clone(), bytes, keys));
        Store {
            status: self.store.status(),
            namespaces: held.into_iter().collect(),
        }
    }
}
