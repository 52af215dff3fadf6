//! `cargo boards`: sets a machine up, builds device binaries and guests, weighs them, runs the tests.
//!
//! Not part of what ships. Boards themselves are data: a folder with a `board.toml` is a board.

mod bench;
mod build;
mod byte_size;
mod command;
mod debian_package;
mod demo;
mod docs;
mod emulated;
mod guests;
mod kosoku;
mod link_map;
mod list;
mod machine;
mod musl;
mod plan;
mod room;
mod setup;
mod sizes;
mod summary;
mod target;
mod test;
mod wit;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use argh::FromArgs;

/// Sets a machine up, builds device binaries and guests, weighs them, runs the tests.
#[derive(FromArgs, Debug)]
struct Args {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    Sizes(sizes::Args),
    Guests(GuestsArgs),
    Wit(WitArgs),
    List(list::Args),
    Test(test::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Docs(docs::Args),
}

/// Builds the guests of the tests into target/guests.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "guests")]
struct GuestsArgs {}

/// Writes wit/deps from the WIT files of the published WASI crates.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "wit")]
struct WitArgs {
    /// write nothing; exit status 1 if wit/deps is not what would be written
    #[argh(switch)]
    check: bool,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target_dir: PathBuf,
    /// This program, for verbs that run others of it.
    pub(crate) boards_program: PathBuf,
}

impl Workspace {
    /// Finds the checkout that the current folder is in.
    fn find() -> Result<Workspace> {
        let current = std::env::current_dir().context("the current folder cannot be read")?;
        let root = current
            .ancestors()
            .find(|folder| folder.join("boards/common").is_dir())
            .with_context(|| {
                format!(
                    "{} is not inside a checkout of this project",
                    current.display()
                )
            })?
            .to_owned();
        // Every cargo here runs in the root, so that is where a relative folder lies.
        let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) if !folder.is_empty() => root.join(folder),
            _ => root.join("target"),
        };
        let boards_program = std::env::current_exe().context("this program has no path")?;
        Ok(Workspace {
            root,
            target_dir,
            boards_program,
        })
    }

    /// One with short names, for tests of what is built of them.
    #[cfg(test)]
    pub(crate) fn example() -> Workspace {
        Workspace {
            root: "r".into(),
            target_dir: "t".into(),
            boards_program: "boards".into(),
        }
    }

    /// The folder of boards.
    pub(crate) fn boards(&self) -> PathBuf {
        self.root.join("boards")
    }

    /// The folder of built guests, wherever cargo builds.
    pub(crate) fn guests(&self) -> PathBuf {
        self.root.join("target/guests")
    }

    /// The precompiler as it is tested.
    pub(crate) fn precompile(&self) -> PathBuf {
        self.target_dir.join("release/zlayer-precompile")
    }
}

fn main() -> ExitCode {
    let args = split_values(std::env::args().skip(1));
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["cargo boards"], &words) {
        Ok(args) => args,
        Err(early) => {
            if early.status.is_ok() {
                println!("{}", early.output.trim_end());
                return ExitCode::SUCCESS;
            }
            eprintln!("{}", early.output.trim_end());
            return ExitCode::from(2);
        }
    };
    if let Some(told) = zlayer_bundle::empty_word(&words) {
        eprintln!("{told}");
        return ExitCode::from(2);
    }
    match Workspace::find().and_then(|workspace| run(&args.verb, &workspace)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb, workspace: &Workspace) -> Result<ExitCode> {
    match verb {
        // Its last line is not the error.
        Verb::Test(args) => return test::main(args, workspace),
        Verb::Setup(args) => setup::main(args, &workspace.root),
        Verb::Build(args) => build::main(args, workspace),
        Verb::Sizes(args) => sizes::main(args, workspace),
        Verb::Guests(GuestsArgs {}) => guests::main(&workspace.root),
        Verb::Wit(WitArgs { check: false }) => wit::generate(&workspace.root),
        Verb::Wit(WitArgs { check: true }) => wit::check(&workspace.root),
        Verb::List(args) => list::main(args, workspace),
        Verb::Demo(args) => demo::main(args, workspace),
        Verb::Bench(args) => bench::main(args, workspace),
        Verb::Docs(args) => docs::main(args, workspace),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// argh knows `--flag value` only: `--flag=value` is split into the two.
fn split_values(args: impl Iterator<Item = String>) -> Vec<String> {
    args.flat_map(|arg| match arg.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => vec![flag.to_owned(), value.to_owned()],
        _ => vec![arg],
    })
    .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, argh::EarlyExit> {
        let args = split_values(line.split_whitespace().map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Args::from_args(&["cargo boards"], &args)
    }

    #[test]
    fn every_verb_parses() {
        for line in [
            "setup",
            "setup --check",
            "build",
            "build --target=x86_64,armv7 --print",
            "sizes --target aarch64",
            "guests",
            "wit",
            "wit --check",
            "list",
            "test",
            "test --quick",
            "test --list",
            "test websocket::messages http1",
            "test --target armv7 websocket",
            "demo",
            "docs",
            "bench --machine",
            "bench --machine --only=raspi3b --record",
            "bench --machine --short",
        ] {
            assert!(
                parse(line).is_ok(),
                "{line}: {:?}",
                parse(line).unwrap_err()
            );
        }
    }

    #[test]
    fn help_succeeds_and_nonsense_does_not() {
        let help = parse("--help").unwrap_err();
        assert!(help.status.is_ok());
        for verb in [
            "setup", "build", "sizes", "guests", "wit", "list", "test", "demo", "docs", "bench",
        ] {
            assert!(
                help.output.contains(&format!("  {verb} ")),
                "{verb}: {}",
                help.output
            );
        }
        for line in [
            "",
            "bild",
            "build --quick",
            "test --target mips",
            "build --target",
        ] {
            assert!(parse(line).unwrap_err().status.is_err(), "{line}");
        }
    }

    #[test]
    fn a_value_may_follow_an_equals_sign() {
        let split = |args: &[&str]| split_values(args.iter().map(|arg| (*arg).to_owned()));
        assert_eq!(
            split(&["--a=b=c", "d=e", "--f"]),
            ["--a", "b=c", "d=e", "--f"]
        );
    }
}
