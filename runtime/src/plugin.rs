//! A plugin: its component, linked and ready to run, its roles, and its instances.

mod denied;
mod description;
mod engine;
mod failed;
mod load;
mod pool;
mod roles;
mod status;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use smol::lock::OnceCell;
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};
use zlayer_bundle::{Bodies, Role, VerifiedArtifact};

pub use engine::{Ticker, Working, new_engine, share_out};
pub use pool::{Running, Spare};
pub use roles::Guests;
pub use status::{About, Instances, PluginState};

use crate::capability::{Capabilities, Capability};
use crate::config::{Limits, Timeouts};
use crate::error::{Error, Result};
use crate::failure::{Failure, REASON_BYTES};
use crate::host::{self, HostState, PluginHost, handler, plugin_metadata};
use crate::memory::{Budget, Reservation, Standing};
use crate::redact::cut;
use crate::sync;
use description::{Description, process_bytes};
use failed::{from_call, is_too_much};
use pool::{Idle, Places};
use roles::Roles;

/// Bytes of memory that an instance may take beside its linear memory: its stack
/// (`bundle/src/engine.rs`), and its part of what the host keeps for it (`host/held.rs`).
const INSTANCE_SHARE: usize = 1 << 20;
/// How many bytes a plugin may hand to the host in one call, on top of [`Limits::body`].
const CALL_SHARE: usize = 256 << 10;
/// How many bytes every plugin may hand to the host in one call, whatever the limits. The store and
/// the log refuse or cut what is too large for them, but they can only do so if it reaches them;
/// with a lower limit it would be a trap. The memory is in use for the moment of the call only, so
/// for each thread once; short texts take more than twice as much (docs/device.md, "Memory").
/// Values that wait for the disk are charged to the budget.
const CALL_BYTES: usize = 4 << 20;
/// Bytes by which every instance can be sure to grow its linear memory: allocators take it in small
/// steps, and one step that is refused is a trap.
const GROWTH_SHARE: usize = 512 << 10;
/// Bytes that the host may keep for an instance between two requests. One that keeps more is not
/// kept itself: its plugin forgets to drop what it is done with, as plugins in languages with a
/// garbage collector do, and would come to an end sooner or later.
const KEPT_BYTES: usize = 1 << 20;
/// How many bytes are shown of a plugin's id, its name, and other texts that it chooses.
pub const SHOWN_BYTES: usize = 128;
/// After a failed `init` no new instance is tried for this long: a broken plugin must not keep
/// the device busy.
const INIT_PAUSE: Duration = Duration::from_secs(1);

/// One plugin, ready to take requests.
pub struct Plugin {
    host: Arc<PluginHost>,
    version: String,
    bodies: Option<Bodies>,
    linked: InstancePre<HostState>,
    roles: Roles,
    idle: Arc<Idle>,
    /// Memory that an instance takes beside its linear memory, in bytes. A call also leaves its
    /// result in the host.
    share: usize,
    /// The part of it for what its calls leave in the host.
    call_share: usize,
    /// For what the engine keeps of its code.
    description: Reservation,
    /// Bytes of linear memory that each instance is sure of: what it starts with, and room to grow.
    memory: usize,
    /// The memory of one instance, set aside: whatever other plugins take, this one can go on, so
    /// that a request which needs several of them cannot be stuck between two.
    standing: Arc<Standing>,
    places: Places,
    /// How many instances it may have at work, had the memory room for them.
    wanted: usize,
    budget: Arc<Budget>,
    spare: Arc<Spare>,
    /// How many requests an instance serves if the plugin only exports `wasi:http`.
    reuse: u32,
    /// See [`Limits::body`].
    body_max: usize,
    /// See [`Limits::handles`].
    handles: usize,
    ticker: Ticker,
    broken: Mutex<Option<Broken>>,
    /// What `init` and `info` said of the plugin. Set once an instance was made.
    about: OnceCell<About>,
}

/// What all plugins of a daemon share.
pub struct Common<'a> {
    /// The engine that they run in.
    pub engine: &'a Engine,
    /// The ticker that makes them yield.
    pub ticker: &'a Ticker,
    /// The idle instances of all plugins, which are dropped when memory is short.
    pub spare: &'a Arc<Spare>,
    /// The one memory budget.
    pub budget: &'a Arc<Budget>,
    /// Limits of sizes and counts.
    pub limits: &'a Limits,
    /// How long each phase may take.
    pub timeouts: &'a Timeouts,
}

/// When and why the last `init` failed.
struct Broken {
    when: Instant,
    reason: String,
    /// Another instance has worked since then, so the plugin as a whole has not failed.
    outlived: bool,
}

/// One instance, with its functions for all roles. If the plugin is a `handler`, `init` has
/// succeeded.
pub struct Instance {
    store: Store<HostState>,
    guests: Guests,
    /// How many requests the instance has begun.
    served: u32,
}

impl Plugin {
    /// Maps and links a verified artifact. At most `instances` of it run at the same time, fewer
    /// where memory has no room for them; for `reuse` see [`crate::config::Pooling::reuse`].
    pub fn load(
        artifact: &VerifiedArtifact,
        host: PluginHost,
        instances: usize,
        reuse: u32,
        common: &Common<'_>,
    ) -> Result<Plugin> {
        let name = host.name.clone();
        Plugin::link(artifact, host, instances, reuse, common).map_err(|error| {
            let reason = format!("{error:#}");
            denied::by_device(&reason, artifact).unwrap_or(Error::Plugin { name, reason })
        })
    }

    fn link(
        artifact: &VerifiedArtifact,
        host: PluginHost,
        instances: usize,
        reuse: u32,
        common: &Common<'_>,
    ) -> wasmtime::Result<Plugin> {
        let Common { budget, limits, .. } = *common;
        wasmtime::ensure!(
            std::path::Path::new("/proc/self/fd").is_dir(),
            "files are mapped by way of /proc, which is not mounted: mount it"
        );
        let description = Description::of(artifact.file());
        // Before it is loaded, so that nothing is that cannot fit.
        let held = budget.reserve(description.least());
        let mut held = held.ok_or_else(|| too_little(description.least(), budget))?;
        let before = process_bytes();
        let component = load::load(common.engine, artifact)?;
        let mut linker = Linker::new(common.engine);
        host::add_to_linker(&mut linker)?;
        let linked = linker.instantiate_pre(&component)?;
        let mut roles = Roles::of(&linked);
        let bytes = description.loaded(before);
        wasmtime::ensure!(
            held.grow(bytes.saturating_sub(held.bytes())),
            too_little(bytes, budget)
        );
        wasmtime::ensure!(
            roles.any(),
            "it exports no interface of zlayer:plugin@0.1.0 and no wasi:http/incoming-handler@0.2: there is nothing that it could do"
        );
        roles.keep(&host.granted.roles);
        let memory = usize::try_from(artifact.manifest().memory_initial).unwrap_or(usize::MAX);
        let memory = memory.saturating_add(GROWTH_SHARE);
        let response = match roles.has(Role::WebSocket) {
            true => limits.body.max(limits.websocket_message),
            false => limits.body,
        };
        let call_share = match roles.is_stateful() {
            true if roles.returns_bodies() => CALL_SHARE.saturating_add(response),
            true => CALL_SHARE,
            false => 0,
        };
        let share = INSTANCE_SHARE
            .saturating_add(call_share)
            .saturating_add(description.instance());
        let each = memory.saturating_add(share);
        let Some(standing) = budget.reserve(each) else {
            wasmtime::bail!(
                "one instance needs {} KiB, and --memory-max {} KiB leaves {} KiB for it",
                each >> 10,
                budget.limit() >> 10,
                budget.limit().saturating_sub(budget.used()) >> 10
            );
        };
        let fitting = 1 + budget.limit().saturating_sub(budget.used()) / each;
        let wanted = instances;
        let instances = instances.min(fitting);
        // Its own responses stream past it on their way back.
        let returns = roles.has(Role::HttpHandler) && roles.sees_responses();
        wasmtime::ensure!(
            instances > 1 || !returns,
            "it exports wasi:http/incoming-handler and takes part in responses: a request may need two instances of it at a time, and there can be {instances}; raise max-instances or --memory-max"
        );
        let idle = Arc::new(Idle::default());
        let places = Places::new(instances, returns, common.timeouts.request / 2);
        common.spare.add(&idle, &places);
        let host = host.at_place(common.ticker.turns().join());
        Ok(Plugin {
            host: Arc::new(host),
            version: artifact.manifest().version.clone(),
            bodies: artifact.manifest().bodies,
            linked,
            roles,
            idle,
            share,
            call_share,
            memory,
            description: held,
            standing: Standing::new(standing),
            places,
            wanted,
            budget: Arc::clone(budget),
            spare: Arc::clone(common.spare),
            reuse,
            body_max: limits.body,
            handles: limits.handles,
            ticker: common.ticker.clone(),
            broken: Mutex::new(None),
            about: OnceCell::new(),
        })
    }

    /// The plugin's name, from its manifest; the second of the same name has `-2` behind it.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// Its version, from its manifest.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Which bodies its transformer takes, where its manifest says so.
    pub fn bodies(&self) -> Option<Bodies> {
        self.bodies
    }

    /// Whether the plugin has `role`.
    pub fn plays(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// The plugin's roles, in the contract's order.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| self.plays(*role))
    }

    /// Keeps the engine's clock ticking until the result is dropped.
    pub fn working(&self) -> Working {
        self.ticker.work()
    }

    /// Takes an instance to work on the request with this id: an idle one, or else a new one. Waits
    /// for a free place.
    pub async fn instance(&self, request: &Arc<str>) -> std::result::Result<Running, Failure> {
        self.checkout(request, false).await
    }

    /// The same for work that may go on until the response has been read.
    pub async fn streaming_instance(
        &self,
        request: &Arc<str>,
    ) -> std::result::Result<Running, Failure> {
        self.checkout(request, true).await
    }

    async fn checkout(
        &self,
        request: &Arc<str>,
        streams: bool,
    ) -> std::result::Result<Running, Failure> {
        let mut running = self.places.acquire(self, streams).await?;
        running.instance.served += 1;
        running.instance.store.data_mut().work_on(request);
        Ok(running)
    }

    /// Ends the work of an instance: one whose call ended well is kept for the next request, any
    /// other is dropped.
    pub fn finish<T>(
        &self,
        running: Running,
        called: wasmtime::Result<T>,
    ) -> std::result::Result<T, Failure> {
        match called {
            Ok(value) => {
                self.return_to_pool(running.instance);
                Ok(value)
            }
            // Only typed plugins can hand over too much as a result; in a wasi:http plugin this
            // error comes from a host function, and is a trap like any other.
            Err(error) if self.roles.is_stateful() && is_too_much(&error) => {
                Err(Failure::handed_over_too_much(self.body_max))
            }
            Err(error) => Err(from_call(error, &running.instance.store)),
        }
    }

    fn return_to_pool(&self, mut instance: Instance) {
        if let Some(broken) = &mut *self.broken() {
            broken.outlived = true;
        }
        // A plugin that only exports wasi:http gets a fresh instance for each request, or after as
        // many as the deployment says.
        if self.roles.is_stateful() || instance.served < self.reuse {
            let state = instance.store.data_mut();
            state.end_request();
            let held = state.limiter.held();
            if held <= KEPT_BYTES && !state.has_many_handles() {
                self.idle.push(instance);
                return;
            }
            // It may be so with every request.
            let message = format!(
                "an instance ends after {} requests, because the host keeps {} KiB for it that it has \
                 not dropped (handles, header fields)",
                instance.served,
                held >> 10
            );
            self.host.tell_once(("instance", ""), None, &message);
        }
    }

    /// Makes the first instance of a plugin that has an `init`.
    pub async fn warm_up(&self) {
        if self.plays(Role::Handler) {
            let _working = self.working();
            match self.places.acquire(self, false).await {
                Ok(running) => self.return_to_pool(running.instance),
                // `init` logged its own reason.
                Err(Failure::InitFailed(_)) => {}
                Err(failure) => log::error!("plugin {}: no first instance: {failure}", self.name()),
            }
        }
    }

    /// Calls `shutdown` on every idle instance of a plugin that has one.
    pub async fn shut_down(&self) {
        let _working = self.working();
        while let Some(mut instance) = self.idle.pop() {
            let Instance { store, guests, .. } = &mut instance;
            let Some(guest) = &guests.handler else { return };
            if let Err(error) = guest.call_shutdown(&mut *store).await {
                log::warn!(
                    "plugin {}: shutdown failed: {}",
                    self.name(),
                    from_call(error, store)
                );
            }
        }
    }

    /// Makes an instance; where it is a `handler`, it is initialised.
    async fn new_instance(&self) -> std::result::Result<Instance, Failure> {
        if self.plays(Role::Handler) {
            return self.new_handler().await;
        }
        let (mut store, instance) = self.instantiate().await?;
        let guests = self
            .roles
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        Ok(Instance {
            store,
            guests,
            served: 0,
        })
    }

    async fn new_handler(&self) -> std::result::Result<Instance, Failure> {
        if let Some(broken) = &*self.broken()
            && broken.when.elapsed() < INIT_PAUSE
        {
            return Err(Failure::InitFailed(broken.reason.clone()));
        }
        // This is recorded if a timeout drops this future before `init` has ended.
        let record = InitRecord {
            plugin: self,
            result: InitResult::Failed("it did not end in time".to_owned()),
        };
        let made = self.init_handler().await;
        record.finish(match &made {
            Ok(_) => InitResult::Succeeded,
            Err(Failure::InitFailed(reason)) => InitResult::Failed(reason.clone()),
            // `init` was not called, or had no memory: that says nothing about the plugin.
            Err(_) => InitResult::Unknown,
        });
        made
    }

    fn broken(&self) -> MutexGuard<'_, Option<Broken>> {
        // The value is only ever replaced as a whole, so it is valid even if a thread panicked
        // while it held the lock.
        sync::lock(&self.broken)
    }

    async fn init_handler(&self) -> std::result::Result<Instance, Failure> {
        let (mut store, instance) = self.instantiate().await?;
        let guests = self
            .roles
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        let Some(guest) = &guests.handler else {
            return Err(Failure::PassThrough);
        };
        let wanted = match guest.call_init(&mut store).await {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(error)) => return Err(Failure::InitFailed(init_error(&error))),
            // `init` may succeed when there is memory again.
            Err(_) if store.data().limiter.is_busy() => {
                return Err(Failure::Busy(
                    "no memory for init (--memory-max)".to_owned(),
                ));
            }
            Err(error) => {
                return Err(Failure::InitFailed(from_call(error, &store).to_string()));
            }
        };
        let wanted = from_flags(wanted);
        let denied = wanted.without(self.host.granted.capabilities);
        if denied != Capabilities::NONE {
            let why = self.host.granted.beyond(wanted).join("; ");
            return Err(Failure::InitFailed(format!(
                "capability-unavailable: it asks for {denied}, which is not granted ({why})"
            )));
        }
        let about = self.about.get_or_try_init(|| async {
            let info = guest.call_info(&mut store).await;
            let info = info.map_err(|error| from_call(error, &store))?;
            let about = About::new(&info, wanted);
            log::info!("plugin {}: {about}", self.name());
            Ok(about)
        });
        if let Err(failure) = about.await {
            let failure: Failure = failure;
            return Err(Failure::InitFailed(format!("info: {failure}")));
        }
        Ok(Instance {
            store,
            guests,
            served: 0,
        })
    }

    /// Makes a new store with all its limits, and an instance in it.
    async fn instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, wasmtime::component::Instance), Failure> {
        let made = self.try_instantiate().await;
        match made {
            // Memory that idle instances hold is freed for an instance that has work.
            Err(Failure::OutOfMemory(_) | Failure::Busy(_)) if self.spare.evict() > 0 => {
                self.try_instantiate().await
            }
            made => made,
        }
    }

    async fn try_instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, wasmtime::component::Instance), Failure> {
        let standing = self.standing.lend();
        let Some(reservation) = standing.or_else(|| self.budget.reserve(self.share + self.memory))
        else {
            return Err(Failure::Busy(
                "the memory budget is spent (--memory-max)".to_owned(),
            ));
        };
        // All that could be had, with the memory that is set aside for one instance of this plugin.
        let most = self.budget.attainable() + self.standing.bytes();
        let state = HostState::new(
            Arc::clone(&self.host),
            reservation,
            self.memory,
            most.saturating_sub(self.share).min(self.budget.limit()),
            self.call_share,
            self.handles,
        );
        let mut store = Store::new(self.linked.engine(), state);
        store.limiter(|state| &mut state.limiter);
        // The guest yields at each tick, so that other tasks are polled and its own deadline is
        // checked. If it computes for long it waits until it is its plugin's turn.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().interrupted() {
                Some(turn) => UpdateDeadline::YieldCustom(1, Box::pin(turn)),
                None => UpdateDeadline::Yield(1),
            })
        });
        let call = self.body_max.saturating_add(CALL_SHARE);
        let call = call.max(self.call_share);
        store.set_hostcall_fuel(call.max(CALL_BYTES));
        store.set_max_component_handles(self.handles);
        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok((store, instance)),
            Err(error) if store.data().limiter.is_busy() => Err(Failure::Busy(format!(
                "no memory for an instance (--memory-max): {error:#}"
            ))),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Failure::Busy(format!("(--max-instances) {error:#}")))
            }
            Err(error) => Err(from_call(error, &store)),
        }
    }
}

/// There is too little memory for the description of a plugin's code.
fn too_little(bytes: usize, budget: &Budget) -> wasmtime::Error {
    wasmtime::format_err!(
        "the engine's description of its code takes {} KiB, and --memory-max {} KiB leaves {} KiB for it",
        bytes >> 10,
        budget.limit() >> 10,
        budget.limit().saturating_sub(budget.used()) >> 10
    )
}

/// Records in the plugin how its `init` ended, when this is dropped.
struct InitRecord<'a> {
    plugin: &'a Plugin,
    result: InitResult,
}

/// How an `init` ended.
enum InitResult {
    Unknown,
    Succeeded,
    Failed(String),
}

impl InitRecord<'_> {
    fn finish(mut self, result: InitResult) {
        self.result = result;
    }
}

impl Drop for InitRecord<'_> {
    fn drop(&mut self) {
        let broken = match std::mem::replace(&mut self.result, InitResult::Unknown) {
            InitResult::Unknown => return,
            InitResult::Succeeded => None,
            InitResult::Failed(reason) => {
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

/// Converts the contract's flags to a set of capabilities.
fn from_flags(flags: plugin_metadata::Capabilities) -> Capabilities {
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
