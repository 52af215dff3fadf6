//! `cargo boards build`: the device binary for each target.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::command::Cmd;
use crate::machine::Machine;
use crate::sizes::megabytes;
use crate::target::{Target, TargetList};

/// The cargo profile of what ships: small first, with link-time optimisation. Takes minutes.
pub(crate) const DEVICE_PROFILE: &str = "device";

/// The cargo profile for trying out: quicker to build, larger.
pub(crate) const QUICK_PROFILE: &str = "release";

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
        let way = Way::choose(*target, &machine)?;
        if args.print {
            println!("# {target}, by {}", way.describe());
            println!("{}", way.command(*target, profile));
        } else {
            build(*target, way, profile, workspace)?;
        }
    }
    Ok(())
}

/// Builds one target with the first way that is open.
pub(crate) fn device_binary(target: Target, profile: &str, workspace: &Workspace) -> Result<()> {
    let way = Way::choose(target, &Machine::probe(&workspace.root))?;
    build(target, way, profile, workspace)
}

fn build(target: Target, way: Way, profile: &str, workspace: &Workspace) -> Result<()> {
    println!("zlayer for {target}, by {}", way.describe());
    way.command(target, profile)
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
    fn choose(target: Target, machine: &Machine) -> Result<Way> {
        if machine.host == Some(target) {
            return Ok(Way::Native);
        }
        ensure!(
            machine.foreign().any(|foreign| foreign == target),
            "zlayer for {target} is built on {target} machines only"
        );
        let way = if machine.rustup_targets.contains(target.triple()) {
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

    /// What makes a device binary small beyond its cargo profile.
    fn device_flags(self) -> &'static str {
        match self {
            // The pinned toolchain links with its own lld, which folds functions that are alike;
            // paths are seen from the workspace, where cargo runs the linker.
            Way::Native => {
                "-Cforce-unwind-tables=no -Clink-arg=-Wl,--icf=all \
                 -Clink-arg=-Wl,--no-eh-frame-hdr -Clink-arg=-Wl,-T,boards/common/no-unwind.ld"
            }
            // Nobody unwinds where a panic ends the process, and the tables weigh a tenth.
            Way::Rustup | Way::Debian => "-Cforce-unwind-tables=no",
        }
    }

    fn command(self, target: Target, profile: &str) -> Cmd {
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
            cmd = cmd.env(name, self.device_flags());
        }
        if self == Way::Native {
            return cmd;
        }
        let cmd = cmd
            .env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), gcc)
            .env(format!("CC_{name}"), gcc);
        if self == Way::Rustup {
            return cmd;
        }
        // Debian's is a stable compiler; building the standard library is an unstable feature.
        cmd.arg("-Zbuild-std=std,panic_abort")
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
            ..Machine::default()
        }
    }

    #[test]
    fn the_hosts_own_target_needs_no_cross_compiler() {
        let way = Way::choose(
            Target::X86_64,
            &Machine {
                debian_rust: false,
                ..machine()
            },
        );
        let shown = way
            .unwrap()
            .command(Target::X86_64, DEVICE_PROFILE)
            .to_string();
        assert_eq!(
            shown,
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=\
             '-Cforce-unwind-tables=no -Clink-arg=-Wl,--icf=all \
             -Clink-arg=-Wl,--no-eh-frame-hdr -Clink-arg=-Wl,-T,boards/common/no-unwind.ld' \
             cargo build --package zlayer-runtime --profile device \
             --target x86_64-unknown-linux-gnu"
        );
    }

    #[test]
    fn debians_compiler_builds_the_standard_library() {
        let way = Way::choose(Target::Armv7, &machine()).unwrap();
        assert_eq!(
            way.command(Target::Armv7, DEVICE_PROFILE).to_string(),
            "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS=-Cforce-unwind-tables=no \
             CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
             CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc \
             RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
             /usr/bin/cargo build --package zlayer-runtime --profile device \
             --target armv7-unknown-linux-gnueabihf -Zbuild-std=std,panic_abort"
        );
    }

    #[test]
    fn rustups_standard_library_goes_first_where_it_is() {
        let machine = Machine {
            rustup: true,
            rustup_targets: [Target::Aarch64.triple().to_owned()].into(),
            ..machine()
        };
        let way = Way::choose(Target::Aarch64, &machine).unwrap();
        let shown = way.command(Target::Aarch64, QUICK_PROFILE).to_string();
        assert!(
            shown.contains(" cargo build ") && !shown.contains("build-std"),
            "{shown}"
        );
        assert!(
            shown.contains("--profile release --target aarch64-unknown-linux-gnu"),
            "{shown}"
        );
        assert_eq!(Way::choose(Target::Armv7, &machine).unwrap(), Way::Debian);
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_built() {
        let no_gcc = Machine {
            cross_gcc: [].into(),
            ..machine()
        };
        let error = Way::choose(Target::Aarch64, &no_gcc)
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
        let error = Way::choose(Target::Armv7, &no_rust)
            .unwrap_err()
            .to_string();
        assert!(error.contains("armv7-unknown-linux-gnueabihf"), "{error}");
        let arm_host = Machine {
            host: Some(Target::Aarch64),
            ..machine()
        };
        let error = Way::choose(Target::X86_64, &arm_host)
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
            refused.output.contains("known are x86_64, aarch64, armv7"),
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
