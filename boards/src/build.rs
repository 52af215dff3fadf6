//! `cargo boards build`: the device binary for each target.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::byte_size::megabytes;
use crate::command::Cmd;
use crate::machine::Machine;
use crate::room;
use crate::target::{BuildTarget, DEVICE_PROFILE, QUICK_PROFILE, Target, TargetList};

/// Where Debian keeps the standard library's source.
const DEBIAN_RUST_SOURCE: &str = "/usr/lib/rustlib/src/rust";

/// Has the linker write the addresses that the loader adjusts as a bitmap: a twentieth of a 64-bit binary
/// less. glibc knows it from 2.36 on, and an older one refuses the binary by name. So only where the
/// C library that is linked with knows it: a binary is for systems with that one or a newer one.
const RELR: &str = "-Wl,-z,pack-relative-relocs";

/// Builds the device binary `zlayer`.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "build")]
pub(crate) struct Args {
    /// comma-separated targets: x86_64, aarch64, armv7 (all of them by default)
    #[argh(option, default = "TargetList::all()")]
    target: TargetList,
    /// quick build for trying out, without link-time optimisation; not what ships
    #[argh(switch)]
    dev: bool,
    /// keep nothing of the build but the binary, where the disk has little room
    #[argh(switch)]
    lean: bool,
    /// print the commands instead of running them
    #[argh(switch)]
    print: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<()> {
    let machine = Machine::probe(&workspace.root);
    let profile = if args.dev {
        QUICK_PROFILE
    } else {
        DEVICE_PROFILE
    };
    for target in &args.target.0 {
        if args.print {
            let way = Way::choose(*target, profile, &machine)?;
            println!("# {target}, by {}", way.describe());
            println!("{}", way.command(*target, profile, &machine));
        } else {
            build(*target, profile, &machine, workspace)?;
            if args.lean {
                room::clear(*target, profile, &workspace.target_dir)?;
            }
        }
    }
    Ok(())
}

/// Builds one target with the first way that is open.
pub(crate) fn device_binary(target: Target, profile: &str, workspace: &Workspace) -> Result<()> {
    let machine = Machine::probe(&workspace.root);
    build(target, profile, &machine, workspace)
}

fn build(target: Target, profile: &str, machine: &Machine, workspace: &Workspace) -> Result<()> {
    let way = Way::choose(target, profile, machine)?;
    println!("zlayer for {target}, by {}", way.describe());
    way.command(target, profile, machine)
        .run(&workspace.root)
        .with_context(|| format!("zlayer for {target} does not build"))?;
    let binary = target.binary(&workspace.target_dir, profile);
    let size = fs::metadata(&binary)
        .with_context(|| format!("cargo left no {}", binary.display()))?
        .len();
    println!("{}  {}", binary.display(), megabytes(size));
    Ok(())
}

/// How a target is built here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// This machine's own target: cargo, and no triple.
    Native,
    /// rustup's compiler with the target's standard library.
    Rustup,
    /// Debian's compiler, which builds the standard library too.
    Debian,
}

impl Way {
    fn choose(target: Target, profile: &str, machine: &Machine) -> Result<Way> {
        // What ships goes Debian's way wherever it is open: a standard library built for size, and
        // without the code that makes backtraces readable (a stripped binary has none to read), saves
        // a tenth of the binary.
        let smallest = profile == DEVICE_PROFILE && machine.debian_rust;
        if machine.host == Some(target) {
            return Ok(if smallest { Way::Debian } else { Way::Native });
        }
        ensure!(
            machine.foreign().any(|foreign| foreign == target),
            "zlayer for {target} is built on {target} machines only"
        );
        let way = if machine.rustup_targets.contains(target.triple()) && !smallest {
            Way::Rustup
        } else if machine.debian_rust {
            Way::Debian
        } else {
            bail!(
                "no compiler here builds for {}: `cargo boards setup` installs one",
                target.triple()
            );
        };
        ensure!(
            machine.cross_gcc.contains(&target),
            "`{}` or its C library is missing: `cargo boards setup` installs them",
            target.cross_gcc()
        );
        Ok(way)
    }

    fn describe(self) -> &'static str {
        match self {
            Way::Native => "this machine's own compiler",
            Way::Rustup => "rustup's compiler and standard library",
            Way::Debian => "Debian's compiler, standard library built from source",
        }
    }

    /// What makes a device binary small beyond its cargo profile, as one variable for rustc.
    fn device_flags(self, target: Target, machine: &Machine) -> String {
        // Nobody unwinds where a panic ends the process, and the tables weigh a tenth.
        let mut flags = vec!["-Cforce-unwind-tables=no".to_owned()];
        if target == Target::Armv7 {
            // Thumb-2, which every ARMv7-A processor runs: code smaller by a third, and the
            // interpreter of plugins is faster with it. rustc warns that it may rename the feature.
            flags.push("-Ctarget-feature=+thumb-mode".into());
        }
        // The variable is split at spaces, and a path with one in it would fall apart: the binary
        // is a little larger then.
        let whole = |path: &&String| !path.contains(char::is_whitespace);
        if let Some(lld) = machine.lld.as_ref().filter(whole) {
            let link = ["-fuse-ld=lld", &format!("-B{lld}"), "-Wl,--icf=all"];
            flags.extend(link.map(|arg| format!("-Clink-arg={arg}")));
            if machine.relr.contains(&target) {
                flags.push(format!("-Clink-arg={RELR}"));
            }
        }
        if self == Way::Native {
            // The prebuilt standard library brings tables of its own. Paths are seen from the
            // workspace, where cargo runs the linker.
            let link = ["--no-eh-frame-hdr", "-T,boards/common/no-unwind.ld"];
            flags.extend(link.map(|arg| format!("-Clink-arg=-Wl,{arg}")));
        }
        // Panics name `CRATE-VERSION/src/FILE` then: shorter, and the same on every machine.
        let sources = machine.registries.iter().filter(whole);
        flags.extend(sources.map(|path| format!("--remap-path-prefix={path}=")));
        if self == Way::Debian {
            flags.push(format!("--remap-path-prefix={DEBIAN_RUST_SOURCE}="));
        }
        flags.join(" ")
    }

    fn command(self, target: Target, profile: &str, machine: &Machine) -> Cmd {
        let program = if self == Way::Debian {
            "/usr/bin/cargo"
        } else {
            "cargo"
        };
        // One package at a time: with the precompiler beside it, cargo would unify features and
        // put a compiler into the device binary.
        let cmd = Cmd::new(
            program,
            &format!("build --package zlayer-runtime --profile {profile}"),
        );
        if self == Way::Native && profile != DEVICE_PROFILE {
            return cmd;
        }
        let (triple, gcc) = (target.triple(), target.cross_gcc());
        let name = triple.replace('-', "_");
        let mut cmd = cmd.arg("--target").arg(triple);
        if profile == DEVICE_PROFILE {
            let name = format!("CARGO_TARGET_{}_RUSTFLAGS", name.to_uppercase());
            cmd = cmd.env(name, self.device_flags(target, machine));
        }
        if machine.host != Some(target) {
            cmd = cmd
                .env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), gcc)
                .env(format!("CC_{name}"), gcc);
        }
        if self != Way::Debian {
            return cmd;
        }
        // Debian's is a stable compiler; building the standard library is an unstable feature.
        // Naming its features leaves out the default ones: unwinding, and symbols for backtraces.
        cmd.arg("-Zbuild-std=std,panic_abort")
            .arg("-Zbuild-std-features=optimize_for_size")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", "/usr/bin/rustc")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            host: Some(Target::X86_64),
            debian_rust: true,
            cross_gcc: [Target::Aarch64, Target::Armv7].into(),
            relr: [Target::Armv7].into(),
            lld: Some("/lld".into()),
            registries: vec!["/registry/src/index".into()],
            ..Machine::default()
        }
    }

    #[test]
    fn the_hosts_own_target_needs_no_cross_compiler() {
        let rustup = Machine {
            debian_rust: false,
            ..machine()
        };
        let way = Way::choose(Target::X86_64, DEVICE_PROFILE, &rustup).unwrap();
        assert_eq!(
            way.command(Target::X86_64, DEVICE_PROFILE, &rustup)
                .to_string(),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=\
             '-Cforce-unwind-tables=no -Clink-arg=-fuse-ld=lld -Clink-arg=-B/lld \
             -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,--no-eh-frame-hdr \
             -Clink-arg=-Wl,-T,boards/common/no-unwind.ld \
             --remap-path-prefix=/registry/src/index=' \
             cargo build --package zlayer-runtime --profile device \
             --target x86_64-unknown-linux-gnu"
        );
    }

    #[test]
    fn debians_compiler_builds_the_standard_library() {
        let machine = machine();
        let way = Way::choose(Target::Armv7, DEVICE_PROFILE, &machine).unwrap();
        assert_eq!(
            way.command(Target::Armv7, DEVICE_PROFILE, &machine)
                .to_string(),
            "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS=\
             '-Cforce-unwind-tables=no -Ctarget-feature=+thumb-mode -Clink-arg=-fuse-ld=lld \
             -Clink-arg=-B/lld -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-z,pack-relative-relocs \
             --remap-path-prefix=/registry/src/index= \
             --remap-path-prefix=/usr/lib/rustlib/src/rust=' \
             CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
             CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc \
             RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
             /usr/bin/cargo build --package zlayer-runtime --profile device \
             --target armv7-unknown-linux-gnueabihf -Zbuild-std=std,panic_abort \
             -Zbuild-std-features=optimize_for_size"
        );
        // The host's own target too, and with the host's own linker.
        let way = Way::choose(Target::X86_64, DEVICE_PROFILE, &machine).unwrap();
        let shown = way
            .command(Target::X86_64, DEVICE_PROFILE, &machine)
            .to_string();
        assert!(
            shown.contains("-Zbuild-std=") && !shown.contains("_LINKER="),
            "{shown}"
        );
        assert!(!shown.contains("thumb"), "{shown}");
    }

    #[test]
    fn a_quick_build_takes_the_compiler_that_is_quickest() {
        let machine = Machine {
            rustup: true,
            rustup_targets: [Target::Aarch64.triple().to_owned()].into(),
            ..machine()
        };
        let choose = |target, profile| Way::choose(target, profile, &machine).unwrap();
        assert_eq!(choose(Target::X86_64, QUICK_PROFILE), Way::Native);
        assert_eq!(choose(Target::Aarch64, DEVICE_PROFILE), Way::Debian);
        assert_eq!(choose(Target::Armv7, QUICK_PROFILE), Way::Debian);
        let way = choose(Target::Aarch64, QUICK_PROFILE);
        let shown = way
            .command(Target::Aarch64, QUICK_PROFILE, &machine)
            .to_string();
        assert!(
            shown.contains(" cargo build ") && !shown.contains("build-std"),
            "{shown}"
        );
        assert!(
            shown.contains("--profile release --target aarch64-unknown-linux-gnu"),
            "{shown}"
        );
    }

    #[test]
    fn a_path_with_a_space_does_not_fall_apart_in_the_flags() {
        let machine = Machine {
            lld: Some("/home/a b/lld".into()),
            registries: vec!["/home/a b/index".into()],
            ..machine()
        };
        assert_eq!(
            Way::Rustup.device_flags(Target::Aarch64, &machine),
            "-Cforce-unwind-tables=no"
        );
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_built() {
        let no_gcc = Machine {
            cross_gcc: [].into(),
            ..machine()
        };
        let error = Way::choose(Target::Aarch64, DEVICE_PROFILE, &no_gcc)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("aarch64-linux-gnu-gcc") && error.contains("setup"),
            "{error}"
        );
        let no_rust = Machine {
            debian_rust: false,
            ..machine()
        };
        let error = Way::choose(Target::Armv7, DEVICE_PROFILE, &no_rust)
            .unwrap_err()
            .to_string();
        assert!(error.contains("armv7-unknown-linux-gnueabihf"), "{error}");
        let arm_host = Machine {
            host: Some(Target::Aarch64),
            ..machine()
        };
        let error = Way::choose(Target::X86_64, DEVICE_PROFILE, &arm_host)
            .unwrap_err()
            .to_string();
        assert!(error.contains("on x86_64 machines only"), "{error}");
    }

    #[test]
    fn targets_are_read_from_one_argument() {
        let args = Args::from_args(&["build"], &["--target", "armv7,aarch64", "--dev"]).unwrap();
        assert_eq!(args.target.0, [Target::Armv7, Target::Aarch64]);
        assert!(args.dev && !args.print);
        assert_eq!(
            Args::from_args(&["build"], &[]).unwrap().target.0,
            Target::ALL
        );
        let refused = Args::from_args(&["build"], &["--target", "mips"]).unwrap_err();
        assert!(
            refused
                .output
                .contains("the targets are x86_64, aarch64, armv7"),
            "{}",
            refused.output
        );
    }

    #[test]
    fn the_cargo_profiles_are_the_ones_in_the_workspace() {
        let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
        for profile in [DEVICE_PROFILE, QUICK_PROFILE] {
            assert!(manifest["profile"].get(profile).is_some(), "{profile}");
        }
    }
}
