//! A plugin: its component linked and ready, its roles, its instances.

mod engine;
mod load;
mod pool;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol::lock::OnceCell;
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use zlayer_bundle::VerifiedArtifact;

pub use engine::{Ticker, Working, new_engine};
pub use pool::Running;
pub use status::{About, Instances, State};

use crate::capability::{Capabilities, Capability};
use crate::config::{Limits, Timeouts};
use crate::error::{Error, Result};
use crate::failure::{Failure, REASON_BYTES};
use crate::host::{self, HostState, PluginHost, handler, plugin_metadata};
use crate::memory::{Budget, Reservation};
use crate::redact::cut;
use pool::{Idle, Places};

/// Memory that an instance may take beside its linear memory: its stack (`bundle/src/engine.rs`),
/// tables, handles and buffers.
const INSTANCE_SHARE: usize = 1 << 20;
/// Bytes that a plugin may hand to the host in one call, on top of [`Limits::body`].
const CALL_SHARE: usize = 256 << 10;
/// Bytes that every plugin may hand over in one call, whatever the limits: what is too large for the
/// store or the log is refused or cut by them, which a trap would forestall. It is there for the moment
/// of the call; values that wait for the disk are charged to the budget.
const CALL_BYTES: usize = 4 << 20;
/// Growth of its linear memory that every instance is sure of: allocators take it in small steps,
/// and one refused step is a trap.
const GROWTH_SHARE: usize = 512 << 10;
/// Bytes of a body that its connection's share covers: small bodies pass whatever large ones take.
const SMALL_BODY: usize = 16 << 10;
/// Handles that an instance may hold at a time.
const HANDLES: usize = 4096;
/// Bytes of a plugin's id and name, and of other words of its own, that are shown.
pub const SHOWN_BYTES: usize = 128;
/// After a failed `init` no new instance is tried for this long: a broken plugin must not keep
/// the device busy.
const INIT_PAUSE: Duration = Duration::from_secs(1);

/// One plugin, ready to answer.
pub struct Plugin {
    host: Arc<PluginHost>,
    linked: InstancePre<HostState>,
    /// The `handler` role, if the component exports it.
    typed: Option<Role<handler::GuestIndices, TypedInstance>>,
    /// The `wasi:http/incoming-handler` role, if the component exports it.
    http: Option<Role<ProxyIndices, HttpInstance>>,
    /// Memory that an instance takes beside its linear memory, in bytes. A typed call also
    /// leaves its answer in the host.
    share: usize,
    /// Memory that each instance is sure of, in bytes: what it starts with, and room to grow.
    memory: usize,
    /// What the bodies of requests to typed plugins may take together, and those of their answers.
    /// It is set aside, so that uploads, answers and instances cannot lock each other out.
    uploads: Arc<Budget>,
    answers: Arc<Budget>,
    bodies_share: Option<Reservation>,
    places: Places,
    budget: Arc<Budget>,
    limits: Limits,
    ticker: Ticker,
    broken: Mutex<Option<Broken>>,
    /// What `init` and `info` said of it, once an instance was made.
    about: OnceCell<About>,
}

/// That the last `init` failed.
struct Broken {
    when: Instant,
    reason: String,
    /// Another instance has answered well since: the plugin as a whole has not failed.
    outlived: bool,
}

struct Role<Indices, Instance> {
    indices: Indices,
    idle: Idle<Instance>,
}

/// An instance of the `handler` role; `init` has succeeded.
pub struct TypedInstance {
    /// The instance's world.
    pub store: Store<HostState>,
    /// The role's functions.
    pub guest: handler::Guest,
}

/// An instance of the `wasi:http` role.
pub struct HttpInstance {
    /// The instance's world.
    pub store: Store<HostState>,
    /// The role's functions.
    pub proxy: Proxy,
    /// Requests that it has begun.
    pub served: u32,
}

impl Plugin {
    /// Maps and links a verified artifact.
    pub fn load(
        engine: &Engine,
        artifact: &VerifiedArtifact,
        host: PluginHost,
        limits: &Limits,
        timeouts: &Timeouts,
        budget: &Arc<Budget>,
    ) -> Result<Plugin> {
        let name = host.name.clone();
        let patience = timeouts.request / 2;
        Plugin::link(engine, artifact, host, limits, patience, budget).map_err(|error| {
            Error::Plugin {
                name,
                reason: format!("{error:#}"),
            }
        })
    }

    fn link(
        engine: &Engine,
        artifact: &VerifiedArtifact,
        host: PluginHost,
        limits: &Limits,
        patience: Duration,
        budget: &Arc<Budget>,
    ) -> wasmtime::Result<Plugin> {
        let component = load::load(engine, artifact)?;
        let mut linker = Linker::new(engine);
        host::add_to_linker(&mut linker)?;
        let linked = linker.instantiate_pre(&component)?;
        let typed = handler::GuestIndices::new(&linked).ok();
        let http = ProxyIndices::new(&linked).ok();
        wasmtime::ensure!(
            typed.is_some() || http.is_some(),
            "it exports neither zlayer:plugin/handler@0.1.0 nor wasi:http/incoming-handler@0.2, and this version serves no other role"
        );
        let memory = usize::try_from(artifact.manifest().memory_initial).unwrap_or(usize::MAX);
        let memory = memory.saturating_add(GROWTH_SHARE);
        let share = if typed.is_some() {
            (INSTANCE_SHARE + CALL_SHARE).saturating_add(limits.body)
        } else {
            INSTANCE_SHARE
        };
        let each = memory.saturating_add(share);
        let free = budget.limit().saturating_sub(budget.used());
        let bodies = match typed {
            Some(_) => (free / 4).max(limits.body.saturating_mul(2)),
            None => 0,
        };
        let fitting = free.saturating_sub(bodies) / each;
        wasmtime::ensure!(
            fitting > 0,
            "one instance and its bodies need {} KiB, and --memory-max {} KiB leaves {} KiB for them",
            each.saturating_add(bodies) >> 10,
            budget.limit() >> 10,
            free >> 10
        );
        let instances = limits.instances.min(fitting);
        Ok(Plugin {
            host: Arc::new(host),
            linked,
            typed: typed.map(|indices| Role {
                indices,
                idle: Idle::default(),
            }),
            http: http.map(|indices| Role {
                indices,
                idle: Idle::default(),
            }),
            share,
            memory,
            bodies_share: budget.reserve(bodies),
            uploads: Budget::new(bodies / 2),
            answers: Budget::new(bodies / 2),
            places: Places::new(instances, patience),
            budget: Arc::clone(budget),
            limits: limits.clone(),
            ticker: Ticker::new(engine),
            broken: Mutex::new(None),
            about: OnceCell::new(),
        })
    }

    /// The plugin's name, from its manifest.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// Whether it plays the `handler` role.
    pub fn is_typed(&self) -> bool {
        self.typed.is_some()
    }

    /// Whether it plays the `wasi:http/incoming-handler` role.
    pub fn is_http(&self) -> bool {
        self.http.is_some()
    }

    /// The sizes that bound it.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Keeps the engine's clock ticking while the answer is dropped.
    pub fn working(&self) -> Working {
        self.ticker.work()
    }

    /// Charges a request's body that grows from `old` to `new` bytes to what is set aside for them.
    pub fn reserve_for_upload(
        &self,
        held: &mut Option<Reservation>,
        old: usize,
        new: usize,
    ) -> std::result::Result<(), Failure> {
        let more = new.saturating_sub(SMALL_BODY.max(old));
        if held.is_none() {
            *held = self.uploads.reserve(0);
        }
        match held.as_mut().map(|held| held.grow(more)) {
            Some(true) => Ok(()),
            _ => Err(Failure::no_memory_for_body()),
        }
    }

    /// Charges an answer's body to what is set aside for them.
    pub fn reserve_for_answer(&self, bytes: usize) -> std::result::Result<Reservation, Failure> {
        self.answers
            .reserve(bytes.saturating_sub(SMALL_BODY))
            .ok_or_else(Failure::no_memory_for_body)
    }

    /// An instance of the `handler` role: an idle one, else a new one. Waits for a free place.
    pub async fn typed_instance(&self) -> std::result::Result<Running<TypedInstance>, Failure> {
        let Some(role) = &self.typed else {
            return Err(Failure::PassThrough);
        };
        self.places.run(&role.idle, || self.new_typed(role)).await
    }

    /// An instance of the `wasi:http` role with requests left to serve. Waits for a free place.
    pub async fn http_instance(&self) -> std::result::Result<Running<HttpInstance>, Failure> {
        let Some(role) = &self.http else {
            return Err(Failure::PassThrough);
        };
        let mut running = self.places.run(&role.idle, || self.new_http(role)).await?;
        running.instance.served += 1;
        Ok(running)
    }

    /// Puts an instance back whose call ended well.
    pub fn keep_typed(&self, mut running: Running<TypedInstance>) {
        running.instance.store.data_mut().rest();
        if let Some(broken) = &mut *self.broken() {
            broken.outlived = true;
        }
        if let Some(role) = &self.typed {
            role.idle.put(running.instance);
        }
    }

    /// Puts an instance back whose call ended well, unless it has served its share.
    pub fn keep_http(&self, mut running: Running<HttpInstance>) {
        if let Some(role) = &self.http
            && running.instance.served < self.limits.reuse
        {
            running.instance.store.data_mut().rest();
            role.idle.put(running.instance);
        }
    }

    /// Drops every idle instance and tells how many there were: they go first when memory is short.
    pub fn evict_idle(&self) -> usize {
        self.typed.as_ref().map_or(0, |role| role.idle.clear())
            + self.http.as_ref().map_or(0, |role| role.idle.clear())
    }

    /// Makes the first instance of a typed plugin.
    pub async fn warm_up(&self) {
        if self.is_typed() {
            let _working = self.working();
            match self.typed_instance().await {
                Ok(running) => self.keep_typed(running),
                // `init` logged its own reason.
                Err(Failure::InitFailed(_)) => {}
                Err(failure) => log::error!("plugin {}: no first instance: {failure}", self.name()),
            }
        }
    }

    /// Calls `shutdown` on every idle instance of a typed plugin.
    pub async fn shut_down(&self) {
        let Some(role) = &self.typed else { return };
        let _working = self.working();
        while let Some(mut instance) = role.idle.take() {
            if let Err(error) = instance.guest.call_shutdown(&mut instance.store).await {
                log::warn!(
                    "plugin {}: shutdown failed: {}",
                    self.name(),
                    Failure::from_call(error, &instance.store)
                );
            }
        }
    }

    async fn new_http(
        &self,
        role: &Role<ProxyIndices, HttpInstance>,
    ) -> std::result::Result<HttpInstance, Failure> {
        let (mut store, instance) = self.instantiate().await?;
        let proxy = role
            .indices
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        Ok(HttpInstance {
            store,
            proxy,
            served: 0,
        })
    }

    async fn new_typed(
        &self,
        role: &Role<handler::GuestIndices, TypedInstance>,
    ) -> std::result::Result<TypedInstance, Failure> {
        if let Some(broken) = &*self.broken()
            && broken.when.elapsed() < INIT_PAUSE
        {
            return Err(Failure::InitFailed(broken.reason.clone()));
        }
        // Stands until `init` has ended: if a deadline drops this future, it has not.
        let verdict = Verdict {
            plugin: self,
            known: Known::Failed("it did not end in time".to_owned()),
        };
        let made = self.init_typed(role).await;
        verdict.pass(match &made {
            Ok(_) => Known::Succeeded,
            Err(Failure::InitFailed(reason)) => Known::Failed(reason.clone()),
            // It was not called, or had no memory.
            Err(_) => Known::Nothing,
        });
        made
    }

    fn broken(&self) -> MutexGuard<'_, Option<Broken>> {
        // It is replaced whole: it stands wherever a holder died.
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn init_typed(
        &self,
        role: &Role<handler::GuestIndices, TypedInstance>,
    ) -> std::result::Result<TypedInstance, Failure> {
        let (mut store, instance) = self.instantiate().await?;
        let guest = role
            .indices
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        let wanted = match guest.call_init(&mut store).await {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(error)) => return Err(Failure::InitFailed(init_error(&error))),
            // It may well succeed when there is memory again.
            Err(_) if store.data().limiter.refused().is_some() => {
                return Err(Failure::Busy("no memory for init".to_owned()));
            }
            Err(error) => {
                return Err(Failure::InitFailed(
                    Failure::from_call(error, &store).to_string(),
                ));
            }
        };
        let wanted = asked(wanted);
        let denied = wanted.without(self.host.grants.granted());
        if denied != Capabilities::NONE {
            return Err(Failure::InitFailed(format!(
                "capability-unavailable: it asks for {denied}, which is not granted"
            )));
        }
        let about = self.about.get_or_try_init(|| async {
            let info = guest.call_info(&mut store).await;
            let info = info.map_err(|error| Failure::from_call(error, &store))?;
            let about = About::new(&info, wanted);
            log::info!("plugin {}: {about}", self.name());
            Ok(about)
        });
        if let Err(failure) = about.await {
            let failure: Failure = failure;
            return Err(Failure::InitFailed(format!("info: {failure}")));
        }
        Ok(TypedInstance { store, guest })
    }

    /// A new store with all its bounds, and an instance in it.
    async fn instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, wasmtime::component::Instance), Failure> {
        let made = self.try_instantiate().await;
        match made {
            // Room that idle instances hold is given to those who have work.
            Err(Failure::OutOfMemory(_) | Failure::Busy(_)) if self.evict_idle() > 0 => {
                self.try_instantiate().await
            }
            made => made,
        }
    }

    async fn try_instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, wasmtime::component::Instance), Failure> {
        let Some(reservation) = self.budget.reserve(self.share + self.memory) else {
            return Err(Failure::Busy("the memory budget is spent".to_owned()));
        };
        let state = HostState::new(
            Arc::clone(&self.host),
            reservation,
            self.memory,
            self.budget.limit(),
            self.share.saturating_sub(INSTANCE_SHARE),
        );
        let mut store = Store::new(self.linked.engine(), state);
        store.limiter(|state| &mut state.limiter);
        // Each tick the guest yields, so that others are polled and its own deadline is looked at.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let call = self.limits.body.saturating_add(CALL_SHARE);
        store.set_hostcall_fuel(call.max(CALL_BYTES));
        store.set_max_component_handles(HANDLES);
        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok((store, instance)),
            Err(error) if store.data().limiter.refused().is_some() => Err(Failure::Busy(format!(
                "no memory for an instance: {error:#}"
            ))),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Failure::Busy(format!("{error:#}")))
            }
            Err(error) => Err(Failure::from_call(error, &store)),
        }
    }
}

/// Tells the plugin how its `init` ended, when this is dropped.
struct Verdict<'a> {
    plugin: &'a Plugin,
    known: Known,
}

/// What is known of an `init`.
enum Known {
    Nothing,
    Succeeded,
    Failed(String),
}

impl Verdict<'_> {
    fn pass(mut self, known: Known) {
        self.known = known;
    }
}

impl Drop for Verdict<'_> {
    fn drop(&mut self) {
        let broken = match std::mem::replace(&mut self.known, Known::Nothing) {
            Known::Nothing => return,
            Known::Succeeded => None,
            Known::Failed(reason) => {
                log::error!("plugin {}: init failed: {reason}", self.plugin.name());
                Some(Broken {
                    when: Instant::now(),
                    reason,
                    outlived: false,
                })
            }
        };
        *self.plugin.broken() = broken;
    }
}

fn init_error(error: &handler::InitError) -> String {
    let (case, what) = match error {
        handler::InitError::ConfigMissing(what) => ("config-missing", what),
        handler::InitError::ConfigInvalid(what) => ("config-invalid", what),
        handler::InitError::CapabilityUnavailable(what) => ("capability-unavailable", what),
        handler::InitError::Failed(what) => ("failed", what),
    };
    format!("{case}: {}", cut(what, REASON_BYTES))
}

/// The contract's flags as a set of ours.
fn asked(flags: plugin_metadata::Capabilities) -> Capabilities {
    use plugin_metadata::Capabilities as Flags;
    let pairs = [
        (Flags::CONFIG, Capability::Config),
        (Flags::KEYVALUE, Capability::Keyvalue),
        (Flags::LOGGING, Capability::Logging),
        (Flags::SECRETS, Capability::Secrets),
        (Flags::METRICS, Capability::Metrics),
        (Flags::HTTP_CLIENT, Capability::HttpClient),
    ];
    pairs
        .into_iter()
        .filter(|(flag, _)| flags & *flag == *flag)
        .fold(Capabilities::NONE, |set, (_, one)| set.with(one))
}
