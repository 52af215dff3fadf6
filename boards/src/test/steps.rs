//! What a run does: steps, each of some commands, in lanes.

use std::path::PathBuf;

use super::catalogue::{Catalogue, FUZZ, Kind, PLUGINS};
use crate::Workspace;
use crate::command::Cmd;
use crate::kosoku;
use crate::target::{BuildTarget, DEVICE_PROFILE, QUICK_PROFILE, Target};

/// One heading in the output, one line in the summary.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: String,
    /// Steps of a lane run one after the other.
    pub(super) lane: Lane,
    /// Steps of other lanes that have to pass before.
    pub(super) after: Vec<String>,
    pub(super) commands: Vec<Cmd>,
}

/// What runs beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Device binaries, whose link-time optimisation keeps one core busy.
    Binaries,
    /// Programs of others, and the check that is theirs alone. They get what the other two leave.
    Tools,
    /// All else.
    Checks,
}

impl Lane {
    pub(super) const ALL: [Lane; 3] = [Lane::Binaries, Lane::Tools, Lane::Checks];
}

fn step(name: impl Into<String>, commands: Vec<Cmd>) -> Step {
    Step {
        name: name.into(),
        lane: Lane::Checks,
        after: Vec::new(),
        commands,
    }
}

impl Step {
    fn after(mut self, name: impl Into<String>) -> Step {
        self.after.push(name.into());
        self
    }

    fn beside(mut self, lane: Lane) -> Step {
        self.lane = lane;
        self
    }

    /// Whether one of its commands has this word.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.commands.iter().any(|cmd| cmd.has_word(word))
    }
}

/// A verb of this program, as a command of its own.
fn boards(workspace: &Workspace, words: &str) -> Cmd {
    Cmd::new(workspace.boards_program.to_string_lossy(), words)
}

fn cargo(words: &str) -> Cmd {
    Cmd::new("cargo", words)
}

/// The steps of a whole run, whose cargo keeps no incremental state: a fresh checkout never uses it, and it
/// is 1.2 GB.
fn afresh(mut steps: Vec<Step>) -> Vec<Step> {
    for cmd in steps.iter_mut().flat_map(|step| &mut step.commands) {
        if cmd.has_word("test") || cmd.has_word("clippy") {
            *cmd = cmd.clone().env("CARGO_INCREMENTAL", "0");
        }
    }
    steps
}

/// Everything. The host's target goes first: what is wrong everywhere shows soonest there. On a tight disk
/// nothing of a device build stays but the binary.
pub(super) fn full(
    workspace: &Workspace,
    catalogue: &Catalogue,
    host: Target,
    tight: bool,
) -> Vec<Step> {
    let mut targets = vec![host];
    targets.extend(
        Target::ALL
            .into_iter()
            .filter(|target| *target != host && *target != Target::X86_64),
    );
    let mut steps = vec![
        setup(workspace),
        wit(workspace),
        formatting(),
        lints(),
        unit_tests(catalogue),
        guests(workspace),
        // One of them is of what wkg pushes and pulls.
        precompiler_tests().after(TOOLS),
        tools(workspace).beside(Lane::Tools).after(SETUP),
        dependencies(workspace, true).beside(Lane::Tools),
    ];
    for target in &targets {
        let binary = binary(workspace, *target, DEVICE_PROFILE, tight);
        steps.push(binary.beside(Lane::Binaries).after(SETUP));
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
    let sizes = format!("sizes --target {}", names.join(","));
    steps.push(step(SIZES, vec![boards(workspace, &sizes)]).beside(Lane::Binaries));
    for target in targets {
        // By then no build is left that would take the processor away from tests that wait for something.
        let tests = unoptimised("--test e2e");
        let tests = end_to_end(tests, workspace, catalogue, target, DEVICE_PROFILE, &[]);
        steps.push(tests.after(SIZES));
    }
    steps.push(machines(workspace).after(SIZES));
    afresh(steps)
}

/// What shows most in the least time.
pub(super) fn quick(workspace: &Workspace, catalogue: &Catalogue, host: Target) -> Vec<Step> {
    afresh(vec![
        formatting(),
        lints(),
        unit_tests(catalogue),
        guests(workspace),
        precompiler_tests(),
        binary(workspace, host, QUICK_PROFILE, false),
        end_to_end(
            unoptimised("--test e2e"),
            workspace,
            catalogue,
            host,
            QUICK_PROFILE,
            &[],
        ),
    ])
}

/// Names that other steps wait for.
const SETUP: &str = "setup";
const TOOLS: &str = "tools from crates.io";
const SIZES: &str = "sizes";

fn setup(workspace: &Workspace) -> Step {
    step(SETUP, vec![boards(workspace, "setup --system")])
}

fn tools(workspace: &Workspace) -> Step {
    step(TOOLS, vec![boards(workspace, "setup --tools")])
}

pub(super) fn wit(workspace: &Workspace) -> Step {
    let cmd = boards(workspace, "wit --check");
    step("wit/deps is what the crates give", vec![cmd])
}

pub(super) fn formatting() -> Step {
    let all = Cmd::new("cargo", "fmt --all --check");
    let plugins = PLUGINS.map(|workspace| all.clone().arg("--manifest-path").arg(workspace));
    step("formatting", [all].into_iter().chain(plugins).collect())
}

/// Licences and sources of all dependencies. Of a whole run that may be left out where there is no cargo-deny.
pub(super) fn dependencies(workspace: &Workspace, may_skip: bool) -> Step {
    let words = if may_skip { "deny --may-skip" } else { "deny" };
    step("dependency rules", vec![boards(workspace, words)])
}

/// All packages at once, although a build of them together would put a compiler into the runtime's
/// engine: nothing that is checked here is ever run, and what they share is checked once.
pub(super) fn lints() -> Step {
    let [examples, guests, authors] = PLUGINS;
    step(
        "lints",
        vec![
            cargo("clippy --workspace --all-targets -- -D warnings"),
            plugins_on_host(
                examples,
                "clippy",
                "--workspace --all-targets -- -D warnings",
            ),
            // These three use instructions that the host does not have.
            plugins_on_host(
                guests,
                "clippy",
                "--workspace --exclude hostile --exclude hostile-plugin --exclude indiscreet \
                 --all-targets -- -D warnings",
            ),
            plugins_on_host(
                authors,
                "clippy",
                "--workspace --all-targets -- -D warnings",
            ),
            fuzz_targets(),
        ],
    )
}

/// The fuzz targets are built by nobody here: this tells whether what they call is still there. They
/// share the target folder, and so most of what they want is checked already.
fn fuzz_targets() -> Cmd {
    cargo(&format!(
        "clippy --locked --target-dir target --manifest-path {FUZZ} -- -D warnings"
    ))
}

/// Cargo on one of the plugins' own workspaces, for the host: a compiler without WebAssembly's standard
/// library can check them no other way.
fn plugins_on_host(workspace: &str, verb: &str, words: &str) -> Cmd {
    let shared = "--locked --target-dir target/guests-host --manifest-path";
    cargo(&format!("{verb} {shared} {workspace} {words}"))
}

/// Unit tests of everything but the precompiler, which is built with optimisation.
fn unit_tests(catalogue: &Catalogue) -> Step {
    let mut programs: Vec<&str> = Vec::new();
    let mut plugins = PLUGINS.map(|_| Vec::new());
    for suite in &catalogue.suites {
        match suite.kind {
            Kind::Unit if !programs.contains(&suite.program.as_str()) => {
                programs.push(&suite.program);
            }
            Kind::Plugin(workspace) => {
                for (packages, other) in plugins.iter_mut().zip(PLUGINS) {
                    if other == workspace && !packages.contains(&&suite.package) {
                        packages.push(&suite.package);
                    }
                }
            }
            _ => {}
        }
    }
    let mut commands = vec![
        unoptimised(&programs.join(" ")),
        // The examples of their documentation.
        unoptimised("--doc"),
    ];
    for (workspace, packages) in PLUGINS.into_iter().zip(plugins) {
        if !packages.is_empty() {
            let verb = "test --lib --examples";
            commands.push(plugins_on_host(workspace, verb, &named(packages)));
        }
    }
    // How the crate for authors of plugins is used stands in its documentation.
    let [.., authors] = PLUGINS;
    commands.push(plugins_on_host(authors, "test --doc", ""));
    step("unit tests", commands)
}

/// Tests of all packages but the precompiler, these programs of them. Each such command names the same
/// packages, so that cargo chooses the same features for what they share and builds it once.
fn unoptimised(programs: &str) -> Cmd {
    cargo(&format!(
        "test --workspace --exclude zlayer-precompile {programs}"
    ))
}

/// Packages as cargo is told of them.
fn named<'a>(packages: impl IntoIterator<Item = &'a String>) -> String {
    let packages = packages.into_iter().map(|package| format!("-p {package}"));
    packages.collect::<Vec<_>>().join(" ")
}

pub(super) fn guests(workspace: &Workspace) -> Step {
    step("guests", vec![boards(workspace, "guests")])
}

pub(super) fn precompiler() -> Step {
    step(
        "precompiler",
        vec![cargo("build --release -p zlayer-precompile")],
    )
}

/// They compile plugins: in an unoptimised build they would take longer than all others together. The
/// program comes last, as users build it: its tests bring features along, also into the one that they
/// leave behind.
fn precompiler_tests() -> Step {
    let mut step = precompiler();
    let tests = cargo("test --release -p zlayer-precompile");
    step.commands.insert(0, tests);
    step.name = "precompiler and its tests".to_owned();
    step
}

pub(super) fn binary(workspace: &Workspace, target: Target, profile: &str, lean: bool) -> Step {
    let (kind, flag) = match profile {
        DEVICE_PROFILE => ("device", ""),
        _ => ("quick", " --dev"),
    };
    let lean = if lean { " --lean" } else { "" };
    let cmd = boards(workspace, &format!("build --target {target}{flag}{lean}"));
    step(format!("{kind} binary, {target}"), vec![cmd])
}

/// The end-to-end tests whose names hold one of these, or all, which `cargo` builds and runs. On a foreign
/// processor all are those that may show something else there.
pub(super) fn end_to_end(
    cargo: Cmd,
    workspace: &Workspace,
    catalogue: &Catalogue,
    target: Target,
    profile: &str,
    names: &[String],
) -> Step {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut cmd = cargo
        .env(
            "ZLAYER_BIN",
            path(target.binary(&workspace.target_dir, profile)),
        )
        .env("ZLAYER_TARGET", target.name())
        .env("ZLAYER_RUNNER", target.runner())
        .env("ZLAYER_PRECOMPILE", path(workspace.precompile()))
        .env("ZLAYER_GUESTS", path(workspace.guests()))
        .env("ZLAYER_KOSOKU", path(kosoku::program(workspace)));
    if std::env::var_os(THREADS).is_none() {
        // Half of the time a test waits for something to be over.
        cmd = cmd.env(THREADS, (2 * processors()).to_string());
    }
    let is_foreign = Target::host() != Some(target);
    if !names.is_empty() {
        cmd = names.iter().fold(cmd.arg("--"), |cmd, name| cmd.arg(name));
    } else if is_foreign {
        let entries = catalogue.once.iter();
        cmd = entries.fold(cmd.arg("--"), |cmd, entry| cmd.arg("--skip").arg(entry));
    }
    let how = match is_foreign {
        true => "under QEMU",
        false => "natively",
    };
    step(format!("end to end, {target} {how}"), vec![cmd])
}

/// The device binaries for ARM in whole machines.
pub(super) fn machines(workspace: &Workspace) -> Step {
    let cmd = boards(workspace, "bench --machine --short");
    step("whole machines", vec![cmd])
}

/// How many tests run at a time, as cargo's test programs read it.
const THREADS: &str = "RUST_TEST_THREADS";

/// How many programs run at a time here.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tests of one package on the host: these programs of it, and there those whose names hold one of these;
/// without names all.
pub(super) fn package(package: &str, kind: Kind, programs: &[&str], names: &[&str]) -> Step {
    let programs = programs.join(" ");
    let words = format!("-p {package} {programs}");
    let cmd = match kind {
        Kind::Plugin(workspace) => plugins_on_host(workspace, "test", &words),
        Kind::Optimised => cargo(&format!("test --release {words}")),
        Kind::Unit | Kind::EndToEnd => cargo(&format!("test {words}")),
    };
    let cmd = match names {
        [] => cmd,
        _ => names.iter().fold(cmd.arg("--"), |cmd, name| cmd.arg(*name)),
    };
    step(format!("tests of {package}"), vec![cmd])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::Path;

    use super::*;

    fn catalogue() -> Catalogue {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Catalogue::read(root).unwrap()
    }

    fn full_of(tight: bool) -> Vec<Step> {
        let host = Target::host().unwrap();
        full(&Workspace::example(), &catalogue(), host, tight)
    }

    fn both() -> [Vec<Step>; 2] {
        let host = Target::host().unwrap();
        [
            full_of(false),
            quick(&Workspace::example(), &catalogue(), host),
        ]
    }

    fn commands(steps: &[Step]) -> Vec<String> {
        let commands = steps.iter().flat_map(|step| &step.commands);
        commands.map(Cmd::to_string).collect()
    }

    fn find<'a>(steps: &'a [Step], name: &str) -> &'a Step {
        let found = steps.iter().find(|step| step.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no step {name}"))
    }

    fn position(steps: &[Step], name: &str) -> usize {
        let name = &find(steps, name).name;
        steps.iter().position(|step| step.name == *name).unwrap()
    }

    #[test]
    fn every_target_is_built_weighed_and_tested_and_in_that_order() {
        let steps = full_of(false);
        for target in Target::ALL {
            let built = find(&steps, &format!("device binary, {target}"));
            assert!(built.lane == Lane::Binaries && built.after == [SETUP]);
            assert!(position(&steps, &built.name) < position(&steps, SIZES));
            let tested = find(&steps, &format!("end to end, {target} "));
            assert!(tested.lane == Lane::Checks && tested.after == [SIZES]);
            for before in [SETUP, "guests", "precompiler"] {
                assert!(find(&steps, before).lane == Lane::Checks);
                assert!(position(&steps, before) < position(&steps, &tested.name));
            }
        }
        let weighed = commands(&[find(&steps, SIZES).clone()]);
        assert_eq!(weighed, ["boards sizes --target x86_64,aarch64,armv7"]);
    }

    #[test]
    fn machines_are_booted_once_what_they_get_is_built() {
        let steps = full_of(false);
        let booted = find(&steps, "whole machines");
        assert!(booted.lane == Lane::Checks && booted.after == [SIZES]);
        for before in [SETUP, "guests", "precompiler"] {
            assert!(position(&steps, before) < position(&steps, &booted.name));
        }
        assert_eq!(
            commands(std::slice::from_ref(booted)),
            ["boards bench --machine --short"]
        );
    }

    #[test]
    fn tools_come_beside_all_else_and_before_what_wants_them() {
        let steps = full_of(false);
        let tools = find(&steps, TOOLS);
        assert!(tools.lane == Lane::Tools && tools.after == [SETUP]);
        let rules = find(&steps, "dependency rules");
        assert!(rules.lane == Lane::Tools);
        assert!(position(&steps, TOOLS) < position(&steps, "dependency rules"));
        let tested = find(&steps, "precompiler and its tests");
        assert!(tested.lane == Lane::Checks && tested.after == [TOOLS]);
    }

    #[test]
    fn no_step_waits_for_one_that_never_comes() {
        for steps in both() {
            for step in &steps {
                for name in &step.after {
                    let other = find(&steps, name);
                    assert!(other.name == *name, "{name}");
                    // Within a lane the order is enough, and against it nobody would ever begin.
                    assert!(
                        other.lane != step.lane
                            || position(&steps, name) < position(&steps, &step.name)
                    );
                }
            }
        }
    }

    #[test]
    fn a_foreign_processor_is_spared_what_the_host_has_shown() {
        for target in Target::ALL {
            let step = end_to_end(
                unoptimised("--test e2e"),
                &Workspace::example(),
                &catalogue(),
                target,
                DEVICE_PROFILE,
                &[],
            );
            let shown = commands(&[step]).concat();
            let is_foreign = Target::host() != Some(target);
            let part = " --skip dependencies:: --skip ";
            assert_eq!(shown.contains(part), is_foreign, "{shown}");
            let part = format!("ZLAYER_BIN=t/{}/device/zlayer ", target.triple());
            assert!(shown.contains(&part), "{shown}");
        }
    }

    #[test]
    fn a_tight_disk_holds_one_device_build_at_a_time() {
        for (tight, lean) in [(true, 3), (false, 0)] {
            let commands = commands(&full_of(tight));
            let found = commands.iter().filter(|cmd| cmd.ends_with(" --lean"));
            assert_eq!(found.count(), lean);
        }
    }

    #[test]
    fn every_package_is_linted_and_tested_the_runtime_never_beside_the_compiler() {
        for steps in both() {
            let commands = commands(&steps);
            let of = |verb: &str| {
                let verb = format!("cargo {verb} ");
                let all = commands.iter().filter(move |cmd| cmd.contains(&verb));
                all.collect::<Vec<&String>>()
            };
            let lints = of("clippy");
            let (fuzzed, lints): (Vec<&String>, Vec<&String>) =
                lints.into_iter().partition(|lint| lint.contains(FUZZ));
            assert_eq!((lints.len(), fuzzed.len()), (1 + PLUGINS.len(), 1));
            assert!(lints.iter().all(|lint| lint.contains(" --workspace ")));
            let has = |cmd: &str, words: &str| format!("{cmd} ").contains(&format!(" {words} "));
            for suite in catalogue().suites {
                let package = format!("-p {}", suite.package);
                let tests = of("test").into_iter();
                let tested = match suite.kind {
                    Kind::Unit => tests
                        .filter(|cmd| has(cmd, "--workspace") && has(cmd, &suite.program))
                        .count(),
                    Kind::Optimised | Kind::Plugin(_) => {
                        tests.filter(|cmd| has(cmd, &package)).count()
                    }
                    // Each target's are looked at below.
                    Kind::EndToEnd => continue,
                };
                assert_eq!(tested, 1, "{suite:?}");
            }
            let count = |words: &str| of("test").iter().filter(|cmd| has(cmd, words)).count();
            let runtime_alone = "--workspace --exclude zlayer-precompile";
            assert_eq!(count(&format!("{runtime_alone} --doc")), 1);
            let end_to_end = steps
                .iter()
                .filter(|step| step.name.starts_with("end to end"));
            assert_eq!(
                count(&format!("{runtime_alone} --test e2e")),
                end_to_end.count()
            );
            for cmd in of("test").iter().filter(|cmd| has(cmd, "--workspace")) {
                assert!(has(cmd, "--exclude zlayer-precompile"), "{cmd}");
            }
        }
    }

    #[test]
    fn quick_builds_nothing_with_link_time_optimisation() {
        for step in &both()[1] {
            assert_eq!(step.lane, Lane::Checks, "{}", step.name);
            assert!(!step.name.contains("device"), "{}", step.name);
        }
    }

    #[test]
    fn end_to_end_tests_are_told_what_to_run_and_how() {
        let foreign = match Target::host() {
            Some(Target::Armv7) => Target::Aarch64,
            _ => Target::Armv7,
        };
        let names = ["one".to_owned(), "two".to_owned()];
        let step = end_to_end(
            unoptimised("--test e2e"),
            &Workspace::example(),
            &catalogue(),
            foreign,
            DEVICE_PROFILE,
            &names,
        );
        let shown = commands(&[step]).concat();
        for part in [
            format!("ZLAYER_TARGET={foreign} "),
            format!("{}' ZLAYER_PRECOMPILE", foreign.qemu()),
            "ZLAYER_PRECOMPILE=t/release/zlayer-precompile ".to_owned(),
            "ZLAYER_GUESTS=r/target/guests ".to_owned(),
            " --exclude zlayer-precompile --test e2e -- one two".to_owned(),
        ] {
            assert!(shown.contains(&part), "{part} in {shown}");
        }
        let host = Target::host().unwrap();
        let step = end_to_end(
            unoptimised("--test e2e"),
            &Workspace::example(),
            &catalogue(),
            host,
            QUICK_PROFILE,
            &[],
        );
        let shown = commands(&[step]).concat();
        assert!(shown.contains("ZLAYER_BIN=t/release/zlayer "), "{shown}");
        assert!(shown.contains("ZLAYER_RUNNER='' "), "{shown}");
    }
}
