//! The engine's settings, built in one place for the compiler and the device.
//!
//! The engine writes its settings into every artifact and refuses one whose settings
//! differ from its own. What a build enables by default depends on its Cargo features,
//! so every setting that is compared is given here by name and nothing is left to a
//! default. Settings that concern the compiler alone (processor, optimisation level)
//! are the compiling side's business and are not compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Inlining, WasmBacktraceDetails, WasmFeatures};

use crate::Target;

/// The engine release that both sides link. An artifact loads in no other one.
pub const ENGINE_VERSION: &str = "48.0.8";

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

/// A named set of memory settings. Artifact and device must have the same one.
///
/// The order of the variants is part of the artifact format: new ones go to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 256 MiB of address space for each linear memory, and explicit bounds checks.
    /// Fits kernels with a 39-bit address space, as on most ARM boards. The default.
    #[default]
    Compact,
    /// 4 GiB of address space for each linear memory, so that the processor's memory
    /// protection does the bounds checks: 1.2 to 1.8 times faster in tight loops.
    /// Only for 64-bit targets with address space to spare.
    Wide,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 2] = [Profile::Compact, Profile::Wide];

    /// The name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Compact => "compact",
            Profile::Wide => "wide",
        }
    }

    /// The largest linear memory, in bytes, that a plugin can have on `target`.
    pub fn memory_limit(self, target: Target) -> u64 {
        match (self, target) {
            // Interpreted memories may move, so only the 32-bit address space bounds them.
            (_, Target::Armv7) => 1 << 32,
            (Profile::Compact, _) => COMPACT_RESERVATION,
            (Profile::Wide, _) => WIDE_RESERVATION,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// Address space for one linear memory under [`Profile::Compact`], in bytes. It is also
/// the largest a memory can grow, since compiled code relies on memories staying in place.
const COMPACT_RESERVATION: u64 = 256 << 20;

/// Unmapped space behind a memory under [`Profile::Compact`], in bytes. An access whose
/// constant offset is smaller than this shares a bounds check with its neighbours.
const COMPACT_GUARD: u64 = 2 << 20;

/// Address space for one linear memory under [`Profile::Wide`], in bytes: all that a
/// 32-bit index can name, so that no index needs a check.
const WIDE_RESERVATION: u64 = 4 << 30;

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
        (Target::Armv7, Profile::Compact) => {
            // The interpreter checks every access itself: neither signals nor guard pages
            // help it, and moving a memory costs it nothing.
            config
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(INTERPRETED_GROWTH)
                .memory_may_move(true)
                .signals_based_traps(false);
        }
        (Target::Armv7, Profile::Wide) => return Err(UnsupportedProfile { target, profile }),
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

/// A profile that a target has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedProfile {
    /// The target that was asked for.
    pub target: Target,
    /// The profile that it cannot have.
    pub profile: Profile,
}

impl fmt::Display for UnsupportedProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "profile {} needs a 64-bit target and {} is not one: use profile {}",
            self.profile,
            self.target,
            Profile::Compact
        )
    }
}

impl std::error::Error for UnsupportedProfile {}

/// A name that is no [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProfile(pub String);

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Profile::ALL.map(Profile::name).join(", ");
        write!(
            f,
            "unknown profile `{}`: the profiles are {known}",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for UnknownProfile {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
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
    fn every_pair_has_settings_but_a_wide_32_bit_one() {
        for target in Target::ALL {
            for profile in Profile::ALL {
                let wide_armv7 = target == Target::Armv7 && profile == Profile::Wide;
                assert_eq!(engine_config(target, profile).is_err(), wide_armv7);
            }
        }
        let error = engine_config(Target::Armv7, Profile::Wide)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("armv7") && error.contains("use profile compact"),
            "{error}"
        );
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

    #[test]
    fn names_are_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "huge".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("compact, wide"), "{error}");
    }
}
