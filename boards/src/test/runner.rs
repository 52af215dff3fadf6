//! Runs steps in lanes: link-time optimisation keeps one core busy for minutes, and what else there is to do
//! keeps the other.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::steps::{Lane, Step};
use crate::command::Cmd;

/// A step that has ended, or was ended because another failed.
pub(super) struct Ended<'a> {
    /// Which one.
    pub(super) step: &'a Step,
    /// What its commands printed, and the commands.
    pub(super) output: String,
    /// How long it ran.
    pub(super) took: Duration,
    /// How it went.
    pub(super) result: Result<()>,
}

/// Runs the steps, each lane's in their order, and hands each to `ended` as it ends. A step that fails
/// ends the others at once, and is the last to be handed over. `show` is told of each step as it
/// begins, and then gets its lines as they come.
pub(super) fn run<'a>(
    steps: &'a [Step],
    dir: &Path,
    show: impl Fn(&Step, Option<&str>) + Sync,
    mut ended: impl FnMut(Ended<'a>),
) -> Result<()> {
    let run = Run {
        dir,
        show: &show,
        state: Mutex::default(),
        changed: Condvar::new(),
    };
    let mut failed = None;
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for lane in Lane::ALL {
            let (run, sender) = (&run, sender.clone());
            scope.spawn(move || run.lane(steps, lane, &sender));
        }
        drop(sender);
        for step in receiver {
            match step.result.is_err() && failed.is_none() {
                true => failed = Some(step),
                false => ended(step),
            }
        }
    });
    let Some(mut step) = failed else {
        return Ok(());
    };
    let result = std::mem::replace(&mut step.result, Err(anyhow!("failed")));
    let name = &step.step.name;
    let error = result.context(format!("step `{name}` failed"));
    ended(step);
    error
}

/// What all lanes look at.
struct Run<'a> {
    dir: &'a Path,
    show: &'a (dyn Fn(&Step, Option<&str>) + Sync),
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Names of steps that passed.
    passed: BTreeSet<String>,
    /// A step failed: no other begins.
    stopped: bool,
    /// Processes that run, and have not been waited for.
    running: Vec<u32>,
}

impl Run<'_> {
    fn lane<'s>(&self, steps: &'s [Step], lane: Lane, ended: &Sender<Ended<'s>>) {
        for step in steps.iter().filter(|step| step.lane == lane) {
            if !self.wait_for(&step.after) {
                return;
            }
            (self.show)(step, None);
            let (started, mut output) = (Instant::now(), String::new());
            let mut commands = step.commands.iter();
            let result = commands.try_for_each(|cmd| self.command(step, cmd, &mut output));
            let has_failed = result.is_err();
            let took = started.elapsed();
            // Whoever started the lanes listens to their end.
            let _ = ended.send(Ended {
                step,
                output,
                took,
                result,
            });
            // Only then: one that was ended because of this failure, or waits for it, must not be heard of before it.
            match has_failed {
                true => self.stop(),
                false => {
                    self.state().passed.insert(step.name.clone());
                    self.changed.notify_all();
                }
            }
        }
    }

    /// Whether the steps of these names have passed; false when they never will.
    fn wait_for(&self, names: &[String]) -> bool {
        let mut state = self.state();
        loop {
            if state.stopped {
                return false;
            }
            if names.iter().all(|name| state.passed.contains(name)) {
                return true;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs a command, both of whose outputs come through one pipe: so its lines keep their order.
    fn command(&self, step: &Step, cmd: &Cmd, output: &mut String) -> Result<()> {
        let mut line = |line: &str| {
            output.push_str(line);
            output.push('\n');
            (self.show)(step, Some(line));
        };
        line(&format!("$ {cmd}"));
        let (mut child, pipe) = {
            let mut state = self.state();
            if state.stopped {
                bail!("another step failed");
            }
            let (child, pipe) = cmd.start(self.dir)?;
            state.running.push(child.id());
            (child, pipe)
        };
        for bytes in BufReader::new(pipe).split(b'\n') {
            line(&String::from_utf8_lossy(&bytes?));
        }
        self.finish(&mut child).with_context(|| format!("`{cmd}`"))
    }

    fn finish(&self, child: &mut Child) -> Result<()> {
        // Before it is waited for: after that its number may be another process's.
        self.state().running.retain(|id| *id != child.id());
        let status = child.wait()?;
        match status.success() {
            true => Ok(()),
            false => bail!("ended with {status}"),
        }
    }

    /// Ends what runs, unless that was done already.
    fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for process in state.running.drain(..) {
            end(process);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a process and all that it has started: cargo alone would leave compilers behind.
fn end(process: u32) {
    let mut all = vec![process];
    let mut at = 0;
    while let Some(parent) = all.get(at) {
        // One that is stopped starts no more programs, which would be missed here and live on.
        signal("-STOP", &[*parent]);
        // Each thread has its own children.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    signal("-KILL", &all);
}

fn signal(which: &str, processes: &[u32]) {
    let numbers = processes.iter().map(u32::to_string);
    // One that has ended meanwhile is no trouble.
    let _ = Command::new("kill").arg(which).args(numbers).output();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn step(name: &str, lane: Lane, after: &[&str], line: &str) -> Step {
        Step {
            name: name.to_owned(),
            lane,
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            commands: vec![Cmd::new("sh", "-c").arg(line)],
        }
    }

    /// The names of the steps that ended, whether they passed, and what they printed.
    fn all(steps: &[Step]) -> (Vec<(String, bool, String)>, Result<()>) {
        let mut seen = Vec::new();
        let result = run(
            steps,
            Path::new("."),
            |_, _| {},
            |ended| {
                let name = ended.step.name.clone();
                seen.push((name, ended.result.is_ok(), ended.output));
            },
        );
        (seen, result)
    }

    #[test]
    fn a_step_waits_for_the_other_lanes_and_keeps_its_lines_in_order() {
        let steps = [
            step(
                "test",
                Lane::Checks,
                &["build"],
                "echo a; echo b >&2; echo c",
            ),
            step("build", Lane::Binaries, &[], "true"),
        ];
        let (seen, result) = all(&steps);
        result.unwrap();
        let names: Vec<&str> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["build", "test"]);
        assert_eq!(seen[1].2, "$ sh -c 'echo a; echo b >&2; echo c'\na\nb\nc\n");
    }

    #[test]
    fn a_failure_ends_the_other_lane_at_once_and_comes_last() {
        let steps = [
            // What the shell has started has to end too: it holds the pipe.
            step("long", Lane::Binaries, &[], "echo begun; sleep 600; true"),
            step("bad", Lane::Checks, &[], "echo why; exit 3"),
            step("never", Lane::Checks, &[], "true"),
            step("never either", Lane::Binaries, &[], "true"),
        ];
        let started = Instant::now();
        let (seen, result) = all(&steps);
        assert!(started.elapsed() < Duration::from_secs(60));
        let error = format!("{:#}", result.unwrap_err());
        assert!(
            error.contains("step `bad` failed") && error.contains("exit status: 3"),
            "{error}"
        );
        let names: Vec<(&str, bool)> = seen
            .iter()
            .map(|(name, ok, _)| (name.as_str(), *ok))
            .collect();
        assert!(
            matches!(
                names[..],
                [("long", false), ("bad", false)] | [("bad", false)]
            ),
            "{names:?}"
        );
        assert!(seen.last().unwrap().2.ends_with("why\n"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut steps = [step("none", Lane::Checks, &[], "")];
        steps[0].commands = vec![Cmd::new("zlayer-no-such-program", "")];
        let error = format!("{:#}", all(&steps).1.unwrap_err());
        assert!(
            error.contains("cannot start `zlayer-no-such-program`"),
            "{error}"
        );
    }
}
