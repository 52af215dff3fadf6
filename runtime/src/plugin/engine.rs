//! The engine: the settings shared with the compiler, the allocator, and the clock that interrupts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::{Engine, EngineWeak};
use zlayer_bundle::{
    CORE_INSTANCES_MAX, INSTANCE_BYTES_MAX, INSTANCE_SHARE, MEMORIES_MAX, Profile,
    TABLE_ELEMENTS_MAX, TABLES_MAX, Target, least_memory,
};

use super::trace::DESCRIBED;
use crate::error::{Error, Result};
use crate::turns::{TICK, Turns};

/// After how long without any guest at work the ticker goes to sleep until there is one.
const IDLE: Duration = Duration::from_secs(1);

/// How the text of a failed mapping ends when address space is short: ENOMEM, which has this number
/// on every Linux.
const NO_MEMORY: &str = "(os error 12)";

/// Builds the engine for this device, with room for so many instances of all plugins together, each
/// with at most the daemon's `memory`, in bytes.
pub fn new_engine(
    target: Target,
    profile: Profile,
    memory: usize,
    instances: usize,
) -> Result<Engine> {
    let built = zlayer_bundle::engine_config(target, profile)
        .map_err(|error| error.to_string())
        .and_then(|mut config| {
            if cfg!(target_pointer_width = "64") {
                config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool(
                    largest_memory(target, profile, memory),
                    instances,
                )));
            }
            // Only where a trap was, and which functions led there, is asked for: see `trace`.
            config.wasm_backtrace_max_frames(Some(DESCRIBED));
            Engine::new(&config).map_err(|error| format!("{error:#}"))
        });
    built.map_err(|reason| {
        let what = match reason.contains(NO_MEMORY) {
            true => {
                "cannot set the engine up: instances set aside more address space than this process may \
                 have; choose fewer instances (`wasm.max_instances`, `scale`, --max-instances) or a larger `ulimit -v`"
            }
            false => "cannot set the engine up",
        };
        Error::device(what, std::io::Error::other(reason))
    })
}

/// Slots for as many instances as may run. They are address space, not memory: pages come with use
/// and go with the instance. On 32 bits there is none to spare, so instances are allocated one by
/// one there.
fn pool(memory: usize, instances: usize) -> wasmtime::PoolingAllocationConfig {
    /// Room for 2,000 functions that are called indirectly.
    const TABLE_BYTES: usize = 16 << 10;
    let instances = u32::try_from(instances)
        .unwrap_or(u32::MAX / CORE_INSTANCES_MAX)
        .min(u32::MAX / CORE_INSTANCES_MAX);
    let mut pool = wasmtime::PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(instances.saturating_mul(MEMORIES_MAX))
        .total_tables(instances.saturating_mul(TABLES_MAX))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        // A module may have all that its component may have.
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memory_size(memory)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        // Small tables are cleared in place: giving their pages back costs a system call and a
        // flush of every core's TLB for each instance.
        .table_keep_resident(TABLE_BYTES)
        // Stale pages after swapping: wasmtime pull request 14357.
        .pagemap_scan(wasmtime::Enabled::No);
    pool
}

/// How many places for instances an engine needs whose plugins nobody knows yet: as many as a budget of
/// `memory` bytes has room for of the smallest. Each of the `threads` may have given an instance's memory
/// back and not its place yet, of whichever plugin.
pub fn places_for_any(
    target: Target,
    profile: Profile,
    memory: usize,
    usual: usize,
    threads: usize,
) -> usize {
    let smallest = least_memory(0).saturating_add(INSTANCE_SHARE);
    let fitting = (memory / smallest).saturating_add(threads.saturating_mul(2));
    // One deployment takes the place of another while both are at work.
    fitting.min(affordable(target, profile, memory, usual).saturating_mul(2))
}

/// How many instances of each plugin this device has room for, where `wanted` are asked for. The
/// daemon's `memory` is in bytes; a single plugin gets as many as are `usual` in any case.
pub fn share_out(
    target: Target,
    profile: Profile,
    memory: usize,
    usual: usize,
    wanted: &[usize],
) -> Vec<usize> {
    // Without the pool that `new_engine` sets up, nothing is set aside for them.
    if cfg!(not(target_pointer_width = "64")) {
        return wanted.to_vec();
    }
    shared_out(affordable(target, profile, memory, usual), wanted)
}

/// How many instances there is address space for.
fn affordable(target: Target, profile: Profile, memory: usize, usual: usize) -> usize {
    /// Address space for linear memories: boards have 512 GiB of it (39 bits), some less free.
    const ADDRESSES: u64 = 128 << 30;
    let memory = largest_memory(target, profile, memory);
    let affordable = ADDRESSES / u64::from(MEMORIES_MAX) / memory.max(1) as u64;
    usize::try_from(affordable).unwrap_or(usize::MAX).max(usual)
}

/// Gives each plugin what it wants. Where these are more than `most` together, none gets more than
/// its share: what one has running must not keep another from its first.
fn shared_out(most: usize, wanted: &[usize]) -> Vec<usize> {
    let share = (most / wanted.len().max(1)).max(1);
    let all = wanted.iter().copied().fold(0, usize::saturating_add);
    let given = wanted.iter().map(|&wanted| match all > most {
        true => wanted.min(share),
        false => wanted,
    });
    given.collect()
}

/// Bytes that one linear memory may reach.
fn largest_memory(target: Target, profile: Profile, memory: usize) -> usize {
    memory.min(usize::try_from(profile.memory_limit(target)).unwrap_or(usize::MAX))
}

/// Moves the engine's epoch on while guests work, which makes them yield, and with it whose turn it
/// is. Does so from one thread that starts with the first of them and sleeps while there is none.
#[derive(Clone)]
pub struct Ticker {
    shared: Arc<TickerState>,
}

struct TickerState {
    engine: EngineWeak,
    turns: Arc<Turns>,
    working: AtomicUsize,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Stands for a guest at work: the engine's epoch moves on while this lives.
pub struct Working {
    shared: Arc<TickerState>,
}

impl Ticker {
    /// A ticker for `engine`, whose guests run on so many `threads`; its own thread ends with the
    /// engine.
    pub fn new(engine: &Engine, threads: usize) -> Ticker {
        Ticker {
            shared: Arc::new(TickerState {
                engine: engine.weak(),
                turns: Turns::new(threads),
                working: AtomicUsize::new(0),
                asleep: AtomicBool::new(false),
                thread: OnceLock::new(),
            }),
        }
    }

    /// Whose turn it is.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.shared.turns
    }

    /// Counts a guest as being at work until the result is dropped.
    pub fn work(&self) -> Working {
        let shared = Arc::clone(&self.shared);
        shared.working.fetch_add(1, Ordering::SeqCst);
        let thread = shared.thread.get_or_init(|| spawn_ticker(&self.shared));
        // Sequentially consistent with the ticker's own store and load, so that at least one of the
        // two sees the other's change.
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

fn spawn_ticker(shared: &Arc<TickerState>) -> Thread {
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("epoch".to_owned())
        .stack_size(64 << 10)
        .spawn(move || tick(&shared));
    match spawned {
        Ok(handle) => handle.thread().clone(),
        Err(error) => {
            // Without this thread no guest that loops forever could be stopped, so it is better not
            // to run any.
            log::error!("cannot start the thread that interrupts plugins: {error}");
            std::process::exit(crate::error::EXIT_DEVICE.into());
        }
    }
}

fn tick(shared: &TickerState) {
    shared.turns.tick_from(thread::current());
    let (mut pause, mut worked) = (TICK, Instant::now());
    loop {
        // Cut short where somebody begins to wait for a turn, and then ticks are shorter.
        thread::park_timeout(pause);
        let Some(engine) = shared.engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        drop(engine);
        pause = shared.turns.tick();
        if shared.working.load(Ordering::SeqCst) > 0 {
            worked = Instant::now();
        } else if worked.elapsed() >= IDLE {
            shared.asleep.store(true, Ordering::SeqCst);
            while shared.working.load(Ordering::SeqCst) == 0 {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            (pause, worked) = (TICK, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_shared_out() {
        // One may have more than is usual.
        assert_eq!(shared_out(512, &[100]), [100]);
        assert_eq!(shared_out(512, &[100, 32]), [100, 32]);
        // Nobody's instances take the last place of another.
        assert_eq!(shared_out(40, &[100, 32, 1]), [13, 13, 1]);
        assert_eq!(shared_out(2, &[32; 3]), [1; 3]);
        assert_eq!(shared_out(8, &[usize::MAX; 2]), [4; 2]);
    }
}
