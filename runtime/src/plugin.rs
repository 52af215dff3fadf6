//! A plugin: its component linked and ready, its roles, its instances.

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
use wasmtime::{Engine, Store};
use zlayer_bundle::{Role, VerifiedArtifact};

pub use engine::{Ticker, Working, new_engine, share_out};
pub use pool::{Running, Spare};
pub use roles::Guests;
pub use status::{About, Instances, PluginState};

use crate::capability::{Capabilities, Capability};
use crate::config::{Limits, Timeouts};
use crate::error::{Error, Result};
use crate::failure::{Failure, REASON_BYTES};
use crate::host::{self, HostState, PluginHost, handler, plugin_metadata};
use crate::memory::{Budget, Standing};
use crate::redact::cut;
use crate::sync;
use failed::{from_call, is_too_much};
use pool::{Idle, Places};
use roles::Roles;

/// Memory that an instance may take beside its linear memory: its stack (`bundle/src/engine.rs`),
/// tables, handles and buffers.
const INSTANCE_SHARE: usize = 1 << 20;
/// Bytes that a plugin may hand to the host in one call, on top of [`Limits::body`].
const CALL_SHARE: usize = 256 << 10;
/// Bytes that every plugin may hand over in one call, whatever the limits: what is too large for
/// the store or the log is refused or cut by them, which a trap would forestall. It is there for
/// the moment of the call; values that wait for the disk are charged to the budget.
const CALL_BYTES: usize = 4 << 20;
/// Growth of its linear memory that every instance is sure of: allocators take it in small steps,
/// and one refused step is a trap.
const GROWTH_SHARE: usize = 512 << 10;
/// Handles that an instance may hold at a time.
const HANDLES: usize = 4096;
/// Bytes of a plugin's id and name, and of other words of its own, that are shown.
pub const SHOWN_BYTES: usize = 128;
/// After a failed `init` no new instance is tried for this long: a broken plugin must not keep
/// the device busy.
const INIT_PAUSE: Duration = Duration::from_secs(1);

/// One plugin, ready to take part.
pub struct Plugin {
    host: Arc<PluginHost>,
    version: String,
    linked: InstancePre<HostState>,
    roles: Roles,
    idle: Arc<Idle>,
    /// Memory that an instance takes beside its linear memory, in bytes. A call also leaves its
    /// result in the host.
    share: usize,
    /// Memory that each instance is sure of, in bytes: what it starts with, and room to grow.
    memory: usize,
    /// The memory of one instance, set aside: whatever other plugins take, this one can go on, so
    /// that a request which needs several of them cannot be stuck between two.
    standing: Arc<Standing>,
    places: Places,
    budget: Arc<Budget>,
    spare: Arc<Spare>,
    /// Requests that an instance serves which only answers `wasi:http`.
    reuse: u32,
    /// See [`Limits::body`].
    body_max: usize,
    ticker: Ticker,
    broken: Mutex<Option<Broken>>,
    /// What `init` and `info` said of it, once an instance was made.
    about: OnceCell<About>,
}

/// What a daemon's plugins share.
pub struct Common<'a> {
    /// The engine that they run in.
    pub engine: &'a Engine,
    /// What interrupts them.
    pub ticker: &'a Ticker,
    /// Where idle instances are found when memory is short.
    pub spare: &'a Arc<Spare>,
    /// The one memory budget.
    pub budget: &'a Arc<Budget>,
    /// Sizes and counts.
    pub limits: &'a Limits,
    /// Durations.
    pub timeouts: &'a Timeouts,
}

/// That the last `init` failed.
struct Broken {
    when: Instant,
    reason: String,
    /// Another instance has worked since then, so the plugin as a whole has not failed.
    outlived: bool,
}

/// One instance, in all its roles; where it is a `handler`, `init` has succeeded.
pub struct Instance {
    store: Store<HostState>,
    guests: Guests,
    /// Requests that it has begun.
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
        Plugin::link(artifact, host, instances, reuse, common).map_err(|error| Error::Plugin {
            name,
            reason: format!("{error:#}"),
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
        let component = load::load(common.engine, artifact)?;
        let mut linker = Linker::new(common.engine);
        host::add_to_linker(&mut linker)?;
        let linked = linker.instantiate_pre(&component)?;
        let roles = Roles::of(&linked);
        wasmtime::ensure!(
            roles.any(),
            "it exports no interface of zlayer:plugin@0.1.0 and no wasi:http/incoming-handler@0.2: there is nothing that it could do"
        );
        let memory = usize::try_from(artifact.manifest().memory_initial).unwrap_or(usize::MAX);
        let memory = memory.saturating_add(GROWTH_SHARE);
        let answer = match roles.has(Role::WebSocket) {
            true => limits.body.max(limits.websocket_message),
            false => limits.body,
        };
        let share = match roles.is_stateful() {
            true if roles.returns_bodies() => (INSTANCE_SHARE + CALL_SHARE).saturating_add(answer),
            true => INSTANCE_SHARE + CALL_SHARE,
            false => INSTANCE_SHARE,
        };
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
        let instances = instances.min(fitting);
        // Its own responses stream past it on their way back.
        let returns = roles.has(Role::HttpHandler) && roles.sees_responses();
        wasmtime::ensure!(
            instances > 1 || !returns,
            "it answers as wasi:http and takes part on the way back: a request may need two instances of it at a time, and there can be {instances}; raise max-instances or --memory-max"
        );
        let idle = Arc::new(Idle::default());
        common.spare.add(&idle);
        Ok(Plugin {
            host: Arc::new(host),
            version: artifact.manifest().version.clone(),
            linked,
            roles,
            idle,
            share,
            memory,
            standing: Standing::new(standing),
            places: Places::new(instances, returns, common.timeouts.request / 2),
            budget: Arc::clone(budget),
            spare: Arc::clone(common.spare),
            reuse,
            body_max: limits.body,
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

    /// Whether it plays `role`.
    pub fn plays(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// What it can do, in the contract's order.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| self.plays(*role))
    }

    /// Keeps the engine's clock ticking until the result is dropped.
    pub fn working(&self) -> Working {
        self.ticker.work()
    }

    /// An instance to work on the request with this id: an idle one, else a new one. Waits for a
    /// free place.
    pub async fn instance(&self, request: &Arc<str>) -> std::result::Result<Running, Failure> {
        self.begin(request, false).await
    }

    /// The same for work that may go on until the response has been read.
    pub async fn streaming_instance(
        &self,
        request: &Arc<str>,
    ) -> std::result::Result<Running, Failure> {
        self.begin(request, true).await
    }

    async fn begin(
        &self,
        request: &Arc<str>,
        streams: bool,
    ) -> std::result::Result<Running, Failure> {
        let mut running = self.places.run(self, streams).await?;
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
            Ok(answer) => {
                self.keep(running.instance);
                Ok(answer)
            }
            // A wasi:http plugin hands nothing over but to the host's own functions.
            Err(error) if self.roles.is_stateful() && is_too_much(&error) => {
                Err(Failure::handed_over_too_much(self.body_max))
            }
            Err(error) => Err(from_call(error, &running.instance.store)),
        }
    }

    fn keep(&self, mut instance: Instance) {
        if let Some(broken) = &mut *self.broken() {
            broken.outlived = true;
        }
        // A plugin that only exports wasi:http gets a fresh instance for each request, or after as
        // many as the deployment says.
        if self.roles.is_stateful() || instance.served < self.reuse {
            instance.store.data_mut().end_request();
            self.idle.put(instance);
        }
    }

    /// Makes the first instance of a plugin that has an `init`.
    pub async fn warm_up(&self) {
        if self.plays(Role::Handler) {
            let _working = self.working();
            match self.places.run(self, false).await {
                Ok(running) => self.keep(running.instance),
                // `init` logged its own reason.
                Err(Failure::InitFailed(_)) => {}
                Err(failure) => log::error!("plugin {}: no first instance: {failure}", self.name()),
            }
        }
    }

    /// Calls `shutdown` on every idle instance of a plugin that has one.
    pub async fn shut_down(&self) {
        let _working = self.working();
        while let Some(mut instance) = self.idle.take() {
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
        // Stands until `init` has ended: if a deadline drops this future, it has not.
        let verdict = Verdict {
            plugin: self,
            known: Known::Failed("it did not end in time".to_owned()),
        };
        let made = self.init_handler().await;
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
            // It may well succeed when there is memory again.
            Err(_) if store.data().limiter.is_busy() => {
                return Err(Failure::Busy("no memory for init".to_owned()));
            }
            Err(error) => {
                return Err(Failure::InitFailed(from_call(error, &store).to_string()));
            }
        };
        let wanted = asked(wanted);
        let denied = wanted.without(self.host.gate.granted());
        if denied != Capabilities::NONE {
            return Err(Failure::InitFailed(format!(
                "capability-unavailable: it asks for {denied}, which is not granted"
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

    /// A new store with all its bounds, and an instance in it.
    async fn instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, wasmtime::component::Instance), Failure> {
        let made = self.try_instantiate().await;
        match made {
            // Room that idle instances hold is given to those who have work.
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
            return Err(Failure::Busy("the memory budget is spent".to_owned()));
        };
        // With the instance's standing share, where no other instance has that.
        let most = self.budget.attainable() + self.standing.bytes();
        let state = HostState::new(
            Arc::clone(&self.host),
            reservation,
            self.memory,
            most.saturating_sub(self.share).min(self.budget.limit()),
            self.share.saturating_sub(INSTANCE_SHARE),
        );
        let mut store = Store::new(self.linked.engine(), state);
        store.limiter(|state| &mut state.limiter);
        // Each tick the guest yields, so that others are polled and its own deadline is looked at.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let call = self.body_max.saturating_add(CALL_SHARE);
        let call = call.max(self.share.saturating_sub(INSTANCE_SHARE));
        store.set_hostcall_fuel(call.max(CALL_BYTES));
        store.set_max_component_handles(HANDLES);
        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok((store, instance)),
            Err(error) if store.data().limiter.is_busy() => Err(Failure::Busy(format!(
                "no memory for an instance: {error:#}"
            ))),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Failure::Busy(format!("{error:#}")))
            }
            Err(error) => Err(from_call(error, &store)),
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
