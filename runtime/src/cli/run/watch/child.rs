//! The daemon that serves what is watched.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process, set_parent_process_death_signal,
    waitid,
};

use crate::daemon;
use crate::error::{Error, Result};
use crate::logger;

/// The verb behind which the words stand that are for the daemon alone.
const VERB: &str = "run";

/// A daemon that was started to serve what is watched.
pub(super) struct Child {
    process: process::Child,
    pid: Pid,
}

impl Child {
    /// Starts it with the words that this process was started with. A temporary folder is its data folder, and goes
    /// with it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(super) fn start(temporary: Option<&Path>) -> Result<Child> {
        let failed = |error| Error::device("cannot start the daemon", error);
        let program = std::env::current_exe().map_err(failed)?;
        let given = std::env::args_os().skip(1);
        let words = words(given, process::id(), temporary);
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null());
        let process = command.spawn().map_err(failed)?;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(Errno::SRCH.into()))?;
        Ok(Child { process, pid })
    }

    /// Calls this once it has ended. It stays known to the system until it is waited for.
    ///
    /// # Errors
    ///
    /// The thread that waits cannot be started.
    pub(super) fn tell_end(&self, tell: impl FnOnce() + Send + 'static) -> Result<()> {
        let pid = self.pid;
        let waiting = move || {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), ended), Err(Errno::INTR)) {}
            tell();
        };
        let started = thread::Builder::new()
            .name("child".to_owned())
            .spawn(waiting);
        started
            .map(drop)
            .map_err(|error| Error::device("cannot start the thread that waits", error))
    }

    /// Passes a signal on.
    pub(super) fn signal(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal)
            && let Err(error) = kill_process(self.pid, signal)
        {
            log::warn!("the daemon does not take the signal: {error}");
        }
    }

    /// Waits for its end, and answers its exit code. Whoever was told to end it `expected` it.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub(super) fn wait(&mut self, expected: bool) -> Result<u8> {
        let status = self.process.wait();
        let status = status.map_err(|error| Error::device("cannot wait for the daemon", error))?;
        // Who ended with a code has said why.
        if let Some(signal) = status.signal().filter(|_| !expected) {
            logger::complain(&format!(
                "zlayer: the daemon was ended by signal {signal}: nothing is served any more\n"
            ));
        }
        Ok(daemon::exit_code(status))
    }
}

/// The daemon's words: those that were given, and behind the verb whose daemon it is.
fn words(
    given: impl Iterator<Item = OsString>,
    parent: u32,
    temporary: Option<&Path>,
) -> Vec<OsString> {
    let mut own = vec!["--watched-by".into(), parent.to_string().into()];
    if let Some(folder) = temporary {
        own.extend(["--watched-in".into(), folder.into()]);
    }
    let mut words: Vec<OsString> = given.collect();
    let verb = words.iter().position(|word| word == VERB);
    let behind = verb.map_or(words.len(), |verb| verb + 1);
    words.splice(behind..behind, own);
    words
}

/// Has this process drain and end when the one with this number does, which started it.
///
/// # Errors
///
/// That one has ended already, or the system does not allow it.
pub(in super::super) fn end_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Error::device("cannot follow the process that watches", error.into()))?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    match now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
        true => Ok(()),
        false => Err(Error::Refused(
            "the process that watches has ended; --watched-by is its to say: use --watch"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_has_all_words_and_is_told_whose_it_is() {
        let given = ["run", "--watch", "--config", "a=run", "d.yaml"].map(OsString::from);
        let folder = Path::new("/tmp/x");
        let made = words(given.clone().into_iter(), 7, Some(folder));
        assert_eq!(
            made.join(" ".as_ref()),
            "run --watched-by 7 --watched-in /tmp/x --watch --config a=run d.yaml"
        );
        let made = words(given.into_iter(), 7, None);
        assert_eq!(made[..3].join(" ".as_ref()), "run --watched-by 7");
    }

    #[test]
    fn a_daemon_of_somebody_else_does_not_start() {
        // This process's own number is not its parent's.
        let told = end_with(process::id()).err().map(|error| error.to_string());
        set_parent_process_death_signal(None).ok();
        assert!(told.is_some_and(|told| told.contains("use --watch")));
    }
}
