//! Every test there is, read from the sources: a name is found, or told to be none, before anything
//! is built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::Cmd;

/// Plugins are WebAssembly, so they are workspaces of their own: those to be copied, those for tests, and
/// the crate that authors of plugins use.
pub(super) const PLUGINS: [&str; 3] = [
    "examples/Cargo.toml",
    "tests/guests/Cargo.toml",
    "wit/rust/Cargo.toml",
];

/// The fuzz targets of all crates, which have no tests.
pub(super) const FUZZ: &str = "tests/fuzz/Cargo.toml";

/// Where it says which end-to-end tests show the same on every processor.
pub(super) const ONCE: &str = "tests/e2e/once.txt";

/// All suites, and what of the end-to-end tests runs on the host's own target alone.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// Those that have tests, of the workspace and of the plugins.
    pub(super) suites: Vec<Suite>,
    /// Tests, and modules with `::` behind them, as [`ONCE`] lists them.
    pub(super) once: Vec<String>,
}

impl Catalogue {
    /// Reads the sources below `root`.
    pub(super) fn read(root: &Path) -> Result<Catalogue> {
        let text = fs::read_to_string(root.join(ONCE));
        let text = text.with_context(|| format!("cannot read {ONCE}"))?;
        let lines = text.lines().map(str::trim);
        let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut catalogue = Catalogue {
            suites: Vec::new(),
            once: entries.map(str::to_owned).collect(),
        };
        for package in packages(root, "Cargo.toml")? {
            catalogue.add(&package, kind)?;
        }
        for workspace in PLUGINS {
            for package in packages(root, workspace)? {
                catalogue.add(&package, |_, _| Kind::Plugin(workspace))?;
            }
        }
        Ok(catalogue)
    }

    /// Adds what a package has of programs with tests.
    fn add(&mut self, package: &Package, kind: impl Fn(&str, &Program) -> Kind) -> Result<()> {
        for program in package.targets.iter().filter(|program| program.test) {
            let tests = tests_of(&program.src_path)?;
            if !tests.is_empty() {
                self.suites.push(Suite {
                    package: package.name.clone(),
                    program: chosen_by(program),
                    kind: kind(&package.name, program),
                    tests,
                });
            }
        }
        Ok(())
    }

    /// Whether an end-to-end test runs on the host's own target alone.
    pub(super) fn is_once(&self, test: &str) -> bool {
        let mut entries = self.once.iter();
        entries.any(|entry| test == entry || (entry.ends_with("::") && test.starts_with(entry)))
    }
}

/// Tests that cargo builds into one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// The package, by its whole name.
    pub(super) package: String,
    /// What chooses this program among those of its package: `--lib`, or a kind and a name.
    pub(super) program: String,
    /// How it is built and run.
    pub(super) kind: Kind,
    /// What `cargo test` calls its tests, in the order of the files.
    pub(super) tests: Vec<String>,
}

/// How the tests of a suite are built and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Without optimisation, on the host.
    Unit,
    /// The same with it: these compile plugins, which would take too long.
    Optimised,
    /// The logic of plugins of this workspace, one of [`PLUGINS`], which runs on the host as well.
    Plugin(&'static str),
    /// From outside, against a daemon of some target.
    EndToEnd,
}

/// What `cargo metadata` says, as far as it is wanted here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
    test: bool,
}

fn packages(root: &Path, manifest: &str) -> Result<Vec<Package>> {
    let ask = "metadata --no-deps --format-version 1 --offline --manifest-path";
    let text = Cmd::new("cargo", ask).arg(manifest).output(root);
    let text = text.with_context(|| format!("`cargo {ask} {manifest}` failed"))?;
    let metadata: Metadata = serde_json::from_str(&text)
        .with_context(|| format!("`cargo {ask} {manifest}` printed something else"))?;
    Ok(metadata.packages)
}

/// How the programs of the workspace are built; those of plugins are all alike.
fn kind(package: &str, program: &Program) -> Kind {
    match (package, program.name.as_str()) {
        ("zlayer-precompile", _) => Kind::Optimised,
        ("zlayer-tests", "e2e") => Kind::EndToEnd,
        _ => Kind::Unit,
    }
}

fn chosen_by(program: &Program) -> String {
    match program.kind.first().map(String::as_str) {
        Some(kind @ ("bin" | "test" | "example")) => format!("--{kind} {}", program.name),
        _ => "--lib".to_owned(),
    }
}

/// The tests of a program, whose modules are found from its first file on.
fn tests_of(root: &Path) -> Result<Vec<String>> {
    let mut tests = Vec::new();
    read(root, true, "", &mut tests)?;
    Ok(tests)
}

/// Adds the tests of one file, whose modules lie beside it or, but for a root, in a folder of its name.
fn read(file: &Path, is_root: bool, path: &str, tests: &mut Vec<String>) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let beside = file.parent().unwrap_or(Path::new("."));
    let folder = match is_root || file.ends_with("mod.rs") {
        true => beside.to_owned(),
        false => file.with_extension(""),
    };
    // Modules that are written out within this file, and how far each is indented.
    let mut inline: Vec<(usize, String)> = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let within = |name: &str| {
            let modules = inline.iter().map(|(_, module)| module.as_str());
            let names = [path].into_iter().chain(modules).chain([name]);
            let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
            names.join("::")
        };
        let item = ["pub(crate) ", "pub(super) ", "pub ", "async "]
            .into_iter()
            .fold(code, |code, word| code.strip_prefix(word).unwrap_or(code));
        if code == "#[test]" {
            is_test = true;
        } else if let Some(name) = item.strip_prefix("fn ") {
            if let (true, Some((name, _))) = (is_test, name.split_once(['(', '<'])) {
                tests.push(within(name));
            }
            is_test = false;
        } else if let Some(name) = item.strip_prefix("mod ") {
            if let Some(name) = name.strip_suffix(';') {
                let inner: PathBuf = inline.iter().map(|(_, module)| module).collect();
                let inner = folder.join(inner);
                let files = [
                    inner.join(format!("{name}.rs")),
                    inner.join(name).join("mod.rs"),
                ];
                // One that a `#[path]` names is somebody else's file: its tests are counted there.
                if let Some(found) = files.iter().find(|file| file.is_file()) {
                    read(found, false, &within(name), tests)?;
                }
            } else if let Some(name) = name.strip_suffix(" {") {
                inline.push((indent, name.to_owned()));
            }
        } else if code == "}" && inline.last().is_some_and(|(opened, _)| *opened == indent) {
            inline.pop();
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// What the test runner itself says of the program that this test is part of.
    #[test]
    fn the_tests_read_from_the_sources_are_those_that_cargo_runs() {
        let own = std::env::current_exe().unwrap();
        let listed = Cmd::new(own.to_string_lossy(), "--list --format terse").output(root());
        let listed = listed.unwrap();
        let mut listed: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .collect();
        let suites = Catalogue::read(root()).unwrap().suites;
        let found = suites.iter().find(|suite| suite.package == "zlayer-boards");
        let mut found: Vec<&str> = found.unwrap().tests.iter().map(String::as_str).collect();
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }

    #[test]
    fn each_kind_of_suite_is_found() {
        let suites = Catalogue::read(root()).unwrap().suites;
        let has = |package: &str, program: &str, kind, part: &str| {
            suites.iter().any(|suite| {
                (suite.package.as_str(), suite.program.as_str(), suite.kind)
                    == (package, program, kind)
                    && suite.tests.iter().any(|test| test.contains(part))
            })
        };
        assert!(has("zlayer-http1", "--lib", Kind::Unit, "::tests::"));
        assert!(has("zlayer-http1", "--test requests", Kind::Unit, ""));
        assert!(has("zlayer-runtime", "--lib", Kind::Unit, "upstream::"));
        assert!(has("zlayer-runtime", "--test store", Kind::Unit, ""));
        assert!(has("zlayer-precompile", "--lib", Kind::Optimised, ""));
        let [examples, guests, authors] = PLUGINS.map(Kind::Plugin);
        assert!(has("path-router", "--lib", examples, ""));
        assert!(has("jwt-authenticator", "--lib", guests, ""));
        assert!(has("guide", "--example guide-router", guests, ""));
        assert!(has("zlayer-plugin", "--lib", authors, "double::store::"));
        assert!(has(
            "zlayer-tests",
            "--test e2e",
            Kind::EndToEnd,
            "tls::forward::"
        ));
    }

    #[test]
    fn modules_within_a_file_and_beside_it_are_followed() {
        let folder = std::env::temp_dir().join(format!("boards-catalogue-{}", std::process::id()));
        let files = [
            (
                "main.rs",
                "mod a;\nmod gone;\n\n#[test]\nfn first() {}\n\nfn no_test() {}\n",
            ),
            (
                "a.rs",
                "mod b;\nmod inner {\n    mod c {\n        #[test]\n        #[cfg(unix)]\n        fn deep() {}\n    }\n    #[test]\n    fn less() {}\n}\n#[test]\nfn last() {}\n",
            ),
            ("a/b.rs", "#[test]\nfn beside() {\n}\n"),
        ];
        for (file, text) in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let tests = tests_of(&folder.join("main.rs"));
        fs::remove_dir_all(&folder).unwrap();
        let expected = [
            "a::b::beside",
            "a::inner::c::deep",
            "a::inner::less",
            "a::last",
            "first",
        ];
        assert_eq!(tests.unwrap(), expected);
    }

    /// What is left out somewhere shows the same everywhere: of each topic some tests run on every target.
    #[test]
    fn what_runs_once_is_there_and_leaves_something_of_each_topic() {
        let catalogue = Catalogue::read(root()).unwrap();
        let mut suites = catalogue.suites.iter();
        let end_to_end = suites.find(|suite| suite.kind == Kind::EndToEnd);
        let tests = &end_to_end.unwrap().tests;
        for entry in &catalogue.once {
            let means = |test: &&String| catalogue_of(entry).is_once(test);
            let meant = tests.iter().filter(means).count();
            assert!(meant > 0, "{ONCE}: there is no test `{entry}`");
            // The test runner leaves out whatever has this anywhere in its name.
            let left_out = tests.iter().filter(|test| test.contains(entry.as_str()));
            assert_eq!(
                left_out.count(),
                meant,
                "{ONCE}: `{entry}` is in the name of others"
            );
        }
        let topic = |test: &String| test.split("::").next().unwrap().to_owned();
        let (once, everywhere): (Vec<&String>, Vec<&String>) =
            tests.iter().partition(|test| catalogue.is_once(test));
        for topic_of_once in once.into_iter().map(topic) {
            // These look at the sources and the pages, which are the same for every target.
            let of_sources = ["dependencies", "documentation"].contains(&topic_of_once.as_str());
            let has_some = everywhere.iter().any(|test| topic(test) == topic_of_once);
            assert!(has_some || of_sources, "{topic_of_once}");
        }
    }

    fn catalogue_of(entry: &str) -> Catalogue {
        Catalogue {
            suites: Vec::new(),
            once: vec![entry.to_owned()],
        }
    }
}
