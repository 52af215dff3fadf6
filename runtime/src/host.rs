//! What a plugin can reach: the state behind each instance, and the interfaces that are linked to
//! it.

mod asking;
mod bindings;
mod clock;
mod config;
mod held;
mod http;
mod http_error;
mod ip_name_lookup;
mod keyvalue;
mod kv_faults;
mod limiter;
mod link;
mod listed;
mod logging;
mod long_lists;
mod metrics;
mod random;
mod read_ahead;
mod secrets;
mod stdio;
mod table;
mod wasi;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use ::http::header::{HeaderName, HeaderValue};
use futures_lite::future::yield_now;
use smol::lock::OnceCell;
use wasmtime::component::{HasData, Linker, ResourceTableError};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use bindings::exports::zlayer::plugin::{
    authenticator, caching, handler, middleware, rate_limiter, router, transformer, websocket,
};
pub use bindings::zlayer::plugin::{common, http_types, plugin_metadata, request_types};
pub use held::NoMemory;
pub use http_error::plugin_body;
pub use limiter::{Limiter, Refused};
pub use link::add_to_linker;
pub use logging::PluginLog;

use http::HandOver;
use table::Table;

use crate::capability::{Capability, Gate};
use crate::config::{Granted, Grants, Secret};
use crate::failure::Failure;
use crate::keyvalue::{KeyValue, KvError, Namespace, Writes};
use crate::memory::{Budget, Reservation};
use crate::message::fields::{LIST_BYTES, LIST_HEADERS};
use crate::metrics::Metrics;
use crate::redact::cut;
use crate::stats::{Outcome, PluginStats};
use crate::sync;
use crate::told::Told;
use crate::turns::{Place, Turn};
use crate::upstream::{Sender, Upstreams};
use asking::Asking;
use kv_faults::KvFaults;
use stdio::OpenLines;

/// Bytes of memory that the headers of one message may take inside the host: as much as a list of
/// headers may hold, plus what wasmtime-wasi-http counts for each header (the structures of a name
/// and a value). What they really take is charged (`http/weight.rs`).
const FIELDS_BYTES: usize =
    LIST_BYTES + LIST_HEADERS * (size_of::<HeaderName>() + size_of::<HeaderValue>());
/// Bytes that the log shows of the name of a secret that a plugin asks for.
const SECRET_NAME_BYTES: usize = 128;
/// The message of the error that a plugin gets when it calls what it is not granted.
const DENIED: &str = "denied: the deployment does not grant this capability";
/// The code of that error, for interfaces whose errors have codes.
const DENIED_CODE: &str = "CAPABILITY_DENIED";

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
    told: Told,
    /// Counters of the plugin's requests and incidents.
    pub stats: PluginStats,
    /// The budget for the plugin's connections to upstreams, including those that it routes clients
    /// to.
    pub share: Arc<Budget>,
    /// Where its requests, and those that it routes, may be sent.
    pub sender: Arc<Sender>,
    upstreams: Upstreams,
    store: KeyValue,
    /// Those of all plugins.
    secrets: Arc<BTreeMap<String, Secret>>,
    namespace: OnceCell<Namespace>,
    /// What the plugin's changes of the store may have written to flash.
    pub writes: Arc<Writes>,
    /// What went wrong with the store, and was told.
    kv_faults: KvFaults,
    /// Whom its own requests wait for.
    asking: Asking,
    /// Its place among those that wait for the processor. None before the plugin is loaded.
    place: Option<Place>,
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
    fn may(&self, capability: Capability, request: &CurrentRequest) -> bool {
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
    fn tell_of_no_secret(&self, name: &str, request: &CurrentRequest) {
        let (plugin, shown) = (&self.name, cut(name, SECRET_NAME_BYTES));
        let shown = shown.escape_debug();
        let message = match self.secrets.contains_key(name) {
            true => format!(
                "it asked for the secret '{shown}', which it is not given: \
                 --plugin {plugin}:secrets={shown} gives it"
            ),
            false => format!(
                "it asked for the secret '{shown}', which there is not: --secrets-file, \
                 --secret-credential, --secret-env or --secret bring it"
            ),
        };
        self.tell_once(("secret", name), request.id().as_deref(), &message);
    }

    /// The names of the secrets that the plugin may see.
    fn secret_names(&self) -> impl Iterator<Item = &String> {
        let all = self.secrets.keys();
        all.filter(|name| self.granted.shows_secret(name))
    }

    /// The secret of this name, if the plugin may see it.
    fn secret(&self, name: &str) -> Option<&Secret> {
        let is_shown = self.granted.shows_secret(name);
        self.secrets.get(name).filter(|_| is_shown)
    }

    /// The failure that it is when the plugin has no time left for the client's request with this
    /// id, which it is at work on.
    pub fn late(&self, request: &str) -> Failure {
        match self.asking.upstream_of(request) {
            Some(upstream) => Failure::WaitedForUpstream(upstream),
            None => Failure::Deadline,
        }
    }

    /// The plugin's namespace. None if the plugin has not used it.
    pub fn used_namespace(&self) -> Option<&Namespace> {
        self.namespace.get()
    }

    /// Bytes of the largest value that the plugin may store.
    fn largest_value(&self) -> usize {
        self.grants.keyvalue.quota.value_bytes
    }

    /// Waits until an instance that does long work in the host may go on with it.
    async fn pause(&self) {
        match &self.place {
            Some(place) => place.turn().await,
            None => yield_now().await,
        }
    }

    /// The plugin's namespace in the store; waits until the store is open. Every call of `keyvalue`
    /// comes through here, so the capability is checked here.
    async fn namespace(&self) -> Result<&Namespace, KvError> {
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

/// The state of one instance in the host: the `T` of every `Store<T>`.
pub struct HostState {
    plugin: Arc<PluginHost>,
    table: Table,
    wasi: wasi::Wasi,
    insecure: random::Insecure,
    http: WasiHttpCtx,
    outgoing: http::Outgoing,
    /// Bounds what the instance may allocate.
    pub limiter: Limiter,
    /// The memory that a long list or value is charged to until the plugin has received it.
    listed: Option<Reservation>,
    /// One body of the instance has memory of its own, and this says whether there is such a one.
    free_body_is_taken: Arc<AtomicBool>,
    /// The bodies that the instance writes.
    bodies: Vec<HandOver>,
    /// The request that the instance is working on.
    request: CurrentRequest,
    /// How often ticks have interrupted it while it works on that.
    interruptions: u32,
}

/// What the host had no room for.
#[derive(Debug, Clone, Copy)]
pub enum NoRoom {
    /// More than there is memory for.
    Memory(NoMemory),
    /// More handles than so many.
    Handles(usize),
}

/// Whether an error is that of a plugin that has ended itself, and says that all went well.
pub fn has_exited_well(error: &wasmtime::Error) -> bool {
    error
        .downcast_ref::<I32Exit>()
        .is_some_and(|exit| exit.0 == 0)
}

/// The id of the request that an instance works on, for its log records and its output.
#[derive(Clone, Default)]
struct CurrentRequest {
    id: Arc<Mutex<Option<Arc<str>>>>,
    /// Output that belongs to it, and whose line has not ended.
    lines: Arc<Mutex<OpenLines>>,
}

impl CurrentRequest {
    fn set(&self, id: Option<Arc<str>>) {
        *sync::lock(&self.id) = id;
    }

    fn id(&self) -> Option<Arc<str>> {
        sync::lock(&self.id).clone()
    }
}

impl HostState {
    /// Makes the state of a new instance. Its memory is charged to `reservation`, which already
    /// holds `prepaid` bytes for it, and `call_share` bytes for what its calls leave in the host. It
    /// may have so many `handles`.
    pub fn new(
        plugin: Arc<PluginHost>,
        reservation: Reservation,
        prepaid: usize,
        memory_max: usize,
        call_share: usize,
        handles: usize,
    ) -> HostState {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let request = CurrentRequest::default();
        HostState {
            outgoing: http::Outgoing::new(&plugin, &request),
            plugin,
            table: Table::new(handles),
            wasi: wasi::Wasi::default(),
            insecure: random::Insecure::default(),
            http,
            limiter: Limiter::new(reservation, prepaid, memory_max, call_share),
            listed: None,
            free_body_is_taken: Arc::default(),
            bodies: Vec::new(),
            request,
            interruptions: 0,
        }
    }

    /// Records the request that the instance begins to work on.
    pub fn work_on(&mut self, request_id: &Arc<str>) {
        self.request.set(Some(Arc::clone(request_id)));
        self.interruptions = 0;
    }

    /// Counts an interruption by a tick of the engine's clock. Returns what the instance has to wait
    /// for before it goes on, if it has to.
    pub fn interrupted(&mut self) -> Option<Turn> {
        self.interruptions = self.interruptions.saturating_add(1);
        self.plugin.place.as_ref()?.interrupted(self.interruptions)
    }

    /// Records that the instance trapped in a call. It will not be used again.
    pub fn trapped(&self, failure: &Failure) {
        let kind = match failure {
            Failure::OutOfMemory(_) => Outcome::OutOfMemory,
            _ => Outcome::Trap,
        };
        let stats = &self.plugin.stats;
        stats.add_incident(self.request.id(), kind, &failure.to_string());
    }

    /// Whether the plugin may use `capability`. A call that is denied is counted.
    fn may(&self, capability: Capability) -> bool {
        self.plugin.may(capability, &self.request)
    }

    /// Forgets the request when the instance has done its work and waits for the next one. A body
    /// that it has not finished ends here, as it would with the instance.
    pub fn end_request(&mut self) {
        let id = self.request.id();
        sync::lock(&self.request.lines).write_out(&self.plugin, id.as_deref());
        self.request.set(None);
        self.limiter.forget_refused();
        self.listed = None;
        self.bodies.drain(..).for_each(|body| body.leave());
        self.limiter.give_back_unused();
    }

    /// Whether the instance holds, or has held at a time, half of the handles that it may have.
    pub fn has_many_handles(&self) -> bool {
        self.table.places() > self.table.max() / 2
    }

    /// Why an error ended the instance, if it is that there was no room for what the host was to keep:
    /// memory, or that it has as many handles as it may have.
    pub fn no_room(&self, error: &wasmtime::Error) -> Option<NoRoom> {
        if let Some(&refused) = error.downcast_ref::<NoMemory>() {
            return Some(NoRoom::Memory(refused));
        }
        let full = error.downcast_ref::<ResourceTableError>();
        full.filter(|error| matches!(error, ResourceTableError::Full))?;
        let refused = self.table.refused().map(NoRoom::Memory);
        Some(refused.unwrap_or(NoRoom::Handles(self.table.max())))
    }
}

/// An interface's name without its version, and what links it.
type Interface = (
    &'static str,
    fn(&mut Linker<HostState>) -> wasmtime::Result<()>,
);

/// The error of a denied call, for interfaces that have one.
fn denied() -> common::Error {
    common::Error {
        code: DENIED_CODE.to_owned(),
        message: DENIED.to_owned(),
    }
}

/// Tells the generated code that our interfaces are implemented on [`HostState`] itself.
struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut HostState;
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: self.table.with_room(&mut self.limiter),
            hooks: &mut self.outgoing,
        }
    }
}
