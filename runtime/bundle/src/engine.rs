//! The engine's settings, built in one place for the compiler and the device.
//!
//! The engine writes its settings into every artifact and refuses one whose settings
//! differ from its own. What a build enables by default depends on its Cargo features,
//! so every setting that is compared is given here by name and nothing is left to a
//! default. Settings that concern the compiler alone (processor, optimisation level)
//! are the compiling side's business and are not compared.

use wasmtime::{Config, Inlining, WasmBacktraceDetails, WasmFeatures};

use crate::profile::{COMPACT_RESERVATION, WIDE_RESERVATION};
use crate::{Profile, Target, UnsupportedProfile};

/// Stack for one plugin call, host functions included, in bytes. It is address space: pages
/// come with use. The engine's default of 2 MiB is a lot of it for a 32-bit board.
const ASYNC_STACK: usize = 768 << 10;

/// The part of [`ASYNC_STACK`] that wasm code may use, in bytes: the engine's default, since
/// plugins that hold a script interpreter recurse deeply. Interpreted (Pulley) code gets a
/// stack of this size from the heap for every store, whose pages come with use too.
const WASM_STACK: usize = 512 << 10;

/// The wasm features that a plugin may use.
///
/// What the device's build of the engine has, less what it would pay for without use:
/// no garbage collection (and so no exceptions or typed function references), no
/// threads, no stack switching, no component-model async, no 64-bit memories.
pub const WASM_FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

/// Unmapped space behind a memory under [`Profile::Compact`], in bytes. An access whose
/// constant offset is smaller than this shares a bounds check with its neighbours.
const COMPACT_GUARD: u64 = 2 << 20;

/// Unmapped space behind a memory under [`Profile::Wide`], in bytes. Larger than nearly
/// every constant offset that compilers emit, so that no offset needs a check either.
const WIDE_GUARD: u64 = 32 << 20;

/// Spare address space behind an interpreted memory, in bytes, to grow without a copy.
/// It is not compared and costs no memory until it is used.
const INTERPRETED_GROWTH: u64 = 4 << 20;

/// The settings for artifacts of `target` and `profile`, for compiling and for loading.
///
/// The compiling side adds the processor and what it optimises for. The device adds its
/// allocator. Neither may change anything that is set here.
///
/// # Errors
///
/// When the target has no room for the profile.
pub fn engine_config(target: Target, profile: Profile) -> Result<Config, UnsupportedProfile> {
    profile.check(target)?;
    let mut config = Config::new();

    // Interruption: epochs cost about 10 %, fuel two to three times as much code time.
    config.epoch_interruption(true).consume_fuel(false);

    config
        .async_stack_size(ASYNC_STACK)
        .max_wasm_stack(WASM_STACK);

    // Memory images are mapped copy-on-write from the artifact, and tables are filled on
    // first use: the least work and the fewest touched pages per instance.
    config
        .memory_init_cow(true)
        .table_lazy_init(true)
        .guard_before_linear_memory(false);

    match (target, profile) {
        (Target::Armv7, _) => {
            // The interpreter checks every access itself: neither signals nor guard pages
            // help it, and moving a memory costs it nothing.
            config
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(INTERPRETED_GROWTH)
                .memory_may_move(true)
                .signals_based_traps(false);
        }
        (Target::X86_64 | Target::Aarch64, Profile::Compact) => {
            // A memory that stays in place lets the compiler check an index against a
            // constant, and keep the base address in a register.
            config
                .memory_reservation(COMPACT_RESERVATION)
                .memory_guard_size(COMPACT_GUARD)
                .memory_reservation_for_growth(0)
                .memory_may_move(false)
                .signals_based_traps(true);
        }
        (Target::X86_64 | Target::Aarch64, Profile::Wide) => {
            config
                .memory_reservation(WIDE_RESERVATION)
                .memory_guard_size(WIDE_GUARD)
                .memory_reservation_for_growth(0)
                .memory_may_move(false)
                .signals_based_traps(true);
        }
    }

    // A device has no use for what only a debugger or a symbolised backtrace reads. The
    // backtrace setting would otherwise follow an environment variable.
    config
        .debug_info(false)
        .debug_symbols(false)
        .generate_address_map(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(None);

    // All off first: the set must not depend on the features of either build.
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(WASM_FEATURES, true);
    config
        .concurrency_support(false)
        .shared_memory(false)
        .relaxed_simd_deterministic(false)
        // Off in the engine by default. It is compared, so it is written down.
        .compiler_inlining(Inlining::No);
    Ok(config)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::ENGINE_VERSION;
    use wasmtime::Engine;

    /// The engine keeps no full version of its own that could be asked for, so the
    /// workspace's lock file is the witness.
    #[test]
    fn engine_version_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock
            .split_once("name = \"wasmtime\"\nversion = \"")
            .unwrap();
        assert_eq!(after.split('"').next(), Some(ENGINE_VERSION));
    }

    #[test]
    fn every_pair_that_there_is_has_settings() {
        for target in Target::ALL {
            for profile in Profile::ALL {
                let error = engine_config(target, profile).err();
                assert_eq!(error, profile.check(target).err());
            }
        }
    }

    /// An engine of this build, which has no compiler, so no target need be named.
    fn engine(target: Target, profile: Profile) -> Engine {
        Engine::new(&engine_config(target, profile).unwrap()).unwrap()
    }

    #[test]
    fn settings_follow_target_and_profile() {
        let compact = engine(Target::Aarch64, Profile::Compact);
        assert_eq!(compact.get_memory_reservation(), 256 << 20);
        assert!(compact.get_signals_based_traps() && !compact.get_memory_may_move());

        let wide = engine(Target::X86_64, Profile::Wide);
        assert_eq!(wide.get_memory_reservation(), 4 << 30);
        assert_eq!(wide.get_memory_guard_size(), 32 << 20);

        let armv7 = engine(Target::Armv7, Profile::Compact);
        assert_eq!(armv7.get_memory_reservation(), 0);
        assert!(!armv7.get_signals_based_traps() && armv7.get_memory_may_move());
    }

    #[test]
    fn features_are_the_named_ones_and_no_other() {
        for target in Target::ALL {
            assert_eq!(
                engine(target, Profile::Compact).get_wasm_features(),
                WASM_FEATURES
            );
        }
    }
}
