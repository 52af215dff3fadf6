//! Machine code from components: the only place that talks to the compiler.

use anyhow::{Result, anyhow, bail};
use wasmtime::{Engine, OptLevel};
use zlayer_bundle::{Profile, Target, engine_config};

use crate::{Problem, Refused};

/// Compiles a component for one target. The result is the engine's own artifact.
///
/// `cpu_flags` are processor features beyond the target's baseline, from
/// [`known_cpu_flags`]. The engine on the device looks for each of them in its processor
/// before it loads the code.
///
/// # Errors
///
/// [`Refused`] when the compiler refuses the component, and other errors when the settings
/// do not fit together.
pub fn compile_component(
    component: &[u8],
    target: Target,
    profile: Profile,
    cpu_flags: &[String],
) -> Result<Vec<u8>> {
    compile(component, target, profile, cpu_flags, Map::Dropped)
}

/// Whether the artifact holds the table that tells which place in WebAssembly each place in the code
/// comes from. It changes nothing of the code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    /// It does not: no device reads it.
    Dropped,
    /// It does, for this tool's own use.
    Kept,
}

pub(crate) fn compile(
    component: &[u8],
    target: Target,
    profile: Profile,
    cpu_flags: &[String],
    map: Map,
) -> Result<Vec<u8>> {
    let mut config = engine_config(target, profile)?;
    // Naming the target, the host's own too, keeps the compiler from using whatever the
    // build host's processor happens to have.
    config
        .target(target.engine_triple())
        .map_err(|error| anyhow!("the compiler does not know target {target}: {error}"))?;
    // Not compared with the device's settings, so they are set only here. Unwind tables serve
    // debuggers alone: the engine walks frame pointers.
    config
        .cranelift_opt_level(OPT_LEVEL)
        .native_unwind_info(false)
        .generate_address_map(map == Map::Kept);
    for flag in cpu_flags {
        if !known_cpu_flags(target).contains(&flag.as_str()) {
            let known = match known_cpu_flags(target) {
                [] => "none".to_owned(),
                flags => flags.join(", "),
            };
            bail!("unknown CPU flag `{flag}` for target {target}: known are {known}");
        }
        enable_cpu_flag(&mut config, flag);
    }
    let engine = Engine::new(&config)
        .map_err(|error| anyhow!("the compiler cannot be set up for {target}: {error:#}"))?;
    engine.precompile_component(component).map_err(|error| {
        Refused::from(Problem::new(
            format!("compiling for {target}"),
            format!("{error:#}"),
            "the plugin uses something that this engine does not support: build it with \
             fewer WebAssembly features",
        ))
        .into()
    })
}

/// Optimising for size as well gave artifacts of exactly the same length for every guest
/// and target that was measured. Not optimising gave larger ones.
const OPT_LEVEL: OptLevel = OptLevel::Speed;

/// The processor features that a board may name for `target`, by the compiler's names.
/// Each is one that the engine can look for when it loads the code.
pub fn known_cpu_flags(target: Target) -> &'static [&'static str] {
    match target {
        Target::X86_64 => &[
            "has_sse3",
            "has_ssse3",
            "has_sse41",
            "has_sse42",
            "has_popcnt",
            "has_lzcnt",
            "has_bmi1",
            "has_bmi2",
            "has_avx",
            "has_avx2",
            "has_fma",
            "has_cmpxchg16b",
        ],
        Target::Aarch64 => &["has_lse", "has_fp16", "has_dotprod", "has_i8mm"],
        // Bytecode runs on anything.
        Target::Armv7 => &[],
    }
}

#[expect(unsafe_code, reason = "the engine offers processor features only so")]
fn enable_cpu_flag(config: &mut wasmtime::Config, flag: &str) {
    // SAFETY: the engine marks this as unsafe because some flags make the compiler produce
    // code that breaks its own assumptions. The flags that get here are those of
    // `known_cpu_flags`. They only add instructions, and the engine refuses to load the
    // code on a processor that lacks them.
    unsafe {
        config.cranelift_flag_enable(flag);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        let text = r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "f") (param i32) (result i32)
                    (i32.store (local.get 0) (i32.const 9))
                    (i32.load (local.get 0))))
            (core instance $i (instantiate $m))
            (func (export "f") (param "at" u32) (result u32) (canon lift (core func $i "f"))))"#;
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn every_target_and_profile_compiles() {
        for target in Target::ALL {
            for profile in Profile::ALL {
                let result = compile_component(&component(), target, profile, &[]);
                assert_eq!(result.is_ok(), profile.check(target).is_ok());
            }
        }
    }

    #[test]
    fn targets_and_profiles_give_different_code() {
        let code = |target, profile| compile_component(&component(), target, profile, &[]).unwrap();
        let x86 = code(Target::X86_64, Profile::Compact);
        assert_ne!(x86, code(Target::X86_64, Profile::Wide));
        assert_ne!(x86, code(Target::Aarch64, Profile::Compact));
        // The processor that the file is for, in its ELF header.
        let machine = |bytes: &[u8]| u16::from_le_bytes([bytes[18], bytes[19]]);
        assert_eq!(machine(&x86), 62);
        assert_eq!(machine(&code(Target::Aarch64, Profile::Compact)), 183);
    }

    #[test]
    fn cpu_flags_are_known_to_the_compiler() {
        for target in Target::ALL {
            let flags: Vec<String> = known_cpu_flags(target)
                .iter()
                .map(|f| f.to_string())
                .collect();
            compile_component(&component(), target, Profile::Compact, &flags).unwrap();
        }
    }

    #[test]
    fn an_unknown_cpu_flag_lists_the_known_ones() {
        let flags = ["has_lse".to_owned()];
        let error = compile_component(&component(), Target::X86_64, Profile::Compact, &flags);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("has_lse") && error.contains("has_avx2"),
            "{error}"
        );
    }
}
