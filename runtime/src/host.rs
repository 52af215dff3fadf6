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
mod kv_calls;
mod kv_faults;
mod limiter;
mod link;
mod listed;
mod logging;
mod long_lists;
mod metrics;
mod plugin_host;
mod random;
mod read_ahead;
mod secrets;
mod stdio;
mod table;
mod wasi;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::header::{HeaderName, HeaderValue};
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
pub use plugin_host::PluginHost;

use http::HandOver;
use table::Table;

use crate::capability::Capability;
use crate::failure::Failure;
use crate::memory::Reservation;
use crate::message::fields::{LIST_BYTES, LIST_HEADERS};
use crate::stats::Outcome;
use crate::sync;
use crate::turns::{self, Turn};
use stdio::OpenLines;

/// Bytes of memory that the headers of one message may take inside the host: as much as a list of
/// headers may hold, plus what wasmtime-wasi-http counts for each header (the structures of a name
/// and a value). What they really take is charged (`http/weight.rs`).
const FIELDS_BYTES: usize =
    LIST_BYTES + LIST_HEADERS * (size_of::<HeaderName>() + size_of::<HeaderValue>());
/// The message of the error that a plugin gets when it calls what it is not granted.
const DENIED: &str = "denied: the deployment does not grant this capability";
/// The code of that error, for interfaces whose errors have codes.
const DENIED_CODE: &str = "CAPABILITY_DENIED";

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
    /// For how long it had computed then.
    computed: Duration,
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
            computed: Duration::ZERO,
        }
    }

    /// Records the request that the instance begins to work on.
    pub fn work_on(&mut self, request_id: &Arc<str>) {
        self.request.set(Some(Arc::clone(request_id)));
        self.interruptions = 0;
        self.computed = Duration::ZERO;
    }

    /// Counts an interruption by a tick of the engine's clock. Returns what the instance has to wait
    /// for before it goes on, if it has to.
    pub fn interrupted(&mut self) -> Option<Turn> {
        self.interruptions = self.interruptions.saturating_add(1);
        self.computed = self.computed.saturating_add(turns::lasted());
        let place = self.plugin.place.as_ref()?;
        place.interrupted(self.interruptions, self.computed)
    }

    /// The name of the plugin that it is an instance of.
    pub fn plugin_name(&self) -> &str {
        &self.plugin.name
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
