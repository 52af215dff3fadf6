//! The engine: the settings shared with the compiler, the allocator, and the clock that interrupts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};
use zlayer_bundle::{Profile, Target};

use crate::config::{Limits, PluginSettings};
use crate::error::{Error, Result};

/// How often running guests are made to yield. A deadline is seen within one of these.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without any guest at work after which the ticker sleeps until there is one.
const IDLE_TICKS: u32 = 100;

/// How the reason of a failed mapping ends where there is too little room: ENOMEM, by the same number
/// on every Linux.
const NO_MEMORY: &str = "(os error 12)";

/// Builds the engine for this device, with room for the instances of these plugins in a budget of
/// `memory` bytes. Where the device
/// has not that much address space, it says so in their settings.
pub fn new_engine(
    target: Target,
    profile: Profile,
    memory: usize,
    limits: &Limits,
    plugins: &mut [&mut PluginSettings],
) -> Result<Engine> {
    let built = zlayer_bundle::engine_config(target, profile)
        .map_err(|error| error.to_string())
        .and_then(|mut config| {
            if cfg!(target_pointer_width = "64") {
                config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool(
                    target, profile, memory, limits, plugins,
                )));
            }
            Engine::new(&config).map_err(|error| format!("{error:#}"))
        });
    built.map_err(|reason| {
        let what = match reason.contains(NO_MEMORY) {
            true => {
                "cannot set the engine up: instances set aside more address space than this process may \
                 have; choose fewer --max-instances or a larger `ulimit -v`"
            }
            false => "cannot set the engine up",
        };
        Error::device(what, std::io::Error::other(reason))
    })
}

/// Slots for as many instances as may run. They are address space, not memory: pages come with use
/// and go with the instance. On 32 bits there is none to spare, so instances are allocated one by one there.
fn pool(
    target: Target,
    profile: Profile,
    memory: usize,
    limits: &Limits,
    plugins: &mut [&mut PluginSettings],
) -> wasmtime::PoolingAllocationConfig {
    /// Modules in a component: one with a memory and a few small ones around it, or dozens where an
    /// interpreter and its libraries are linked together.
    const MODULES: u32 = 128;
    const MEMORIES: u32 = 4;
    const TABLES: u32 = 16;
    /// Room for 2,000 functions that are called indirectly.
    const TABLE_BYTES: usize = 16 << 10;
    /// Address space for linear memories: boards have 512 GiB of it (39 bits), some less free.
    const ADDRESSES: u64 = 128 << 30;
    let memory = memory.min(usize::try_from(profile.memory_limit(target)).unwrap_or(usize::MAX));
    let affordable = ADDRESSES / u64::from(MEMORIES) / memory.max(1) as u64;
    let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
    let instances = shared_out(affordable.max(limits.instances), limits.instances, plugins);
    let instances = u32::try_from(instances)
        .unwrap_or(u32::MAX / MODULES)
        .min(u32::MAX / MODULES);
    let mut pool = wasmtime::PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(MODULES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(MODULES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(memory)
        // Small tables are cleared in place: giving their pages back costs a system call and a
        // flush of every core's TLB for each instance.
        .table_keep_resident(TABLE_BYTES)
        // Stale pages after swapping: wasmtime pull request 14357.
        .pagemap_scan(wasmtime::Enabled::No);
    pool
}

/// Counts the instances of all plugins, `usual` for each that says nothing. Where they are more than
/// `most`, none gets more than its share: what one has running must not keep another from its first.
fn shared_out(most: usize, usual: usize, plugins: &mut [&mut PluginSettings]) -> usize {
    let share = (most / plugins.len().max(1)).max(1);
    let wanted = |plugin: &PluginSettings| plugin.instances.unwrap_or(usual);
    let sum = |plugins: &[&mut PluginSettings]| {
        let all = plugins.iter().map(|plugin| wanted(plugin));
        all.fold(0, usize::saturating_add)
    };
    if sum(plugins) > most {
        for plugin in &mut *plugins {
            plugin.instances = Some(wanted(plugin).min(share));
        }
    }
    sum(plugins)
}

/// Moves the engine's epoch on while guests work, from one thread that starts with the first of
/// them and sleeps while there is none.
#[derive(Clone)]
pub struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    engine: EngineWeak,
    working: AtomicUsize,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A guest at work; the epoch moves while this lives.
pub struct Working {
    shared: Arc<Shared>,
}

impl Ticker {
    /// A ticker for `engine`; its thread ends with the engine.
    pub fn new(engine: &Engine) -> Ticker {
        Ticker {
            shared: Arc::new(Shared {
                engine: engine.weak(),
                working: AtomicUsize::new(0),
                asleep: AtomicBool::new(false),
                thread: OnceLock::new(),
            }),
        }
    }

    /// Counts one guest in.
    pub fn work(&self) -> Working {
        let shared = Arc::clone(&self.shared);
        shared.working.fetch_add(1, Ordering::SeqCst);
        let thread = shared.thread.get_or_init(|| start(&self.shared));
        // Sequentially consistent with the ticker's own store and load, so that one of the two sees the other.
        if shared.asleep.load(Ordering::SeqCst) {
            thread.unpark();
        }
        Working { shared }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.shared.working.fetch_sub(1, Ordering::SeqCst);
    }
}

fn start(shared: &Arc<Shared>) -> Thread {
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("epoch".to_owned())
        .stack_size(64 << 10)
        .spawn(move || tick(&shared));
    match spawned {
        Ok(handle) => handle.thread().clone(),
        Err(error) => {
            // Without it no spinning guest could be stopped: better not to run any.
            log::error!("cannot start the thread that interrupts plugins: {error}");
            std::process::exit(crate::error::EXIT_DEVICE.into());
        }
    }
}

fn tick(shared: &Shared) {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        let Some(engine) = shared.engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        drop(engine);
        idle = if shared.working.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
        if idle >= IDLE_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            while shared.working.load(Ordering::SeqCst) == 0 {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_shared_out() {
        let shared = |most, wanted: &[Option<usize>]| {
            let mut settings: Vec<_> = wanted
                .iter()
                .map(|&instances| PluginSettings {
                    instances,
                    ..PluginSettings::default()
                })
                .collect();
            let mut plugins: Vec<_> = settings.iter_mut().collect();
            let sum = shared_out(most, 32, &mut plugins);
            let given: Vec<_> = settings.iter().map(|one| one.instances).collect();
            (sum, given)
        };
        // One may have more than is usual.
        assert_eq!(shared(512, &[Some(100)]), (100, vec![Some(100)]));
        assert_eq!(
            shared(512, &[Some(100), None]),
            (132, vec![Some(100), None])
        );
        // Nobody's instances take the last place of another.
        assert_eq!(
            shared(40, &[Some(100), None, Some(1)]),
            (27, vec![Some(13), Some(13), Some(1)])
        );
        assert_eq!(shared(2, &[None; 3]), (3, vec![Some(1); 3]));
        let endless = [Some(usize::MAX); 2];
        assert_eq!(shared(8, &endless), (8, vec![Some(4); 2]));
    }
}
