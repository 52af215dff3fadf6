//! What this tool needs to know of each target to build for it and to run its programs.

use std::path::{Path, PathBuf};
use std::str::FromStr;

pub(crate) use zlayer_bundle::Target;
use zlayer_bundle::UnknownTarget;

/// The cargo profile of what ships: small first, with link-time optimisation. Takes minutes.
pub(crate) const DEVICE_PROFILE: &str = "device";

/// The cargo profile for trying out: quicker to build, larger.
pub(crate) const QUICK_PROFILE: &str = "release";

/// What a machine needs to build the daemon for a target, and to run it.
pub(crate) trait BuildTarget: Sized {
    /// The Rust target triple of the device binary.
    fn triple(self) -> &'static str;

    /// The C compiler that compiles and links for this target from another machine.
    fn cross_gcc(self) -> &'static str;

    /// Debian packages with the cross compiler and the C library's development files.
    fn cross_packages(self) -> [&'static str; 2];

    /// The user-mode emulator that runs this target's programs.
    fn qemu(self) -> &'static str;

    /// What to put before a program of this target, the emulator last: empty on its own machine.
    fn runner(self) -> String;

    /// Where cargo leaves the daemon of a profile: the device's under its triple, a quick one of
    /// this machine's own without.
    fn binary(self, target_dir: &Path, cargo_profile: &str) -> PathBuf;

    /// Where the linker writes what a static binary is made of: beside it.
    fn map(self, target_dir: &Path, cargo_profile: &str) -> PathBuf;
}

impl BuildTarget for Target {
    fn triple(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64-unknown-linux-musl",
            Target::Aarch64 => "aarch64-unknown-linux-musl",
            Target::Armv7 => "armv7-unknown-linux-musleabihf",
        }
    }

    fn cross_gcc(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64-linux-gnu-gcc",
            Target::Aarch64 => "aarch64-linux-gnu-gcc",
            Target::Armv7 => "arm-linux-gnueabihf-gcc",
        }
    }

    fn cross_packages(self) -> [&'static str; 2] {
        match self {
            Target::X86_64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            Target::Aarch64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            Target::Armv7 => ["gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
        }
    }

    fn qemu(self) -> &'static str {
        match self {
            Target::X86_64 => "qemu-x86_64-static",
            Target::Aarch64 => "qemu-aarch64-static",
            Target::Armv7 => "qemu-arm-static",
        }
    }

    fn runner(self) -> String {
        if Target::host() == Some(self) {
            return String::new();
        }
        let qemu = self.qemu();
        match self {
            // QEMU before 8.1 gives away what lies behind a mapping that is made smaller by
            // `mremap`, where the emulated processor has 32 bits: its `target_mremap` reserves from
            // the old end on. Without that call the allocator gives memory back by `munmap`.
            Target::Armv7 => format!(
                "strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=mremap \
                 -e inject=mremap:error=ENOSYS {qemu}"
            ),
            _ => qemu.to_owned(),
        }
    }

    fn binary(self, target_dir: &Path, cargo_profile: &str) -> PathBuf {
        let quick = Target::host() == Some(self) && cargo_profile != DEVICE_PROFILE;
        let folder = if quick {
            target_dir.to_owned()
        } else {
            target_dir.join(self.triple())
        };
        folder.join(cargo_profile).join("zlayer")
    }

    fn map(self, target_dir: &Path, cargo_profile: &str) -> PathBuf {
        self.binary(target_dir, cargo_profile).with_extension("map")
    }
}

/// Targets as one argument: `x86_64,armv7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetList(pub(crate) Vec<Target>);

impl TargetList {
    /// Every target.
    pub(crate) fn all() -> TargetList {
        TargetList(Target::ALL.to_vec())
    }
}

/// At least one, each of them once, in the order given.
impl FromStr for TargetList {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let mut targets = Vec::new();
        for name in text.split(',') {
            let target: Target = name.trim().parse()?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(TargetList(targets))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_drops_repeats() {
        let TargetList(targets) = "armv7, x86_64,armv7".parse().unwrap();
        assert_eq!(targets, [Target::Armv7, Target::X86_64]);
    }

    #[test]
    fn an_unknown_or_empty_target_names_the_known_ones() {
        for text in ["", "arm", "x86_64,", "x86_64 aarch64"] {
            let error = text.parse::<TargetList>().unwrap_err().to_string();
            assert!(error.contains("x86_64, aarch64, armv7"), "{text}: {error}");
        }
    }

    /// `cross` reads its own file: it must name the targets that this tool builds, and no other.
    #[test]
    fn cross_toml_names_the_same_targets() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cross.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let mut there: Vec<&str> = table["target"]
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        there.sort_unstable();
        let mut ours = Target::ALL.map(Target::triple);
        ours.sort_unstable();
        assert_eq!(there, ours);
    }

    #[test]
    fn a_foreign_target_has_a_runner_and_every_one_a_folder_of_its_own() {
        for target in Target::ALL {
            let folder = Path::new("t").join(target.triple());
            assert_eq!(
                target.binary(Path::new("t"), "device"),
                folder.join("device/zlayer")
            );
            let runner = target.runner();
            if Target::host() == Some(target) {
                assert_eq!(runner, "");
                let quick = target.binary(Path::new("t"), "release");
                assert_eq!(quick, Path::new("t/release/zlayer"));
            } else {
                assert!(runner.ends_with(target.qemu()), "{runner}");
            }
        }
    }
}
