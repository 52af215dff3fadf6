//! `cargo boards test`: everything that CI does, in order.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow};
use argh::FromArgs;

use crate::Workspace;
use crate::build::{DEVICE_PROFILE, QUICK_PROFILE, device_binary};
use crate::command::{Cmd, on_path};
use crate::kosoku;
use crate::plan::Scope;
use crate::room::{self, FULL_RUN, QUICK_RUN, Room};
use crate::setup::prepare;
use crate::sizes;
use crate::summary::Summary;
use crate::target::Target;
use crate::wit;

/// Runs all checks and tests in order, natively and under QEMU; stops at the first failure.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "test")]
pub(crate) struct Args {
    /// only formatting, lints, unit tests, and end-to-end tests of a quick native build
    #[argh(switch)]
    quick: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<()> {
    let host = Target::host().ok_or_else(|| {
        anyhow!(
            "the daemon does not run on {} machines",
            std::env::consts::ARCH
        )
    })?;
    let room = Room::of(&workspace.target_dir)?;
    room.check(if args.quick { QUICK_RUN } else { FULL_RUN })?;
    let mut skipped = Vec::new();
    let mut steps = if args.quick {
        skipped.push("wit/deps, dependency rules, device builds, sizes, QEMU (--quick)".to_owned());
        quick_steps(host)
    } else {
        all_steps(host, room.is_tight())
    };
    if !args.quick && Target::X86_64 != host {
        skipped.push(format!(
            "x86_64 (this machine is {host} and no one cross-builds for it)"
        ));
    }
    if let Err(reason) = kosoku::fetch(workspace) {
        skipped.push(format!("the Autobahn cases (no kosoku here: {reason})"));
    }
    if !on_path("cargo-deny") {
        steps.retain(|step| !matches!(step.work, Work::Deny));
        if !args.quick {
            skipped.push(
                "dependency rules (no cargo-deny here: `cargo install cargo-deny --locked`)".into(),
            );
        }
    }
    let mut summary = Summary::default();
    let result = steps.iter().try_for_each(|step| {
        println!("\n==== {}", step.name);
        let started = Instant::now();
        let result = step.work.run(workspace);
        summary.add(&step.name, started.elapsed(), result.is_ok());
        result.map_err(|error| error.context(format!("step `{}` failed", step.name)))
    });
    println!("\n==== summary\n{}", summary.table(steps.len()));
    let skipped = if skipped.is_empty() {
        "nothing".to_owned()
    } else {
        skipped.join("; ")
    };
    println!("skipped: {skipped}");
    result
}

/// One heading in the output, one line in the summary.
struct Step {
    name: String,
    work: Work,
}

/// What a step does.
enum Work {
    /// Installs what this machine lacks.
    Setup,
    /// Compares wit/deps with what the published crates give.
    Wit,
    /// Commands, one after the other.
    Run(Vec<Cmd>),
    /// Licences and sources of all dependencies. Advisories change without us: no test of a commit.
    Deny,
    /// The guests of the tests.
    Guests,
    /// A device binary.
    Binary(Target, &'static str),
    /// Clears away what a device build leaves beside the binary.
    Clear(Target),
    /// Weighs the device binaries.
    Sizes(Vec<Target>),
    /// The end-to-end tests against a device binary.
    EndToEnd(Target, &'static str),
}

impl Work {
    fn run(&self, workspace: &Workspace) -> Result<()> {
        match self {
            Work::Setup => prepare(&workspace.root, Scope::Everything),
            Work::Wit => wit::check(&workspace.root),
            Work::Run(commands) => commands
                .iter()
                .try_for_each(|cmd| once(cmd).run(&workspace.root)),
            Work::Deny => {
                Cmd::new("cargo", "deny check licenses bans sources").run(&workspace.root)
            }
            Work::Guests => crate::guests::main(&workspace.root),
            Work::Binary(target, profile) => device_binary(*target, profile, workspace),
            Work::Clear(target) => room::clear(*target, &workspace.target_dir),
            Work::Sizes(targets) => sizes::check(targets, workspace),
            Work::EndToEnd(target, profile) => {
                once(&end_to_end(*target, profile, workspace)).run(&workspace.root)
            }
        }
    }
}

/// A command that keeps no incremental state: a fresh checkout never uses it, and it is 1.2 GB.
fn once(cmd: &Cmd) -> Cmd {
    cmd.clone().env("CARGO_INCREMENTAL", "0")
}

/// On a tight disk nothing of a device build stays but the binary.
fn all_steps(host: Target, is_tight: bool) -> Vec<Step> {
    // The host goes first: what is wrong everywhere shows soonest there.
    let mut targets = vec![host];
    targets.extend(
        Target::ALL
            .into_iter()
            .filter(|t| *t != host && *t != Target::X86_64),
    );
    let mut steps = vec![
        step("setup", Work::Setup),
        step("wit/deps is what the crates give", Work::Wit),
        formatting(),
        lints(),
        step("dependency rules", Work::Deny),
        step("guests", Work::Guests),
        precompiler(),
        unit_tests(),
    ];
    for target in &targets {
        let work = Work::Binary(*target, DEVICE_PROFILE);
        steps.push(step(format!("device binary, {target}"), work));
        if is_tight {
            let work = Work::Clear(*target);
            steps.push(step(format!("room on the disk, {target}"), work));
        }
    }
    steps.push(step("sizes", Work::Sizes(targets.clone())));
    for target in targets {
        let how = if target == host {
            "natively"
        } else {
            "under QEMU"
        };
        let work = Work::EndToEnd(target, DEVICE_PROFILE);
        steps.push(step(format!("end to end, {target} {how}"), work));
    }
    steps
}

fn quick_steps(host: Target) -> Vec<Step> {
    vec![
        formatting(),
        lints(),
        unit_tests(),
        step("guests", Work::Guests),
        precompiler(),
        step(
            format!("quick binary, {host}"),
            Work::Binary(host, QUICK_PROFILE),
        ),
        step(
            format!("end to end, {host} natively"),
            Work::EndToEnd(host, QUICK_PROFILE),
        ),
    ]
}

fn step(name: impl Into<String>, work: Work) -> Step {
    Step {
        name: name.into(),
        work,
    }
}

fn formatting() -> Step {
    step(
        "formatting",
        Work::Run(vec![
            Cmd::new("cargo", "fmt --all --check"),
            Cmd::new(
                "cargo",
                "fmt --all --check --manifest-path tests/guests/Cargo.toml",
            ),
        ]),
    )
}

/// Cargo on the guests' own workspace, for the host: a compiler without WebAssembly's standard
/// library can check them no other way.
fn guests(verb: &str, packages: &str) -> Cmd {
    Cmd::new(
        "cargo",
        &format!(
            "{verb} --locked --manifest-path tests/guests/Cargo.toml --target-dir target/guests-host {packages}"
        ),
    )
}

/// Device and host packages apart: together, cargo would unify their features, and the runtime
/// would be checked with a compiler in its engine.
fn lints() -> Step {
    let clippy = |packages: &str| {
        Cmd::new(
            "cargo",
            &format!("clippy {packages} --all-targets -- -D warnings"),
        )
    };
    step(
        "lints",
        Work::Run(vec![
            clippy("-p zlayer-http1 -p zlayer-binlog -p zlayer-bundle -p zlayer-runtime"),
            clippy("-p zlayer-precompile -p zlayer-boards -p zlayer-tests"),
            // These three use instructions that the host does not have.
            guests(
                "clippy",
                "--workspace --exclude hostile --exclude hostile-plugin --exclude indiscreet \
                 --all-targets -- -D warnings",
            ),
        ]),
    )
}

fn precompiler() -> Step {
    let cmd = Cmd::new("cargo", "build --release -p zlayer-precompile");
    step("precompiler", Work::Run(vec![cmd]))
}

/// The precompiler's tests compile plugins: in an unoptimised build they, and building it a second
/// time, would take longer than all others together.
fn unit_tests() -> Step {
    step(
        "unit tests",
        Work::Run(vec![
            Cmd::new(
                "cargo",
                "test -p zlayer-http1 -p zlayer-binlog -p zlayer-bundle -p zlayer-runtime",
            ),
            Cmd::new("cargo", "test -p zlayer-boards"),
            Cmd::new("cargo", "test --release -p zlayer-precompile"),
            guests(
                "test --lib",
                "-p exact-limiter -p http-echo-headers -p jwt-authenticator -p smart-cache -p support",
            ),
        ]),
    )
}

fn end_to_end(target: Target, profile: &str, workspace: &Workspace) -> Cmd {
    let binary = target.binary(&workspace.target_dir, profile);
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    Cmd::new("cargo", "test -p zlayer-tests --test e2e")
        .env("ZLAYER_BIN", path(binary))
        .env("ZLAYER_TARGET", target.name())
        .env("ZLAYER_RUNNER", target.runner())
        .env("ZLAYER_PRECOMPILE", path(workspace.precompile()))
        .env("ZLAYER_GUESTS", path(workspace.guests()))
        .env("ZLAYER_KOSOKU", path(kosoku::program(workspace)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn commands(steps: &[Step]) -> Vec<String> {
        let lists = steps.iter().filter_map(|step| match &step.work {
            Work::Run(commands) => Some(commands),
            _ => None,
        });
        lists.flatten().map(Cmd::to_string).collect()
    }

    fn position(steps: &[Step], name: &str) -> usize {
        let found = steps.iter().position(|step| step.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no step {name}"))
    }

    #[test]
    fn every_target_is_built_weighed_and_tested_and_in_that_order() {
        let steps = all_steps(Target::X86_64, false);
        let sizes = position(&steps, "sizes");
        for target in ["x86_64 natively", "aarch64 under QEMU", "armv7 under QEMU"] {
            let name = target.split_once(' ').unwrap().0;
            assert!(position(&steps, &format!("device binary, {name}")) < sizes);
            assert!(position(&steps, &format!("end to end, {target}")) > sizes);
        }
        for before in ["setup", "guests", "precompiler"] {
            assert!(position(&steps, before) < position(&steps, "end to end"));
        }
    }

    #[test]
    fn a_tight_disk_holds_one_device_build_at_a_time() {
        let steps = all_steps(Target::X86_64, true);
        let clears = |step: &Step| matches!(step.work, Work::Clear(_));
        for (at, step) in steps.iter().enumerate() {
            if let Work::Binary(built, _) = step.work {
                let next = &steps[at + 1].work;
                assert!(
                    matches!(next, Work::Clear(target) if *target == built),
                    "{}",
                    step.name
                );
            }
        }
        assert_eq!(steps.iter().filter(|step| clears(step)).count(), 3);
        for steps in [
            all_steps(Target::X86_64, false),
            quick_steps(Target::X86_64),
        ] {
            assert!(!steps.iter().any(clears));
        }
    }

    #[test]
    fn every_package_is_linted_and_tested_the_runtime_never_beside_the_compiler() {
        for steps in [
            all_steps(Target::X86_64, false),
            quick_steps(Target::X86_64),
        ] {
            let commands = commands(&steps);
            for package in [
                "http1",
                "binlog",
                "bundle",
                "runtime",
                "precompile",
                "boards",
            ] {
                for verb in ["clippy", "test"] {
                    let package = format!("-p zlayer-{package}");
                    let verb = format!("cargo {verb} ");
                    let found = |c: &&String| c.starts_with(&verb) && c.contains(&package);
                    let count = commands.iter().filter(found).count();
                    assert_eq!(count, 1, "{verb} {package}");
                }
            }
            for command in commands {
                let has = |package| command.contains(package);
                assert!(
                    !(has("zlayer-runtime") && has("zlayer-precompile")),
                    "{command}"
                );
                let is_guests = has("--manifest-path tests/guests/Cargo.toml");
                assert!(is_guests || !has("--workspace"), "{command}");
            }
        }
    }

    #[test]
    fn quick_builds_nothing_with_link_time_optimisation() {
        for step in quick_steps(Target::X86_64) {
            let device = matches!(
                step.work,
                Work::Binary(_, DEVICE_PROFILE) | Work::EndToEnd(_, DEVICE_PROFILE)
            );
            assert!(!device, "{}", step.name);
        }
    }

    #[test]
    fn end_to_end_tests_are_told_what_to_run_and_how() {
        let workspace = Workspace {
            root: "r".into(),
            target_dir: "t".into(),
        };
        let foreign = if Target::host() == Some(Target::Armv7) {
            Target::Aarch64
        } else {
            Target::Armv7
        };
        let shown = end_to_end(foreign, DEVICE_PROFILE, &workspace).to_string();
        for part in [
            format!("ZLAYER_BIN=t/{}/device/zlayer ", foreign.triple()),
            format!("ZLAYER_TARGET={foreign} "),
            format!("ZLAYER_RUNNER='{} -L /usr/", foreign.qemu()),
            "ZLAYER_PRECOMPILE=t/release/zlayer-precompile ".to_owned(),
            "ZLAYER_GUESTS=r/target/guests ".to_owned(),
            "cargo test -p zlayer-tests --test e2e".to_owned(),
        ] {
            assert!(shown.contains(&part), "{part} in {shown}");
        }
        let host = Target::host().unwrap();
        let shown = end_to_end(host, QUICK_PROFILE, &workspace).to_string();
        assert!(shown.contains("ZLAYER_BIN=t/release/zlayer "), "{shown}");
        assert!(shown.contains("ZLAYER_RUNNER='' "), "{shown}");
    }
}
