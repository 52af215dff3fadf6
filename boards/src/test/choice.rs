//! A part of the run: what the names on the command line mean, and what there is to name.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, bail, ensure};

use super::catalogue::{Catalogue, Kind, ONCE, Suite};
use super::steps::{self, Step};
use crate::Workspace;
use crate::command::Cmd;
use crate::target::{DEVICE_PROFILE, QUICK_PROFILE, Target};

/// What has a name and is no test: what it does, and how long that takes on two cores where nothing is
/// built yet.
const PARTS: [(&str, &str); 6] = [
    ("formatting", "rustfmt on all workspaces; a second"),
    ("wit", "wit/deps is what the crates give; a second"),
    (
        "dependencies",
        "licences and sources, by cargo-deny; seconds, and a minute where it is missing",
    ),
    ("lints", "clippy on all workspaces; 5 minutes"),
    ("guests", "builds the plugins that the tests run; 2 minutes"),
    (
        "machines",
        "boots ARM's device binaries, built before, in emulated machines; a minute",
    ),
];

/// What all end-to-end tests together are called.
const END_TO_END: &str = "e2e";

fn part(name: &str, workspace: &Workspace) -> Option<Step> {
    Some(match name {
        "formatting" => steps::formatting(),
        "wit" => steps::wit(workspace),
        "dependencies" => steps::dependencies(workspace, false),
        "lints" => steps::lints(),
        "guests" => steps::guests(workspace),
        "machines" => steps::machines(workspace),
        _ => return None,
    })
}

impl Suite {
    /// Whether `name` is that of the suite, or of its package, and not of some tests in it.
    fn is(&self, name: &str) -> bool {
        match self.kind {
            Kind::EndToEnd => name == END_TO_END,
            _ => {
                self.package
                    .strip_prefix("zlayer-")
                    .unwrap_or(&self.package)
                    == name
            }
        }
    }

    /// How many of the tests have `name` in theirs.
    fn count(&self, name: &str) -> usize {
        let tests = self.tests.iter();
        tests.filter(|test| test.contains(name)).count()
    }
}

/// The steps that names stand for: parts, packages, and whatever tests hold them in their own names.
/// Without a target the end-to-end tests get a quick daemon of `host`, else the device binary; and then
/// no other test runs. No name stands for all end-to-end tests.
pub(super) fn choose(
    names: &[String],
    target: Option<Target>,
    workspace: &Workspace,
    catalogue: &Catalogue,
    host: Target,
) -> Result<Vec<Step>> {
    let suites = &catalogue.suites;
    let all = [END_TO_END.to_owned()];
    let names = if names.is_empty() { &all[..] } else { names };
    let mut chosen = Vec::new();
    // What of each package runs, without a name all of it. Its end-to-end tests stand apart.
    let mut packages: BTreeMap<(&str, bool), Picked> = BTreeMap::new();
    for name in names {
        if let Some(step) = part(name, workspace) {
            ensure!(target.is_none(), "`{name}` is the same for every --target");
            chosen.push(step);
            continue;
        }
        let is_whole = suites.iter().any(|suite| suite.is(name));
        let has_some = |suite: &&Suite| match is_whole {
            true => suite.is(name),
            false => suite.count(name) > 0,
        };
        let found: Vec<&Suite> = suites.iter().filter(has_some).collect();
        ensure!(
            !found.is_empty(),
            "no test is called `{name}`, nor a package or part: `cargo boards test --list` prints them"
        );
        let runs_there = |suite: &&Suite| target.is_none() || suite.kind == Kind::EndToEnd;
        ensure!(
            found.iter().any(runs_there),
            "`{name}` runs on this machine alone: leave --target away"
        );
        for suite in found.into_iter().filter(runs_there) {
            let key = (suite.package.as_str(), suite.kind == Kind::EndToEnd);
            let picked = packages.entry(key).or_insert_with(|| Picked {
                kind: suite.kind,
                programs: Vec::new(),
                names: Some(Vec::new()),
            });
            picked.add(suite, name, is_whole);
        }
    }
    for ((package, is_end_to_end), picked) in packages {
        let names = picked.names.unwrap_or_default();
        if !is_end_to_end {
            chosen.push(steps::package(
                package,
                picked.kind,
                &picked.programs,
                &names,
            ));
            continue;
        }
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        chosen.extend(end_to_end(workspace, catalogue, target, host, &names)?);
    }
    Ok(chosen)
}

/// What of a package runs.
struct Picked<'a> {
    kind: Kind,
    programs: Vec<&'a str>,
    /// Nothing where all of it does.
    names: Option<Vec<&'a str>>,
}

impl<'a> Picked<'a> {
    fn add(&mut self, suite: &'a Suite, name: &'a str, is_whole: bool) {
        if !self.programs.contains(&suite.program.as_str()) {
            self.programs.push(&suite.program);
        }
        match &mut self.names {
            Some(names) if !is_whole => {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            _ => self.names = None,
        }
    }
}

/// What the end-to-end tests want, and they.
fn end_to_end(
    workspace: &Workspace,
    catalogue: &Catalogue,
    target: Option<Target>,
    host: Target,
    names: &[String],
) -> Result<Vec<Step>> {
    let (target, profile) = match target {
        None => (host, QUICK_PROFILE),
        Some(Target::X86_64) if host != Target::X86_64 => {
            bail!("this machine is {host}, and nobody builds for x86_64 there")
        }
        Some(target) => (target, DEVICE_PROFILE),
    };
    // Without the packages whose tests do not run, which would take minutes to build.
    let alone = Cmd::new("cargo", "test -p zlayer-tests --test e2e");
    Ok(vec![
        steps::guests(workspace),
        steps::precompiler(),
        steps::binary(workspace, target, profile, false),
        steps::end_to_end(alone, workspace, catalogue, target, profile, names),
    ])
}

/// What `--list` prints.
pub(super) fn list(catalogue: &Catalogue) -> String {
    let mut text =
        "Each of these is a NAME, and so is any part of a test's own name.\n\n".to_owned();
    // Writing to a string cannot fail.
    for (name, what) in PARTS {
        let _ = writeln!(text, "{name:<20} {what}");
    }
    text += "\npackage, number of tests: half a minute to build (the precompiler 5 minutes, the \
             runtime 3), then seconds\n";
    let mut packages: BTreeMap<&str, usize> = BTreeMap::new();
    let mut modules: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for suite in &catalogue.suites {
        if suite.kind != Kind::EndToEnd {
            let package = suite.package.strip_prefix("zlayer-");
            *packages
                .entry(package.unwrap_or(&suite.package))
                .or_default() += suite.tests.len();
            continue;
        }
        for test in &suite.tests {
            let module = test.split("::").next().unwrap_or(test);
            let (count, once) = modules.entry(module).or_default();
            *count += 1;
            *once += usize::from(catalogue.is_once(test));
        }
    }
    for (package, count) in packages {
        let _ = writeln!(text, "{package:<20} {count:>4}");
    }
    let _ = writeln!(
        text,
        "\n{END_TO_END}, from outside, by module: number of tests, and of those among them that run on the \
         host's own target alone ({ONCE}); 10 minutes to build what they want (a quick daemon; 5 more for a device \
         binary), then a second a test, under QEMU some"
    );
    for (module, (count, once)) in modules {
        let line = format!("{module:<20} {count:>4} {once:>4}");
        let _ = writeln!(text, "{}", line.trim_end_matches("    0").trim_end());
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::test::catalogue::PLUGINS;

    fn suite(package: &str, program: &str, kind: Kind, tests: &[&str]) -> Suite {
        Suite {
            package: package.to_owned(),
            program: program.to_owned(),
            kind,
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
        }
    }

    fn catalogue() -> Catalogue {
        let e2e = [
            "websocket::messages::echo",
            "websocket::once::autobahn",
            "tls::refused",
        ];
        let suites = vec![
            suite(
                "zlayer-http1",
                "--lib",
                Kind::Unit,
                &["websocket::tests::masks"],
            ),
            suite("zlayer-http1", "--test requests", Kind::Unit, &["heads"]),
            suite(
                "zlayer-precompile",
                "--lib",
                Kind::Optimised,
                &["check::tests::heads"],
            ),
            suite(
                "support",
                "--lib",
                Kind::Plugin(PLUGINS[1]),
                &["tests::json"],
            ),
            suite("zlayer-tests", "--test e2e", Kind::EndToEnd, &e2e),
        ];
        Catalogue {
            suites,
            once: vec!["websocket::once::".to_owned()],
        }
    }

    fn commands(names: &[&str], target: Option<Target>) -> Result<Vec<String>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let host = Target::host().unwrap();
        let steps = choose(&names, target, &Workspace::example(), &catalogue(), host)?;
        let commands = steps.iter().flat_map(|step| &step.commands);
        Ok(commands.map(Cmd::to_string).collect())
    }

    fn ends(names: &[&str], target: Option<Target>) -> Vec<String> {
        let commands = commands(names, target).unwrap().into_iter();
        let end = |line: String| line.strip_prefix("cargo ").map(str::to_owned);
        commands.filter_map(end).collect()
    }

    #[test]
    fn one_test_builds_its_own_program_alone() {
        assert_eq!(
            ends(&["masks"], None),
            ["test -p zlayer-http1 --lib -- masks"]
        );
        let heads = ends(&["heads", "masks"], None);
        assert_eq!(
            heads,
            [
                "test -p zlayer-http1 --test requests --lib -- heads masks",
                "test --release -p zlayer-precompile --lib -- heads",
            ]
        );
        let guest = ends(&["tests::json"], None).concat();
        assert!(
            guest.contains(GUESTS_OF_HOST) && guest.ends_with("-p support --lib -- tests::json")
        );
    }

    const GUESTS_OF_HOST: &str = "--target-dir target/guests-host";

    #[test]
    fn a_package_is_more_than_tests_of_its_name() {
        assert_eq!(
            ends(&["http1"], None),
            ["test -p zlayer-http1 --lib --test requests"]
        );
        let both = ends(&["masks", "http1"], None);
        assert_eq!(both, ["test -p zlayer-http1 --lib --test requests"]);
    }

    #[test]
    fn end_to_end_tests_get_what_they_want_and_a_quick_daemon() {
        let lines = commands(&["tls::refused"], None).unwrap();
        let host = Target::host().unwrap();
        assert!(lines[0].ends_with(" guests"), "{lines:?}");
        assert!(lines[1].ends_with("cargo build --release -p zlayer-precompile"));
        assert!(lines[2].ends_with(&format!(" build --target {host} --dev")));
        assert!(lines[3].ends_with("cargo test -p zlayer-tests --test e2e -- tls::refused"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_target_means_its_device_binary_and_no_unit_test() {
        let lines = commands(&["websocket"], Some(Target::Armv7)).unwrap();
        assert!(lines[2].ends_with(" build --target armv7"), "{lines:?}");
        assert!(lines[3].contains("ZLAYER_TARGET=armv7"));
        assert!(lines[3].ends_with("--test e2e -- websocket"));
        let all = commands(&[], Some(Target::Armv7)).unwrap();
        assert!(
            all[3].ends_with("--test e2e -- --skip websocket::once::"),
            "{all:?}"
        );
        for (name, part) in [
            ("masks", "leave --target away"),
            ("lints", "every --target"),
        ] {
            let error = commands(&[name], Some(Target::Armv7)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn what_there_is_not_is_an_error_that_says_where_to_look() {
        let error = commands(&["lints", "no_such_test"], None).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("no test is called `no_such_test`"),
            "{error}"
        );
        assert!(error.contains("--list"), "{error}");
    }

    #[test]
    fn the_list_has_everything_that_can_be_named() {
        let text = list(&catalogue());
        for (name, _) in PARTS {
            assert!(part(name, &Workspace::example()).is_some(), "{name}");
            assert!(text.contains(&format!("\n{name} ")), "{name} in {text}");
        }
        for line in [
            "http1                   2",
            "websocket               2    1",
            "tls                     1",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
    }
}
