//! One plugin's side of the host: what all its instances share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::yield_now;
use smol::lock::OnceCell;

use super::asking::Asking;
use super::kv_faults::KvFaults;
use super::logging::PluginLog;
use super::{CurrentRequest, DENIED};
use crate::capability::{Capability, Gate};
use crate::config::{Granted, Grants, Secret};
use crate::failure::Failure;
use crate::keyvalue::{KeyValue, KvError, Namespace, Writes};
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::redact::cut;
use crate::stats::PluginStats;
use crate::told::Told;
use crate::turns::Place;
use crate::upstream::{Sender, Upstreams};

/// Bytes that the log shows of the name of a secret that a plugin asks for.
const SECRET_NAME_BYTES: usize = 128;

/// What all instances of one plugin share with the host.
pub struct PluginHost {
    /// The plugin's name: its label in metrics, its target in logs.
    pub name: String,
    /// The name of its key-value namespace.
    pub namespace_name: String,
    /// What is said of the plugin.
    pub grants: Arc<Grants>,
    /// What it may do.
    pub granted: Granted,
    /// Where `logging`, standard output and standard error go.
    pub log: PluginLog,
    /// Where `metrics` go.
    pub metrics: Arc<Metrics>,
    /// Lets the plugin call what it is granted.
    pub gate: Gate,
    /// What the log was told of calls that were denied.
    pub(super) told: Told,
    /// Counters of the plugin's requests and incidents.
    pub stats: PluginStats,
    /// The budget for the plugin's connections to upstreams, including those that it routes clients
    /// to.
    pub share: Arc<Budget>,
    /// Where its requests, and those that it routes, may be sent.
    pub sender: Arc<Sender>,
    pub(super) upstreams: Upstreams,
    pub(super) store: KeyValue,
    /// Those of the device, which plugins see by name.
    pub(super) secrets: Arc<BTreeMap<String, Secret>>,
    pub(super) namespace: OnceCell<Namespace>,
    /// What the plugin's changes of the store may have written to flash.
    pub writes: Arc<Writes>,
    /// What went wrong with the store, and was told.
    pub(super) kv_faults: KvFaults,
    /// Whom its own requests wait for.
    pub(super) asking: Asking,
    /// Its place among those that wait for the processor. None before the plugin is loaded.
    pub(super) place: Option<Place>,
}

impl PluginHost {
    /// The host side of the plugin `name`; its log level is the config value `LOG_LEVEL`, else
    /// `RUST_LOG`. `secrets` are those of all plugins.
    pub fn new(
        name: String,
        grants: Arc<Grants>,
        granted: Granted,
        secrets: Arc<BTreeMap<String, Secret>>,
        metrics: Arc<Metrics>,
        store: KeyValue,
        upstreams: Upstreams,
    ) -> PluginHost {
        let config = &grants.config;
        let level = config.get("LOG_LEVEL").or_else(|| config.get("RUST_LOG"));
        let log = PluginLog::new(&name, level.map(String::as_str), grants.log_records);
        PluginHost {
            namespace_name: grants.namespace.clone().unwrap_or_else(|| name.clone()),
            sender: Arc::new(Sender::new(&name, &grants)),
            writes: store.writes(&name, grants.keyvalue.day_bytes),
            name,
            secrets,
            log,
            metrics,
            gate: Gate::new(granted.capabilities),
            granted,
            told: Told::default(),
            grants,
            stats: PluginStats::default(),
            share: upstreams.share(),
            upstreams,
            store,
            namespace: OnceCell::new(),
            kv_faults: KvFaults::default(),
            asking: Asking::default(),
            place: None,
        }
    }

    /// The same, with a place among those that wait for the processor.
    pub fn at_place(self, place: Place) -> PluginHost {
        PluginHost {
            place: Some(place),
            ..self
        }
    }

    /// Tells in the log, once for each `what`, why the plugin was denied something. It counts as
    /// one of the plugin's own records.
    pub fn tell_once(&self, what: (&str, &str), request_id: Option<&str>, message: &str) {
        if self.told.is_first(what) {
            let message = format!("{message} (told once)");
            self.log.write(log::Level::Warn, request_id, &message, &[]);
        }
    }

    /// Whether the plugin may use `capability`. A call that is denied is counted, and the log told of
    /// the first.
    pub(super) fn may(&self, capability: Capability, request: &CurrentRequest) -> bool {
        let may = self.gate.allow(capability);
        if !may {
            let why = self.granted.why_not(capability);
            let message = format!("it called what it is not granted: {why}");
            self.tell_once((capability.name(), ""), request.id().as_deref(), &message);
        }
        may
    }

    /// The names of the secrets that the plugin may see, if it may read secrets.
    pub fn shown_secrets(&self) -> Vec<String> {
        match self.gate.granted().contains(Capability::Secrets) {
            true => self.secret_names().cloned().collect(),
            false => Vec::new(),
        }
    }

    /// Tells the log that the plugin asked for a secret which it does not get.
    pub(super) fn tell_of_no_secret(&self, name: &str, request: &CurrentRequest) {
        let cut = cut(name, SECRET_NAME_BYTES);
        let shown = cut.escape_debug();
        let message = match self.secrets.contains_key(name) {
            true => format!(
                "it asked for the secret '{shown}', which it is not given: \
                 `wasm.secrets: [{shown}]` in its service gives it"
            ),
            false => format!(
                "it asked for the secret '{shown}', which there is not: --secrets-file, \
                 --secret-credential, --secret-env or --secret bring it"
            ),
        };
        // A name may be megabytes long: what is remembered of it is what is shown.
        self.tell_once(("secret", &cut), request.id().as_deref(), &message);
    }

    /// The names of the secrets that the plugin may see.
    pub(super) fn secret_names(&self) -> impl Iterator<Item = &String> {
        let own = &self.grants.own_secrets;
        let others = self.secrets.keys();
        let others =
            others.filter(|name| !own.contains_key(*name) && self.granted.shows_secret(name));
        own.keys().chain(others)
    }

    /// The secret of this name, if the plugin may see it.
    pub(super) fn secret(&self, name: &str) -> Option<&Secret> {
        let of_all = || {
            self.secrets
                .get(name)
                .filter(|_| self.granted.shows_secret(name))
        };
        self.grants.own_secrets.get(name).or_else(of_all)
    }

    /// The failure that it is when the plugin has no time left for the client's request with this
    /// id, which it is at work on.
    pub fn late(&self, request: &str) -> Failure {
        match self.asking.upstream_of(request) {
            Some(upstream) => Failure::WaitedForUpstream(upstream),
            None => Failure::Deadline,
        }
    }

    /// The failure that it means when the time of a call is up that the plugin was given.
    pub fn late_call(&self, request: &str, time: Duration) -> Failure {
        Failure::CallDeadline {
            time,
            upstream: self.asking.upstream_of(request),
        }
    }

    /// The plugin's namespace. None if the plugin has not used it.
    pub fn used_namespace(&self) -> Option<&Namespace> {
        self.namespace.get()
    }

    /// Bytes of the largest value that the plugin may store.
    pub(super) fn largest_value(&self) -> usize {
        self.grants.keyvalue.quota.value_bytes
    }

    /// Waits until an instance that does long work in the host may go on with it.
    pub(super) async fn pause(&self) {
        match &self.place {
            Some(place) => place.turn().await,
            None => yield_now().await,
        }
    }

    /// The plugin's namespace in the store; waits until the store is open. Every call of `keyvalue`
    /// comes through here, so the capability is checked here.
    pub(super) async fn namespace(&self) -> Result<&Namespace, KvError> {
        if !self.gate.allow(Capability::Keyvalue) {
            return Err(KvError::Storage(DENIED.to_owned()));
        }
        self.namespace
            .get_or_try_init(|| {
                let (settings, writes) = (&self.grants.keyvalue, Arc::clone(&self.writes));
                let name = &self.namespace_name;
                self.store.namespace(name, settings, Some(writes))
            })
            .await
    }
}
