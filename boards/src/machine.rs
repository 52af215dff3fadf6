//! What is there on the machine that builds: asked once, then planned with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Cmd, on_path};
use crate::emulated::mke2fs;
use crate::target::{BuildTarget, Target};

/// The Rust target that plugin authors build for.
pub(crate) const WASM_TRIPLE: &str = "wasm32-wasip2";

/// The oldest compiler that this checkout builds with: `rust-version` in `Cargo.toml`.
const OLDEST_RUST: (u32, u32) = (1, 95);

/// Facts about this machine. Only what a plan depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// The target whose programs run here as they are.
    pub(crate) host: Option<Target>,
    /// rustup manages the compiler of this checkout.
    pub(crate) rustup: bool,
    /// Targets whose standard library that compiler has. Empty without rustup.
    pub(crate) rustup_targets: BTreeSet<String>,
    /// Where that compiler has the source of its standard library.
    pub(crate) rust_source: Option<String>,
    /// Debian's compiler, its cargo and the standard library's source are all there.
    pub(crate) debian_rust: bool,
    /// The folder in which `cc -fuse-ld=lld -B` finds the linker that came with the compiler of this
    /// checkout: it links for every target, and folds functions that are alike.
    pub(crate) lld: Option<String>,
    /// Folders in which cargo unpacked the dependencies, sorted: what panics would name.
    pub(crate) registries: Vec<String>,
    /// A linker for WebAssembly: rustup's `rust-lld` or Debian's `wasm-ld`.
    pub(crate) wasm_linker: bool,
    /// A C compiler that links host programs.
    pub(crate) cc: bool,
    /// Targets with a cross compiler that finds its C library.
    pub(crate) cross_gcc: BTreeSet<Target>,
    /// Targets with a user-mode emulator.
    pub(crate) qemu: BTreeSet<Target>,
    /// Emulators of whole ARM machines are there.
    pub(crate) qemu_system: bool,
    /// What makes the disks of such machines is there.
    pub(crate) mke2fs: bool,
    /// `strace` is there: the store's tests record what it writes, and make the disk fail.
    pub(crate) strace: bool,
    /// `skopeo` is there: what is pushed to registries is fetched with it.
    pub(crate) skopeo: bool,
    /// `apt-get` is there.
    pub(crate) apt: bool,
    /// This user may install packages: root, or `sudo` is there.
    pub(crate) may_install: bool,
    /// `apt-get` goes through `sudo`.
    pub(crate) sudo: bool,
}

impl Machine {
    /// Looks around. Starts a few short programs, touches no network.
    pub(crate) fn probe(root: &Path) -> Machine {
        let rustup_targets = Cmd::new("rustup", "target list --installed").output(root);
        let is_root = Cmd::new("id", "-u")
            .output(root)
            .is_some_and(|id| id.trim() == "0");
        let sudo = !is_root && on_path("sudo");
        Machine {
            host: Target::host(),
            rustup: rustup_targets.is_some(),
            rustup_targets: rustup_targets
                .iter()
                .flat_map(|list| list.lines())
                .map(|line| line.trim().to_owned())
                .collect(),
            rust_source: rust_source("rustc", root),
            debian_rust: debian_rust(root),
            lld: rust_lld_for_elf(root),
            registries: cargo_home()
                .map(|home| folders_in(&home.join("registry/src")))
                .unwrap_or_default(),
            wasm_linker: on_path("wasm-ld") || rust_lld(root),
            cc: on_path("cc"),
            cross_gcc: only(|target| finds_c_library(target.cross_gcc(), root)),
            qemu: only(|target| on_path(target.qemu())),
            qemu_system: on_path("qemu-system-aarch64") && on_path("qemu-system-arm"),
            mke2fs: Path::new(&mke2fs()).is_file() || on_path(&mke2fs()),
            strace: on_path("strace"),
            skopeo: on_path("skopeo"),
            apt: on_path("apt-get"),
            may_install: is_root || sudo,
            sudo,
        }
    }

    /// The targets that this machine cannot build or run as they are.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = Target> + '_ {
        // x86_64 devices are served from x86_64 machines; no one cross-builds for them.
        Target::ALL
            .into_iter()
            .filter(|target| Some(*target) != self.host && *target != Target::X86_64)
    }
}

fn only(holds: impl Fn(Target) -> bool) -> BTreeSet<Target> {
    Target::ALL
        .into_iter()
        .filter(|target| holds(*target))
        .collect()
}

/// Debian keeps these in fixed places; rustup's own are never under `/usr/bin`.
fn debian_rust(root: &Path) -> bool {
    let version = Cmd::new("/usr/bin/rustc", "--version").output(root);
    version.is_some_and(|version| rust_version(&version) >= Some(OLDEST_RUST))
        && Path::new("/usr/bin/cargo").is_file()
        && rust_source("/usr/bin/rustc", root).is_some()
}

/// The folder with the source of a compiler's standard library, if it came with it.
fn rust_source(rustc: &str, root: &Path) -> Option<String> {
    let sysroot = Cmd::new(rustc, "--print sysroot").output(root)?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    let is_there = folder.join("library/std/Cargo.toml").is_file();
    let folder = folder.into_os_string().into_string().ok()?;
    is_there.then_some(folder)
}

/// `rustc 1.96.0 (…)` as (1, 96).
fn rust_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn rust_lld(root: &Path) -> bool {
    let folder = Cmd::new("rustc", "--print target-libdir").output(root);
    folder.is_some_and(|folder| Path::new(folder.trim()).join("../bin/rust-lld").is_file())
}

/// The folder is not on the compiler's own search path. It holds a front for `rust-lld` under the
/// name by which C compilers look for it.
fn rust_lld_for_elf(root: &Path) -> Option<String> {
    let libraries = Cmd::new("rustc", "--print target-libdir").output(root)?;
    let folder = Path::new(libraries.trim()).parent()?.join("bin/gcc-ld");
    let folder = folder.to_str()?;
    Path::new(folder)
        .join("ld.lld")
        .is_file()
        .then(|| folder.to_owned())
}

/// Where cargo keeps what it downloads, by cargo's own rule.
fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty());
    set.map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// The folders in `folder`, sorted; none when it cannot be read.
fn folders_in(folder: &Path) -> Vec<String> {
    let mut paths: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.path().into_os_string().into_string().ok())
        .filter(|path| Path::new(path).is_dir())
        .collect();
    paths.sort();
    paths
}

/// The compiler answers with a path when the C library's start file is there, else with its name.
fn finds_c_library(gcc: &str, root: &Path) -> bool {
    Cmd::new(gcc, "-print-file-name=crt1.o")
        .output(root)
        .is_some_and(|path| Path::new(path.trim()).is_absolute())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn probing_tells_a_present_c_library_from_a_missing_compiler() {
        let here = Path::new(".");
        assert!(!finds_c_library("zlayer-no-such-gcc", here));
        // Stands for a cross compiler without the C library's package.
        assert!(!finds_c_library("echo", here));
    }

    #[test]
    fn a_compiler_older_than_the_checkout_asks_for_does_not_count() {
        let new_enough = |text| rust_version(text) >= Some(OLDEST_RUST);
        assert!(new_enough(
            "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"
        ));
        assert!(new_enough("rustc 1.95.0") && new_enough("rustc 2.0.0-nightly"));
        assert!(!new_enough("rustc 1.63.0") && !new_enough("") && !new_enough("rustc what"));
        let manifest = include_str!("../../Cargo.toml");
        let (major, minor) = OLDEST_RUST;
        assert!(manifest.contains(&format!("rust-version = \"{major}.{minor}\"")));
    }

    #[test]
    fn this_machine_runs_the_tests_so_it_has_a_host_and_a_compiler() {
        let machine = Machine::probe(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        assert_eq!(machine.host, Target::host());
        assert!(machine.cc, "cargo has just linked this test with `cc`");
        assert!(!machine.foreign().any(|target| Some(target) == machine.host));
    }

    #[test]
    fn folders_are_listed_in_order_and_files_are_not() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = folders_in(here);
        let index = |name: &str| {
            let path = here.join(name);
            folders.iter().position(|folder| Path::new(folder) == path)
        };
        assert!(index("common").unwrap() < index("src").unwrap());
        assert_eq!(index("Cargo.toml"), None);
        assert!(folders_in(&here.join("no-such-folder")).is_empty());
    }
}
