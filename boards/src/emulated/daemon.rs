//! The daemon in a machine: started, asked, looked at.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::console::Answer;
use super::figures::{Figures, available};
use super::{Client, Emulated};

/// How long the daemon may take until it answers or has stopped, and the shell for what is quick.
const START: Duration = Duration::from_secs(120);
const QUICK: Duration = Duration::from_secs(30);

/// The daemon and where it lies in the machine.
pub(crate) const PROGRAM: &str = "/usr/bin/zlayer";
const DATA: &str = "/data/zlayer";

/// The kernel's words for having killed a process for its memory.
const KILLED: [&str; 3] = ["Out of memory", "oom-kill", "oom_reaper"];
/// The kernel's words for having its random numbers.
const RANDOM_IS_READY: &str = "crng init done";

/// A daemon that serves the machine's port.
pub(crate) struct Daemon<'m> {
    machine: &'m mut Emulated,
    /// The process that was started.
    pid: u32,
    /// From the start to the first answer, by the machine's clock.
    pub(crate) answered_in: Duration,
    /// When the first answer was out.
    pub(crate) at_first_answer: Figures,
}

impl Emulated {
    /// Starts the daemon with an empty environment and an empty data folder, and waits for its first answer,
    /// a 200 for this path.
    pub(crate) fn serve(&mut self, flags: &str, path: &str) -> Result<Daemon<'_>> {
        self.run(&format!("rm -rf {DATA}"), QUICK)?;
        let command = format!(
            "first_answer {path} {PROGRAM} run --bind 0.0.0.0 --port 8080 --data-dir {DATA} {flags}"
        );
        let Answer { status, text } = self.ask(&command, START)?;
        if status != 0 {
            let said = self.ask("tail -n 20 /data/said", QUICK)?.text;
            let log = self.kernel_log()?;
            let killed = log.lines().find(|line| is_of_a_kill(line)).unwrap_or("");
            anyhow::bail!("the daemon ended before it answered; it said:\n{said}{killed}");
        }
        let (answered_in, pid) = first_answer(&text)?;
        let at_first_answer = Figures::of(&text)?;
        Ok(Daemon {
            machine: self,
            pid,
            answered_in,
            at_first_answer,
        })
    }

    /// Bytes that the machine could give to programs.
    pub(crate) fn available(&mut self) -> Result<u64> {
        available(&self.run("cat /proc/meminfo", QUICK)?)
    }

    /// The version of its kernel.
    pub(crate) fn kernel(&mut self) -> Result<String> {
        Ok(self.run("uname -r", QUICK)?.trim().to_owned())
    }

    /// Whether the kernel has its random numbers: what asks for some waits until then.
    pub(crate) fn has_random_numbers(&mut self) -> Result<bool> {
        Ok(self.kernel_log()?.contains(RANDOM_IS_READY))
    }

    /// Lines of the kernel's log that tell that it killed a process for its memory.
    pub(crate) fn kills(&mut self) -> Result<Vec<String>> {
        let log = self.kernel_log()?;
        let lines = log.lines().filter(|line| is_of_a_kill(line));
        Ok(lines.map(str::to_owned).collect())
    }

    fn kernel_log(&mut self) -> Result<String> {
        self.run("dmesg", QUICK)
    }
}

impl Daemon<'_> {
    /// What the kernel knows of it now.
    pub(crate) fn figures(&mut self) -> Result<Figures> {
        Figures::of(&self.machine.run("figures", QUICK)?)
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Result<Client> {
        Client::connect(self.machine.address())
    }

    /// The machine that it runs in.
    pub(crate) fn machine(&mut self) -> &mut Emulated {
        self.machine
    }

    /// Whether the process that was started is still there.
    pub(crate) fn is_there(&mut self) -> Result<bool> {
        // One that has ended is a zombie until somebody waits for it.
        let command = format!("grep -q 'State:.[RSDI]' /proc/{}/status", self.pid);
        Ok(self.machine.ask(&command, QUICK)?.status == 0)
    }

    /// What it wrote last.
    pub(crate) fn said(&mut self) -> Result<String> {
        Ok(self.machine.ask("tail -n 20 /data/said", QUICK)?.text)
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(self) -> Result<()> {
        let status = self.machine.ask("stop", START)?.status;
        ensure!(status == 0, "asked to stop, the daemon ended with {status}");
        Ok(())
    }
}

/// The time to the first answer and the process, in `init.sh`'s line `answered FROM TO PROCESS`.
fn first_answer(text: &str) -> Result<(Duration, u32)> {
    let line = text.lines().find_map(|line| line.strip_prefix("answered "));
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    let [from, to, pid] = words[..] else {
        anyhow::bail!("the machine told no time of the first answer:\n{text}");
    };
    let [from, to] = [from, to].map(str::parse::<f64>);
    let took = to? - from?;
    let took = Duration::try_from_secs_f64(took).context("the machine's clock went back")?;
    Ok((took, pid.parse()?))
}

fn is_of_a_kill(line: &str) -> bool {
    KILLED.iter().any(|words| line.contains(words))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_first_answers_time_is_the_machines_own() {
        let (took, pid) = first_answer("noise\nanswered 1.06 2.31 119\nRss: 1 kB\n").unwrap();
        assert_eq!((took.as_millis(), pid), (1250, 119));
        for text in ["", "answered 1 2", "answered 2 1 7", "answered a b c"] {
            assert!(first_answer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_kernels_words_for_a_kill_are_known() {
        for line in [
            "[   12.3] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=zlayer,pid=119",
            "[   12.3] Out of memory: Killed process 119 (zlayer) total-vm:90000kB",
        ] {
            assert!(is_of_a_kill(line), "{line}");
        }
        assert!(!is_of_a_kill("[    1.0] Memory: 35620K/65536K available"));
    }
}
