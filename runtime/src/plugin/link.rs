//! How a plugin comes to be: its code loaded and linked, and what its instances need set aside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use smol::lock::OnceCell;
use wasmtime::Engine;
use wasmtime::component::Linker;
use zlayer_bundle::{ByteSize, INSTANCE_SHARE, Role, VerifiedArtifact, call_share, least_memory};

use super::description::Description;
use super::idle::Idle;
use super::instance_memory::{Evict, InstanceMemory, Spared};
use super::pool::Places;
use super::roles::Roles;
use super::{Plugin, Ticker, denied, load};
use crate::config::{Limits, Pooling, Timeouts};
use crate::error::{Error, Result};
use crate::host::{self, PluginHost};
use crate::memory::{Budget, Reservation, Standing};
use crate::sync;

/// How many plugins were loaded in this process.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// What all plugins of a daemon share.
pub struct Common<'a> {
    /// The engine that they run in.
    pub engine: &'a Engine,
    /// The ticker that makes them yield.
    pub ticker: &'a Ticker,
    /// The memory of their instances.
    pub instance_memory: &'a Arc<InstanceMemory>,
    /// The one memory budget.
    pub budget: &'a Arc<Budget>,
    /// Limits of sizes and counts.
    pub limits: &'a Limits,
    /// How long each phase may take.
    pub timeouts: &'a Timeouts,
    /// Bytes of the budget that others use who will be gone: the plugins before, and what works for them.
    pub before: usize,
    /// What was gathered of the budget for them, and is not taken yet.
    pub gathered: Mutex<Option<Reservation>>,
}

impl Common<'_> {
    /// Bytes that the budget has left for these plugins.
    pub fn room(&self) -> usize {
        let gathered = sync::lock(&self.gathered);
        let gathered = gathered.as_ref().map_or(0, Reservation::bytes);
        let used = { self.budget.used() }.saturating_sub(self.before + gathered);
        self.budget.limit().saturating_sub(used)
    }

    /// Reserves `bytes`, first of what was gathered. Where that fails, what was gathered stays so, for whoever asks for
    /// less.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        match &mut *sync::lock(&self.gathered) {
            Some(gathered) => gathered.draw(bytes),
            None => self.budget.reserve(bytes),
        }
    }
}

/// What one instance has set aside.
struct Shares {
    /// For its memories.
    memory: usize,
    /// For what its calls leave in the host.
    call: usize,
    /// For all but its memories.
    beside: usize,
}

impl Shares {
    fn of(
        artifact: &VerifiedArtifact,
        description: Description,
        played: &[Role],
        limits: &Limits,
    ) -> Shares {
        let call = call_share(played, limits.body, limits.websocket_message);
        Shares {
            memory: least_memory(artifact.manifest().memory_initial),
            call,
            beside: INSTANCE_SHARE
                .saturating_add(call)
                .saturating_add(description.instance()),
        }
    }

    fn each(&self) -> usize {
        self.memory.saturating_add(self.beside)
    }
}

impl Plugin {
    /// Bytes of the budget that loading an artifact takes at the most, which plays these roles.
    pub fn needed(artifact: &VerifiedArtifact, roles: &[Role], limits: &Limits) -> usize {
        let description = Description::of(artifact);
        let each = Shares::of(artifact, description, roles, limits).each();
        description.ahead().saturating_add(each)
    }

    /// Maps and links a verified artifact. At most `instances` of it run at the same time, fewer
    /// where memory has no room for them, whatever `pooling` says of that.
    pub fn load(
        artifact: &VerifiedArtifact,
        host: PluginHost,
        instances: usize,
        pooling: Pooling,
        common: &Common<'_>,
    ) -> Result<Plugin> {
        let name = host.name.clone();
        Plugin::link(artifact, host, instances, pooling, common).map_err(|error| {
            let reason = format!("{error:#}");
            denied::by_device(&reason, artifact).unwrap_or(Error::Plugin { name, reason })
        })
    }

    fn link(
        artifact: &VerifiedArtifact,
        host: PluginHost,
        instances: usize,
        pooling: Pooling,
        common: &Common<'_>,
    ) -> wasmtime::Result<Plugin> {
        let Common { budget, limits, .. } = *common;
        wasmtime::ensure!(
            std::path::Path::new("/proc/self/fd").is_dir(),
            "files are mapped by way of /proc, which is not mounted: mount it"
        );
        let description = Description::of(artifact);
        // Before it is loaded, so that nothing is that cannot fit.
        let held = common.reserve(description.ahead());
        let mut held = held.ok_or_else(|| too_little(description.ahead(), budget))?;
        let before = description.before();
        let component = load::load(common.engine, artifact)?;
        let mut linker = Linker::new(common.engine);
        host::add_to_linker(&mut linker, &artifact.manifest().imports)?;
        let linked = linker.instantiate_pre(&component)?;
        let mut roles = Roles::of(&linked);
        let bytes = description.loaded(before);
        wasmtime::ensure!(
            held.grow(bytes.saturating_sub(held.bytes())),
            too_little(bytes, budget)
        );
        held.shrink(held.bytes().saturating_sub(bytes));
        wasmtime::ensure!(
            roles.any(),
            "it exports no interface of zlayer:plugin@0.1.0 and no wasi:http/incoming-handler@0.2: there is nothing that it could do"
        );
        roles.keep(&host.granted.roles);
        let initial = artifact.manifest().memory_initial;
        if let Some(reason) = pooling.max_memory.and_then(|most| too_small(most, initial)) {
            wasmtime::bail!(reason);
        }
        let played: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|role| roles.has(*role))
            .collect();
        let shares = Shares::of(artifact, description, &played, limits);
        let each = shares.each();
        let Some(standing) = common.reserve(each) else {
            wasmtime::bail!(
                "one instance needs {} KiB, and --memory-max {} KiB leaves {} KiB for it",
                each >> 10,
                budget.limit() >> 10,
                budget.limit().saturating_sub(budget.used()) >> 10
            );
        };
        let fitting = 1 + common.room() / each;
        let wanted = instances;
        let instances = instances.min(fitting);
        // Its own responses stream past it on their way back.
        let returns = roles.has(Role::HttpHandler) && roles.sees_responses();
        wasmtime::ensure!(
            instances > 1 || !returns,
            "it exports wasi:http/incoming-handler and takes part in responses: a request may need two instances of it at a time, and there can be {instances}; raise max-instances or --memory-max"
        );
        let idle = Arc::new(Idle::new(pooling.min_instances));
        // A fresh instance for each request leaves none to keep.
        let kept = match roles.is_stateful() || pooling.reuse > 1 {
            true => pooling.min_instances.min(instances),
            false => 0,
        };
        let patience = common.timeouts.request / 2;
        let places = Places::new(instances, returns, patience, (kept, &idle));
        let evicted = Arc::downgrade(&idle);
        let evict: Arc<Evict> = Arc::new(move |spared| {
            let idle: Option<Arc<Idle>> = evicted.upgrade();
            idle.map_or(0, |idle| match spared {
                Spared::Warmest => idle.thin_out(),
                Spared::Costless => idle.give_up(|instance| instance.returns() > 0),
            })
        });
        common.instance_memory.add(&evict);
        let host = host.at_place(common.ticker.turns().join());
        Ok(Plugin {
            host: Arc::new(host),
            version: artifact.manifest().version.clone(),
            digest: artifact.manifest().digest_text(),
            number: LOADED.fetch_add(1, Ordering::Relaxed),
            bodies: artifact.manifest().bodies,
            linked,
            roles,
            idle,
            share: shares.beside,
            call_share: shares.call,
            memory: shares.memory,
            description: held,
            standing: Standing::new(standing),
            places,
            wanted,
            budget: Arc::clone(budget),
            instance_memory: Arc::clone(common.instance_memory),
            _evict: evict,
            pooling,
            body_max: limits.body,
            handles: limits.handles,
            ticker: common.ticker.clone(),
            health: None,
            broken: Mutex::new(None),
            about: OnceCell::new(),
        })
    }
}

/// Why memories that begin with `initial` bytes do not do with `most`, if they do not.
fn too_small(most: usize, initial: u64) -> Option<String> {
    let (most, initial) = (ByteSize(most as u64), ByteSize(initial));
    (most < initial).then(|| {
        format!(
            "its memories begin with {initial}, and wasm.max_memory allows {most}: raise it to {initial} at least"
        )
    })
}

/// How many places for instances an engine needs whose plugins are to have so many, each with the bytes
/// that its memories begin with. There are never more than a budget of `memory` bytes has room for, and
/// each place costs a start a system call. Each of the `threads` may have given an instance's memory back
/// and not its place yet.
pub fn places(memory: usize, threads: usize, plugins: impl Iterator<Item = (usize, u64)>) -> usize {
    let places = plugins.map(|(instances, initial)| {
        let most = memory / least_memory(initial).saturating_add(INSTANCE_SHARE);
        instances.min(most.max(1).saturating_add(threads))
    });
    places.fold(0, usize::saturating_add)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_that_begin_with_more_than_the_plugin_may_have_are_refused() {
        assert_eq!(too_small(1 << 20, 1 << 20), None);
        assert_eq!(
            too_small(64 << 10, (1 << 20) + (64 << 10)).as_deref(),
            Some(
                "its memories begin with 1088Ki, and wasm.max_memory allows 64Ki: raise it to 1088Ki at least"
            )
        );
    }

    #[test]
    fn an_engine_has_places_for_what_the_memory_has_room_for() {
        let places = |memory: usize, plugins: &[(usize, u64)]| {
            places(memory << 20, 2, plugins.iter().copied())
        };
        // An instance that begins with half a mebibyte takes two.
        assert_eq!(places(12, &[(32, 512 << 10)]), 8);
        assert_eq!(places(12, &[(4, 512 << 10)]), 4);
        assert_eq!(places(64, &[(32, 512 << 10), (100, 512 << 10)]), 32 + 34);
        // One that has no room will be told so where it is loaded.
        assert_eq!(places(12, &[(32, u64::MAX)]), 3);
    }
}
