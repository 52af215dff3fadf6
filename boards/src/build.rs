//! `cargo boards build`: the device binary for each target.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::byte_size::megabytes;
use crate::command::Cmd;
use crate::machine::Machine;
use crate::musl::Musl;
use crate::room;
use crate::target::{BuildTarget, DEVICE_PROFILE, QUICK_PROFILE, Target, TargetList};

/// Where Debian keeps the standard library's source.
const DEBIAN_RUST_SOURCE: &str = "/usr/lib/rustlib/src/rust";

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
            let recipe = Recipe::choose(*target, profile, &machine, workspace)?;
            println!("# {target}, by {}", recipe.describe());
            println!("{}", recipe.command(*target, profile, &machine));
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
    let recipe = Recipe::choose(target, profile, machine, workspace)?;
    println!("zlayer for {target}, by {}", recipe.describe());
    recipe
        .command(target, profile, machine)
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
#[derive(Clone, Debug, PartialEq, Eq)]
enum Recipe {
    /// For trying out on this machine: cargo, and this machine's own C library.
    Host,
    /// A static program, with a standard library that is built along with it: made for size, and
    /// without the code that makes backtraces readable, which a stripped binary has no use for.
    Static {
        compiler: Compiler,
        musl: Musl,
        /// Where the linker writes what the binary is made of, for `cargo boards sizes`.
        map: PathBuf,
    },
}

/// Who has the standard library's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compiler {
    Rustup,
    Debian,
}

impl Compiler {
    fn choose(target: Target, machine: &Machine) -> Result<Compiler> {
        ensure!(
            machine.host == Some(target) || machine.foreign().any(|foreign| foreign == target),
            "zlayer for {target} is built on {target} machines only"
        );
        let compiler = if machine.rust_source.is_some() {
            Compiler::Rustup
        } else if machine.debian_rust {
            Compiler::Debian
        } else {
            bail!(
                "no compiler here has the standard library's source, to build it for {}: \
                 `cargo boards setup` installs one",
                target.triple()
            );
        };
        ensure!(
            machine.host == Some(target) || machine.cross_gcc.contains(&target),
            "`{}` or its C library is missing: `cargo boards setup` installs them",
            target.cross_gcc()
        );
        Ok(compiler)
    }
}

impl Recipe {
    fn choose(
        target: Target,
        profile: &str,
        machine: &Machine,
        workspace: &Workspace,
    ) -> Result<Recipe> {
        if machine.host == Some(target) && profile != DEVICE_PROFILE {
            return Ok(Recipe::Host);
        }
        let compiler = Compiler::choose(target, machine)?;
        let musl = Musl::find(target, machine, workspace)?;
        let map = target.map(&workspace.target_dir, profile);
        Ok(Recipe::Static {
            compiler,
            musl,
            map,
        })
    }

    fn describe(&self) -> &'static str {
        match self {
            Recipe::Host => "this machine's own compiler",
            Recipe::Static { compiler, .. } => match compiler {
                Compiler::Rustup => "rustup's compiler, standard library built from source",
                Compiler::Debian => "Debian's compiler, standard library built from source",
            },
        }
    }

    fn command(&self, target: Target, profile: &str, machine: &Machine) -> Cmd {
        // One package at a time: with the precompiler beside it, cargo would unify features and
        // put a compiler into the device binary.
        let arguments = format!("build --package zlayer-runtime --profile {profile}");
        let Recipe::Static {
            compiler,
            musl,
            map,
        } = self
        else {
            return Cmd::new("cargo", &arguments);
        };
        let cmd = match compiler {
            Compiler::Rustup => Cmd::new("cargo", &arguments),
            Compiler::Debian => {
                Cmd::new("/usr/bin/cargo", &arguments).env("RUSTC", "/usr/bin/rustc")
            }
        };
        let triple = target.triple();
        let name = triple.replace('-', "_");
        let gcc = match machine.host == Some(target) {
            true => "cc",
            false => target.cross_gcc(),
        };
        let upper = name.to_uppercase();
        let flags = flags(target, *compiler, musl, map, machine);
        let mut cmd = cmd
            .env("RUSTC_BOOTSTRAP", "1")
            .env(format!("CARGO_TARGET_{upper}_LINKER"), gcc)
            // What little C there is includes only headers that every C library has.
            .env(format!("CC_{name}"), gcc)
            .arg("--target")
            .arg(triple)
            // Both are stable compilers; building the standard library is an unstable feature.
            // Naming its features leaves out the default ones: unwinding, and symbols for
            // backtraces.
            .arg("-Zbuild-std=std,panic_abort")
            .arg("-Zbuild-std-features=optimize_for_size")
            .arg("--config")
            .arg(format!("target.{triple}.rustflags={flags:?}"))
            // At the smallest level it keeps code that nobody calls: of backtraces, which want an
            // unwinder to link with. In Cargo.toml, where it is built by nobody, cargo would warn.
            .arg("--config")
            .arg(format!("profile.{profile}.package.std.opt-level=\"s\""));
        if profile != DEVICE_PROFILE {
            // As what ships does it: there is nothing here to unwind with.
            cmd = cmd
                .arg("--config")
                .arg(format!("profile.{profile}.panic=\"abort\""));
        }
        cmd
    }
}

/// What makes a device binary static, and small, beyond its cargo profile: flags for rustc.
fn flags(
    target: Target,
    compiler: Compiler,
    musl: &Musl,
    map: &Path,
    machine: &Machine,
) -> Vec<String> {
    let folder = musl.folder.display();
    let link = |arg: &str| format!("-Clink-arg={arg}");
    let mut flags = vec![
        // Nobody unwinds where a panic ends the process, and the tables weigh a tenth.
        "-Cforce-unwind-tables=no".to_owned(),
        // The C library and the code that starts a program are named here, and not searched for by
        // the linking C compiler, which knows glibc's.
        "-Clink-self-contained=no".to_owned(),
        format!("-Lnative={folder}"),
        link("-nostartfiles"),
        format!("-Zpre-link-args={folder}/rcrt1.o"),
        format!("-Zpre-link-args={folder}/crti.o"),
        link(&format!("{folder}/crtn.o")),
        // Position-independent, so that addresses stay random. rustc asks for that on x86_64
        // alone, and cross compilers know no `-static-pie` for 32-bit ARM.
        "-Crelocation-model=pic".to_owned(),
        link("-Wl,-pie,--no-dynamic-linker,-ztext"),
    ];
    if target == Target::Armv7 {
        // Thumb-2, which every ARMv7-A processor runs: code smaller by a third, and the
        // interpreter of plugins is faster with it. rustc warns that it may rename the feature.
        flags.push("-Ctarget-feature=+thumb-mode".into());
    }
    if let Some(lld) = &machine.lld {
        let args = ["-fuse-ld=lld", &format!("-B{lld}"), "-Wl,--icf=all"];
        flags.extend(args.map(link));
        flags.push(link(&format!("-Wl,-Map={}", map.display())));
        if musl.relr {
            // The addresses that the program adjusts at its start, as a bitmap: a twentieth of a
            // 64-bit binary less.
            flags.push(link("-Wl,--pack-dyn-relocs=relr"));
        }
    }
    // Panics name `CRATE-VERSION/src/FILE` then: shorter, and the same on every machine.
    let source = match compiler {
        Compiler::Rustup => machine.rust_source.as_deref(),
        Compiler::Debian => Some(DEBIAN_RUST_SOURCE),
    };
    let sources = machine.registries.iter().map(String::as_str).chain(source);
    flags.extend(sources.map(|path| format!("--remap-path-prefix={path}=")));
    flags
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const MUSL: &str = "/musl";

    fn machine() -> Machine {
        Machine {
            host: Some(Target::X86_64),
            debian_rust: true,
            cross_gcc: [Target::Aarch64, Target::Armv7].into(),
            lld: Some("/l l d".into()),
            registries: vec!["/registry/src/index".into()],
            ..Machine::default()
        }
    }

    fn shown(compiler: Compiler, target: Target, profile: &str, relr: bool) -> String {
        let machine = Machine {
            rust_source: Some("/rust".into()),
            ..machine()
        };
        let folder = MUSL.into();
        let musl = Musl { folder, relr };
        let map = "/map".into();
        let recipe = Recipe::Static {
            compiler,
            musl,
            map,
        };
        recipe.command(target, profile, &machine).to_string()
    }

    #[test]
    fn every_device_binary_is_static_and_position_independent() {
        for target in Target::ALL {
            let shown = shown(Compiler::Rustup, target, DEVICE_PROFILE, true);
            for part in [
                "RUSTC_BOOTSTRAP=1",
                "-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size",
                "-Crelocation-model=pic",
                "-Clink-arg=-Wl,-pie,--no-dynamic-linker,-ztext",
                "-Zpre-link-args=/musl/rcrt1.o",
                "-Lnative=/musl",
                "-Clink-arg=-B/l l d",
                "--pack-dyn-relocs=relr",
                "-Clink-arg=-Wl,-Map=/map",
                "--remap-path-prefix=/registry/src/index=",
                "--remap-path-prefix=/rust=",
                &format!("--target {}", target.triple()),
            ] {
                assert!(shown.contains(part), "{target}: no {part} in {shown}");
            }
            // What stands in Cargo.toml holds but for the standard library.
            let of_profile = shown.matches("profile.").count();
            assert_eq!(of_profile, 1, "{shown}");
            assert!(shown.contains("profile.device.package.std.opt-level"));
            assert_eq!(shown.contains("thumb-mode"), target == Target::Armv7);
        }
    }

    #[test]
    fn the_hosts_own_target_is_linked_with_its_own_c_compiler() {
        let linker = "_LINKER=cc CC_x86_64_unknown_linux_musl=cc";
        let here = shown(Compiler::Rustup, Target::X86_64, DEVICE_PROFILE, true);
        assert!(here.contains(linker), "{here}");
        let there = shown(Compiler::Rustup, Target::Armv7, DEVICE_PROFILE, false);
        let linker = "_LINKER=arm-linux-gnueabihf-gcc";
        assert!(there.contains(linker) && !there.contains("relr"), "{there}");
    }

    #[test]
    fn debians_compiler_is_named_where_rustups_has_no_source() {
        let shown = shown(Compiler::Debian, Target::Armv7, DEVICE_PROFILE, false);
        assert!(
            shown.contains("RUSTC=/usr/bin/rustc") && shown.contains("/usr/bin/cargo build"),
            "{shown}"
        );
        assert!(
            shown.contains("--remap-path-prefix=/usr/lib/rustlib/src/rust="),
            "{shown}"
        );
        let choose = |machine: &Machine| Compiler::choose(Target::Armv7, machine).unwrap();
        assert_eq!(choose(&machine()), Compiler::Debian);
        let rustup = Machine {
            rust_source: Some("/rust".into()),
            ..machine()
        };
        assert_eq!(choose(&rustup), Compiler::Rustup);
    }

    #[test]
    fn a_quick_build_for_another_processor_is_as_static() {
        let shown = shown(Compiler::Rustup, Target::Aarch64, QUICK_PROFILE, true);
        for part in ["--profile release", "profile.release.panic", "rcrt1.o"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_built() {
        let no_gcc = Machine {
            cross_gcc: [].into(),
            ..machine()
        };
        let refused =
            |target, machine: &Machine| Compiler::choose(target, machine).unwrap_err().to_string();
        let error = refused(Target::Aarch64, &no_gcc);
        assert!(
            error.contains("aarch64-linux-gnu-gcc") && error.contains("setup"),
            "{error}"
        );
        let no_rust = Machine {
            debian_rust: false,
            ..machine()
        };
        let error = refused(Target::Armv7, &no_rust);
        assert!(error.contains("armv7-unknown-linux-musleabihf"), "{error}");
        let arm_host = Machine {
            host: Some(Target::Aarch64),
            ..machine()
        };
        let error = refused(Target::X86_64, &arm_host);
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
