//! What a machine lacks, and where it comes from: decided from facts alone, so that it can be tested.

use anyhow::{Result, bail};

use crate::machine::{Machine, WASM_TRIPLE};
use crate::target::{BuildTarget, Target};

/// Debian's compiler with the standard library's source: builds for every target.
pub(crate) const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// rustup's name for the source of the standard library.
pub(crate) const RUST_SOURCE: &str = "rust-src";

/// What is to be installed, and from where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What to ask rustup for: targets, and the component [`RUST_SOURCE`].
    pub(crate) rustup: Vec<&'static str>,
    /// Debian packages.
    pub(crate) apt: Vec<&'static str>,
}

impl Plan {
    /// What is there is used as it is. What is missing of a compiler comes from rustup when it may
    /// be asked, else from Debian.
    pub(crate) fn new(machine: &Machine, scope: Scope, ask_rustup: bool) -> Result<Plan> {
        let mut plan = Plan::default();
        let has_target = |triple: &str| machine.rustup_targets.contains(triple);
        let mut absent = Vec::new();
        if !has_target(WASM_TRIPLE) {
            absent.push(WASM_TRIPLE);
        }
        if scope == Scope::Everything && machine.rust_source.is_none() {
            absent.push(RUST_SOURCE);
        }
        if !absent.is_empty() && !machine.debian_rust {
            if machine.rustup && ask_rustup {
                plan.rustup = absent.clone();
                if scope == Scope::Everything {
                    // For the C library that comes along; where rustup has none, Debian's does.
                    let triples = of_rustup(machine).filter(|triple| !has_target(triple));
                    plan.rustup.extend(triples);
                }
            } else {
                plan.apt.extend(DEBIAN_RUST);
            }
        }
        if absent.contains(&WASM_TRIPLE) && plan.rustup.is_empty() && !machine.wasm_linker {
            plan.apt.push("lld");
        }
        if !machine.cc {
            plan.apt.extend(["gcc", "libc6-dev"]);
        }
        if scope == Scope::Everything {
            for target in machine
                .foreign()
                .filter(|target| !machine.cross_gcc.contains(target))
            {
                plan.apt.extend(target.cross_packages());
            }
            if machine
                .foreign()
                .any(|target| !machine.qemu.contains(&target))
            {
                plan.apt.push("qemu-user-static");
            }
            if !machine.qemu_system {
                plan.apt.push("qemu-system-arm");
            }
            if !machine.mke2fs {
                plan.apt.push("e2fsprogs");
            }
            if !machine.strace {
                plan.apt.push("strace");
            }
            if !machine.skopeo {
                plan.apt.push("skopeo");
            }
        }
        plan.possible_on(machine)?;
        Ok(plan)
    }

    /// Nothing is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.rustup.is_empty() && self.apt.is_empty()
    }

    /// One line for each source that something is to come from.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        if !self.rustup.is_empty() {
            text += &format!("missing, from rustup: {}\n", self.rustup.join(" "));
        }
        if !self.apt.is_empty() {
            text += &format!("missing, Debian packages: {}\n", self.apt.join(" "));
        }
        text
    }

    fn possible_on(&self, machine: &Machine) -> Result<()> {
        if self.apt.is_empty() || (machine.apt && machine.may_install) {
            return Ok(());
        }
        let why = if machine.apt {
            "this user is not root and there is no sudo"
        } else {
            "there is no apt-get"
        };
        let packages = self.apt.join(" ");
        let rustup = if self.apt.contains(&DEBIAN_RUST[0]) {
            "\nrustup (https://rustup.rs) with the target wasm32-wasip2 and the component rust-src \
             does in place of the rust packages"
        } else {
            ""
        };
        bail!(
            "cannot install {packages}: {why}\n\
             install them, or your system's packages of the same content, and try again{rustup}"
        )
    }
}

/// What the machine is to be made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Host programs and guests.
    Host,
    /// Device binaries for every target as well, and emulators to test them.
    Everything,
}

/// The triples of device binaries that are built here and that rustup has a C library for.
fn of_rustup(machine: &Machine) -> impl Iterator<Item = &'static str> + '_ {
    let built = machine.host.into_iter().chain(machine.foreign());
    built
        .filter(|target| *target != Target::Armv7)
        .map(Target::triple)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const ARM: [Target; 2] = [Target::Aarch64, Target::Armv7];

    fn bare() -> Machine {
        Machine {
            host: Some(Target::X86_64),
            cc: true,
            apt: true,
            may_install: true,
            wasm_linker: true,
            ..Machine::default()
        }
    }

    fn with_cross(machine: Machine) -> Machine {
        Machine {
            cross_gcc: ARM.into(),
            qemu: ARM.into(),
            qemu_system: true,
            mke2fs: true,
            strace: true,
            skopeo: true,
            ..machine
        }
    }

    /// rustup with these targets, and with the source where that is asked for.
    fn with_rustup(machine: Machine, targets: &[&str], source: bool) -> Machine {
        Machine {
            rustup: true,
            rustup_targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            rust_source: source.then(|| "/rust".to_owned()),
            ..machine
        }
    }

    fn plan(machine: &Machine, ask_rustup: bool) -> Plan {
        Plan::new(machine, Scope::Everything, ask_rustup).unwrap()
    }

    fn debians_compiler() -> Plan {
        Plan {
            rustup: vec![],
            apt: DEBIAN_RUST.to_vec(),
        }
    }

    #[test]
    fn a_bare_machine_with_rustup_asks_it_and_takes_the_linkers_from_debian() {
        let plan = plan(&with_rustup(bare(), &[], false), true);
        assert_eq!(
            plan.rustup,
            [
                "wasm32-wasip2",
                "rust-src",
                "x86_64-unknown-linux-musl",
                "aarch64-unknown-linux-musl"
            ]
        );
        assert_eq!(
            plan.apt,
            [
                "gcc-aarch64-linux-gnu",
                "libc6-dev-arm64-cross",
                "gcc-arm-linux-gnueabihf",
                "libc6-dev-armhf-cross",
                "qemu-user-static",
                "qemu-system-arm",
                "e2fsprogs",
                "strace",
                "skopeo"
            ]
        );
    }

    #[test]
    fn when_rustup_cannot_fetch_debians_compiler_is_taken() {
        let without = with_cross(with_rustup(bare(), &[], false));
        assert_eq!(plan(&without, false), debians_compiler());
        // The target alone, or the source alone, is not enough.
        let target = with_cross(with_rustup(bare(), &[WASM_TRIPLE], false));
        assert_eq!(plan(&target, false), debians_compiler());
        let source = with_cross(with_rustup(bare(), &[], true));
        assert_eq!(plan(&source, false), debians_compiler());
    }

    #[test]
    fn a_c_library_that_rustup_cannot_fetch_is_no_hindrance() {
        let machine = with_cross(with_rustup(bare(), &[WASM_TRIPLE], true));
        assert!(plan(&machine, true).is_empty());
    }

    #[test]
    fn without_rustup_debians_compiler_is_taken_at_once() {
        assert_eq!(plan(&with_cross(bare()), true), debians_compiler());
    }

    #[test]
    fn what_is_there_is_used_and_nothing_is_installed() {
        let debian = Machine {
            debian_rust: true,
            ..with_cross(bare())
        };
        assert!(plan(&debian, true).is_empty());
        assert!(
            plan(&with_rustup(debian, &[], false), true).is_empty(),
            "rustup is not even asked"
        );
    }

    #[test]
    fn only_the_missing_part_is_installed() {
        let mut machine = with_cross(with_rustup(bare(), &[WASM_TRIPLE], true));
        machine.cross_gcc.remove(&Target::Armv7);
        machine.cc = false;
        let plan = plan(&machine, true);
        assert!(plan.rustup.is_empty());
        let packages = [
            "gcc",
            "libc6-dev",
            "gcc-arm-linux-gnueabihf",
            "libc6-dev-armhf-cross",
        ];
        assert_eq!(plan.apt, packages);
    }

    #[test]
    fn machines_need_an_emulator_and_what_makes_disks() {
        let machine = Machine {
            qemu_system: false,
            debian_rust: true,
            ..with_cross(bare())
        };
        assert_eq!(plan(&machine, true).apt, ["qemu-system-arm"]);
        let machine = Machine {
            mke2fs: false,
            debian_rust: true,
            ..with_cross(bare())
        };
        assert_eq!(plan(&machine, true).apt, ["e2fsprogs"]);
        let host = with_rustup(bare(), &[WASM_TRIPLE], true);
        let host = Plan::new(&host, Scope::Host, true);
        assert!(host.unwrap().is_empty());
    }

    #[test]
    fn guests_by_debians_compiler_need_a_linker() {
        let machine = Machine {
            debian_rust: true,
            wasm_linker: false,
            ..with_cross(bare())
        };
        assert_eq!(plan(&machine, true).apt, ["lld"]);
    }

    #[test]
    fn the_host_scope_wants_no_arm_toolchain() {
        let plan = Plan::new(&with_rustup(bare(), &[], false), Scope::Host, true).unwrap();
        assert_eq!(
            plan,
            Plan {
                rustup: vec!["wasm32-wasip2"],
                apt: vec![]
            }
        );
    }

    #[test]
    fn an_arm_host_does_not_cross_build_for_itself() {
        let machine = Machine {
            host: Some(Target::Aarch64),
            debian_rust: true,
            ..bare()
        };
        let apt = plan(&machine, true).apt;
        assert!(!apt.contains(&"gcc-aarch64-linux-gnu") && apt.contains(&"qemu-user-static"));
    }

    #[test]
    fn when_neither_way_is_open_the_error_says_what_would_mend_it() {
        let nothing = Machine {
            apt: false,
            ..with_cross(bare())
        };
        let error = Plan::new(&nothing, Scope::Everything, true)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("there is no apt-get") && error.contains("rustup.rs"),
            "{error}"
        );
        let user = Machine {
            may_install: false,
            debian_rust: true,
            ..bare()
        };
        let error = Plan::new(&user, Scope::Everything, true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("not root and there is no sudo"), "{error}");
        assert!(
            error.contains("gcc-aarch64-linux-gnu") && !error.contains("rustup"),
            "{error}"
        );
    }
}
