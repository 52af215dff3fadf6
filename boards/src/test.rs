//! `cargo boards test`: everything that CI does, or a part of it.

mod catalogue;
mod choice;
mod counts;
mod runner;
mod steps;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::command::on_path;
use crate::debian_package;
use crate::kosoku;
use crate::room::{FULL_RUN, QUICK_RUN, Room};
use crate::summary::Summary;
use crate::target::Target;
use catalogue::{Catalogue, ONCE};
use counts::Counts;
use steps::Step;

/// Runs all checks and tests, natively and under QEMU, or those that are named; stops at the first
/// failure.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "test")]
pub(crate) struct Args {
    /// parts, packages and whatever is in the name of a test; only these run
    #[argh(positional)]
    names: Vec<String>,
    /// only end-to-end tests, against this target's device binary: x86_64, aarch64 or armv7
    #[argh(option)]
    target: Option<Target>,
    /// print what can be named, and how long it takes, and run nothing
    #[argh(switch)]
    list: bool,
    /// only formatting, lints, unit tests, and end-to-end tests of a quick native build
    #[argh(switch)]
    quick: bool,
}

/// Runs the verb. What it says last is how many tests passed and failed, whatever came of it.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let catalogue = Catalogue::read(&workspace.root)?;
    if args.list {
        print!("{}", choice::list(&catalogue));
        return Ok(ExitCode::SUCCESS);
    }
    let host = Target::host().ok_or_else(|| {
        anyhow!(
            "the daemon does not run on {} machines",
            std::env::consts::ARCH
        )
    })?;
    let mut left_out = Vec::new();
    let is_part = !args.names.is_empty() || args.target.is_some();
    let steps = if is_part {
        choice::choose(&args.names, args.target, workspace, &catalogue, host)?
    } else {
        let room = Room::of(&workspace.target_dir)?;
        room.check(if args.quick { QUICK_RUN } else { FULL_RUN })?;
        match args.quick {
            true => steps::quick(workspace, &catalogue, host),
            false => steps::full(workspace, &catalogue, host, room.is_tight()),
        }
    };
    if is_part {
        left_out.push("all that was not named".to_owned());
    } else if args.quick {
        left_out
            .push("wit/deps, dependency rules, device binaries, sizes, QEMU (--quick)".to_owned());
    } else if host != Target::X86_64 {
        left_out.push(format!(
            "x86_64: this machine is {host}, and nobody cross-builds for it"
        ));
    }
    if steps.iter().any(|step| step.has_word("e2e"))
        && let Err(reason) = kosoku::fetch(workspace)
    {
        left_out.push(format!("the Autobahn cases: no kosoku here ({reason})"));
    }
    if steps.iter().any(|step| step.has_word("zlayer-precompile"))
        && let Err(error) = docker_registry(workspace, host)
    {
        left_out.push(format!(
            "a real registry: no docker-registry here ({error})"
        ));
    }
    Ok(match carry_out(&steps, workspace, left_out) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Fetches the registry that tests push to, unless it is there. It is unpacked and not installed: Debian would
/// start it at once, on all addresses of the machine.
fn docker_registry(workspace: &Workspace, host: Target) -> Result<()> {
    const PACKAGE: &str = "docker-registry";
    if !on_path(PACKAGE) {
        debian_package::unpacked(host, PACKAGE, &debian_package::folder(workspace))?;
    }
    Ok(())
}

/// Runs the steps, and says at the end what was run, for how long, and what was not and why. False when
/// one failed.
fn carry_out(steps: &[Step], workspace: &Workspace, mut left_out: Vec<String>) -> bool {
    let is_live = steps.iter().all(|step| step.lane == steps::Lane::Checks);
    let started = Instant::now();
    let (mut summary, mut sum, mut skipped) = (Summary::default(), Counts::default(), Vec::new());
    // Two lanes' lines would mix: there a step's come when it has ended.
    let show = |step: &Step, line: Option<&str>| match (is_live, line) {
        (true, None) => println!("\n==== {}", step.name),
        (true, Some(line)) => println!("{line}"),
        (false, None) => println!("     {} begins", step.name),
        (false, Some(_)) => {}
    };
    let result = runner::run(steps, &workspace.root, show, |ended| {
        let name = &ended.step.name;
        if !is_live {
            println!("\n==== {name}\n{}", ended.output.trim_end());
        }
        let counts = Counts::of(&ended.output);
        let tests = (counts != Counts::default()).then(|| counts.to_string());
        summary.add(name, ended.took, ended.result.is_ok(), tests);
        if counts.left_out > 0 && ended.step.has_word("--skip") {
            left_out.push(format!(
                "{name}: {} tests that show the same on every processor ({ONCE}): they run on the \
                 host's own",
                counts.left_out
            ));
        }
        skipped.extend(counts.skipped.iter().map(|why| format!("{name}: {why}")));
        sum += &counts;
    });
    let result = result.and_then(|()| check_that_tests_ran(steps, &sum));
    println!(
        "\n==== what was run\n{}",
        summary.table(steps.len(), started.elapsed())
    );
    let lines = |lines: &[String]| match lines {
        [] => " nothing".to_owned(),
        lines => format!("\n  {}", lines.join("\n  ")),
    };
    println!("left out:{}", lines(&left_out));
    println!("skipped by tests that cannot run here:{}", lines(&skipped));
    if let Err(error) = &result {
        println!("error: {error:#}");
    }
    println!("\n{sum}");
    result.is_ok()
}

/// Where tests were asked for, some have to run: a run of none must not end as one in which all passed.
///
/// # Errors
///
/// None did: the compiler leaves those of that name out on this machine.
fn check_that_tests_ran(steps: &[Step], sum: &Counts) -> Result<()> {
    let wants_tests = steps.iter().any(|step| step.has_word("test"));
    ensure!(
        !wants_tests || sum.passed + sum.failed > 0,
        "no test ran: those of that name are not compiled on this machine"
    );
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use catalogue::Kind;

    #[test]
    fn tests_that_were_asked_for_have_to_run() {
        let tests = [steps::package("zlayer-http1", Kind::Unit, &["--lib"], &[])];
        let none = Counts::of("test result: ok. 0 passed; 0 failed; 0 ignored\n");
        let some = Counts::of("test result: ok. 1 passed; 0 failed; 0 ignored\n");
        check_that_tests_ran(&tests, &some).unwrap();
        check_that_tests_ran(&[steps::formatting()], &none).unwrap();
        let error = check_that_tests_ran(&tests, &none).unwrap_err();
        assert!(error.to_string().starts_with("no test ran: "));
    }
}
