//! A plugin: its component, linked and ready to run, its roles, and its instances.

mod call_time;
mod denied;
mod description;
mod engine;
mod failed;
mod health;
mod idle;
mod init;
mod instance_memory;
mod instantiate;
mod keeping;
mod link;
mod load;
mod minimum;
mod pool;
mod roles;
mod status;
mod trace;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use smol::lock::OnceCell;
use wasmtime::component::InstancePre;
use zlayer_bundle::{Bodies, Role};

pub use engine::{Ticker, Working, new_engine, places_for_any, share_out};
pub use health::{Health, HealthState};
use instance_memory::Evict;
pub use instance_memory::InstanceMemory;
pub use instantiate::Instance;
pub use link::{Common, places};
pub use pool::Running;
pub use roles::Guests;
pub use status::{About, Instances, PluginState};

use crate::config::Pooling;
use crate::failure::Failure;
use crate::host::{HostState, PluginHost};
use crate::memory::{Budget, Reservation, Standing};
use failed::{from_call, has_returned_too_much};
use idle::Idle;
use init::Broken;
use pool::Places;
use roles::Roles;

/// Bytes that the host may keep for an instance between two requests. One that keeps more is not
/// kept itself: its plugin forgets to drop what it is done with, as plugins in languages with a
/// garbage collector do, and would come to an end sooner or later.
const KEPT_BYTES: usize = 1 << 20;
/// How many bytes are shown of a plugin's id, its name, and other texts that it chooses.
pub const SHOWN_BYTES: usize = 128;

/// One plugin, ready to take requests.
pub struct Plugin {
    host: Arc<PluginHost>,
    version: String,
    digest: String,
    /// Which of those that were loaded in this process it is.
    number: u64,
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
    instance_memory: Arc<InstanceMemory>,
    /// Gives the memory of its idle instances back, where others need it.
    _evict: Arc<Evict>,
    /// How its instances are kept.
    pooling: Pooling,
    /// See [`Limits::body`].
    body_max: usize,
    /// See [`Limits::handles`].
    handles: usize,
    ticker: Ticker,
    health: Option<Health>,
    broken: Mutex<Option<Broken>>,
    /// What `init` and `info` said of the plugin. Set once an instance was made.
    about: OnceCell<About>,
}

impl Plugin {
    /// The plugin's name, from its manifest; the second of the same name has `-2` behind it.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// Tells it from all others that were loaded in this process, those of its name too.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its version, from its manifest.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The digest of its code, from its manifest: what a trust list may revoke, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
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
            // An answer of a typed plugin that is too long is no trap.
            Err(error) if has_returned_too_much(&error) => {
                let most = running.instance.store.hostcall_fuel();
                Err(Failure::handed_over_too_much(self.body_max, most))
            }
            Err(error) => Err(from_call(error, &running.instance.store)),
        }
    }

    /// Whether instances are kept for another request.
    fn keeps_instances(&self) -> bool {
        self.roles.is_stateful() || self.pooling.reuse > 1
    }

    fn return_to_pool(&self, mut instance: Instance) {
        if let Some(broken) = &mut *self.broken() {
            broken.outlived = true;
        }
        // A plugin that only exports wasi:http gets a fresh instance for each request, or after as
        // many as the deployment says.
        if self.roles.is_stateful() || instance.served < self.pooling.reuse {
            let state = instance.store.data_mut();
            state.end_request();
            let held = state.limiter.held();
            // Who gathers memory waits for what nobody works with.
            if self.budget.is_gathering() && instance.returns() > 0 {
                return;
            }
            let state = instance.store.data();
            if held <= KEPT_BYTES && !state.has_many_handles() {
                self.idle.push(instance, Instant::now());
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

    /// Tells that a request failed in an instance which had served `before` others: some languages keep
    /// of one request what no second one can do with.
    pub fn tell_of_reuse(&self, request: &str, before: u32) {
        let message = format!(
            "a request failed in an instance that had served {before} before it; where this happens to no first \
             request, the plugin wants a fresh instance for each: leave --reuse at 1"
        );
        self.host.tell_once(("reuse", ""), Some(request), &message);
    }
}
