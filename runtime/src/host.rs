//! What a plugin can reach: the state behind each instance, and the interfaces linked to it.

mod bindings;
mod clock;
mod config;
mod http;
mod keyvalue;
mod logging;
mod metrics;
mod secrets;
mod stdio;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use smol::lock::OnceCell;
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use bindings::exports::zlayer::plugin::handler;
pub use bindings::zlayer::plugin::{common, plugin_metadata, request_types};
pub use logging::PluginLog;

use crate::config::Secret;
use crate::keyvalue::{KeyValue, KvError, Namespace, Quota};
use crate::memory::Reservation;
use crate::metrics::Metrics;

/// Resources (streams, headers, bodies, pollables) that one instance may hold at a time.
const RESOURCES: usize = 128;
/// Bytes that one call of `wasi:random` may ask for.
const RANDOM_BYTES: u64 = 64 << 10;
/// Memory that the headers of one message may take inside the host (wasmtime-wasi-http counts its
/// own overhead for each field). A plugin that fills every resource with headers takes 2 MiB
/// that the budget does not see: what bounds that are the instances.
const FIELDS_BYTES: usize = 16 << 10;
/// Elements of an instance's tables, together.
const TABLE_ELEMENTS: usize = 20_000;

/// What all instances of one plugin share with the host.
pub struct PluginHost {
    /// The plugin's name: its key-value namespace, its label in metrics, its target in logs.
    pub name: String,
    /// What `config` answers from.
    pub config: BTreeMap<String, String>,
    /// What `secrets` answers from.
    pub secrets: BTreeMap<String, Secret>,
    /// Where `logging`, standard output and standard error go.
    pub log: PluginLog,
    /// Where `metrics` go.
    pub metrics: Arc<Metrics>,
    store: KeyValue,
    quota: Quota,
    namespace: OnceCell<Namespace>,
}

impl PluginHost {
    /// The host side of the plugin `name`; its log level is the config value `LOG_LEVEL`, else `RUST_LOG`;
    /// it may write `log_records` records a second.
    pub fn new(
        name: String,
        config: BTreeMap<String, String>,
        secrets: BTreeMap<String, Secret>,
        metrics: Arc<Metrics>,
        store: KeyValue,
        log_records: u32,
    ) -> PluginHost {
        let level = config.get("LOG_LEVEL").or_else(|| config.get("RUST_LOG"));
        let log = PluginLog::new(&name, level.map(String::as_str), log_records);
        PluginHost {
            name,
            config,
            secrets,
            log,
            metrics,
            store,
            quota: Quota::default(),
            namespace: OnceCell::new(),
        }
    }

    /// The plugin's namespace in the store; waits until the store is open.
    async fn namespace(&self) -> Result<&Namespace, KvError> {
        self.namespace
            .get_or_try_init(|| self.store.namespace(&self.name, &self.quota))
            .await
    }
}

/// The `T` of every `Store<T>`: what one instance holds.
pub struct HostState {
    plugin: Arc<PluginHost>,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: http::Outgoing,
    /// Bounds what the instance may allocate.
    pub limiter: Limiter,
    /// The request that the instance works on.
    request: CurrentRequest,
}

/// The id of the request that an instance works on, for its log records and its output.
#[derive(Clone, Default)]
struct CurrentRequest(Arc<Mutex<Option<Arc<str>>>>);

impl CurrentRequest {
    fn set(&self, id: Option<Arc<str>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    fn id(&self) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl HostState {
    /// The state of a new instance; its memory is charged to `reservation`, which holds `prepaid`
    /// bytes for it already.
    pub fn new(
        plugin: Arc<PluginHost>,
        reservation: Reservation,
        prepaid: usize,
        memory_max: usize,
    ) -> HostState {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        // Empty but for the output, which goes to the log: no files, sockets or environment.
        let request = CurrentRequest::default();
        let output = |level| stdio::LogStream::new(&plugin, &request, level);
        let wasi = WasiCtx::builder()
            .stdout(output(log::Level::Info))
            .stderr(output(log::Level::Warn))
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(RANDOM_BYTES)
            .build();
        HostState {
            plugin,
            table,
            wasi,
            http,
            outgoing: http::Outgoing,
            limiter: Limiter {
                reservation,
                prepaid,
                memory_max,
                pending: 0,
                refused: None,
            },
            request,
        }
    }

    /// The instance begins to work on a request.
    pub fn work_on(&mut self, request_id: &Arc<str>) {
        self.request.set(Some(Arc::clone(request_id)));
    }

    /// The instance has done its work and waits for more.
    pub fn rest(&mut self) {
        self.request.set(None);
        self.limiter.refused = None;
    }
}

/// Links every interface of the contract and WASI 0.2. Nothing is left out for a plugin that may
/// not use it: a denied call answers an error, an import that is missing would refuse the plugin.
pub fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // Our clock replaces the one that needs tokio's timers.
    linker.allow_shadowing(true);
    clock::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    bindings::zlayer::plugin::config::add_to_linker::<_, Host>(linker, |state| state)?;
    bindings::zlayer::plugin::keyvalue::add_to_linker::<_, Host>(linker, |state| state)?;
    bindings::zlayer::plugin::logging::add_to_linker::<_, Host>(linker, |state| state)?;
    bindings::zlayer::plugin::secrets::add_to_linker::<_, Host>(linker, |state| state)?;
    bindings::zlayer::plugin::metrics::add_to_linker::<_, Host>(linker, |state| state)
}

/// Marks that our interfaces are implemented on [`HostState`] itself.
struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut HostState;
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outgoing,
        }
    }
}

/// Charges an instance's linear memories to the budget and bounds its tables.
pub struct Limiter {
    reservation: Reservation,
    /// Bytes of the reservation that no memory has taken yet.
    prepaid: usize,
    memory_max: usize,
    /// What the last granted growth took, if the engine then fails it.
    pending: usize,
    refused: Option<usize>,
}

impl Limiter {
    /// The size in bytes that the plugin's memory was last refused, if any: the likely reason
    /// behind a trap.
    pub fn refused(&self) -> Option<usize> {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let beyond = more.saturating_sub(self.prepaid);
        let allowed = desired <= self.memory_max
            && maximum.is_none_or(|maximum| desired <= maximum)
            && self.reservation.grow(beyond);
        if allowed {
            self.prepaid -= more - beyond;
            self.pending = more;
        } else {
            self.pending = 0;
            self.refused = Some(desired);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // What was taken is kept for the next growth; the instance gives it back as a whole.
        self.prepaid += std::mem::take(&mut self.pending);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum))
    }
}
