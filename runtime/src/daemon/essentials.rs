//! What the daemon cannot do without, tried before it is needed.
//!
//! Libraries panic where the system refuses a thread or random numbers. Here the refusal is an error
//! that names what refused it, before anything depends on it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Error, Result};

/// Threads beside those that serve: the reactor's, the one for signals, the one that interrupts
/// plugins, and the store's two.
const STANDING: usize = 5;
/// The stack of a thread that only waits: as small as systems allow.
const STACK_BYTES: usize = 32 << 10;
/// Where random numbers are read by those who are refused the system call.
const RANDOM: &str = "/dev/urandom";

/// Finds out whether the system gives random numbers, which hash tables take their keys from.
///
/// # Errors
///
/// It refuses them.
pub(super) fn random_numbers() -> Result<()> {
    // In the way of the standard library, which panics where this fails.
    let refused = match ask(GetRandomFlags::INSECURE) {
        Err(Errno::INVAL) => ask(GetRandomFlags::NONBLOCK).err(),
        asked => asked.err(),
    };
    match refused {
        None => Ok(()),
        Some(errno @ (Errno::NOSYS | Errno::PERM | Errno::AGAIN)) => {
            let read = File::open(RANDOM).and_then(|mut file| file.read_exact(&mut [0; 1]));
            read.map_err(|error| no_random_numbers(errno, Some(&error)))
        }
        Some(errno) => Err(no_random_numbers(errno, None)),
    }
}

fn ask(flags: GetRandomFlags) -> std::result::Result<(), Errno> {
    loop {
        match getrandom(&mut [0; 1], flags) {
            Err(Errno::INTR) => {}
            asked => return asked.map(drop),
        }
    }
}

fn no_random_numbers(call: Errno, file: Option<&io::Error>) -> Error {
    let file = file.map_or(String::new(), |error| format!(", and {RANDOM}: {error}"));
    Error::device(
        format!(
            "the system gives no random numbers{file}; let the daemon call getrandom (it may be forbidden by a \
             container's seccomp profile or by systemd's SystemCallFilter=), or give it {RANDOM}; getrandom"
        ),
        call.into(),
    )
}

/// Finds out whether the threads can be started that serving takes, `serving` of them for requests, and
/// starts the reactor's.
///
/// # Errors
///
/// The system refuses one of them.
pub(super) fn threads(serving: usize) -> Result<()> {
    // This thread serves, too.
    start_at_once(STANDING + serving - 1).map_err(|(started, error)| {
        let what = format!(
            "the system lets the daemon start {started} threads, and it needs {} (--threads {serving}); raise \
             `ulimit -u` (systemd: LimitNPROC=, TasksMax=) or pids.max of its control group",
            STANDING + serving - 1
        );
        Error::device(what, error)
    })?;
    // It panics if its thread cannot be started, so this is done while it is known to be possible.
    smol::block_on(async {});
    Ok(())
}

/// Has `count` threads running at the same time, and ends them again.
fn start_at_once(count: usize) -> std::result::Result<(), (usize, io::Error)> {
    // Nothing is ever sent: they wait until the sender is dropped.
    let mut running = Vec::new();
    let mut ends = Vec::new();
    let mut refused = None;
    for started in 0..count {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        match thread.spawn(move || {
            let _ = ended.recv();
        }) {
            Ok(thread) => running.push(thread),
            Err(error) => {
                refused = Some((started, error));
                break;
            }
        }
        ends.push(end);
    }
    drop(ends);
    for thread in running {
        // It does nothing that could panic.
        let _ = thread.join();
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_random_numbers_are_there() {
        assert!(start_at_once(20).is_ok());
        assert!(threads(1).is_ok());
        assert!(random_numbers().is_ok());
    }

    #[test]
    fn who_gets_no_random_numbers_is_told_what_refused_them() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let told = no_random_numbers(Errno::PERM, Some(&missing)).to_string();
        for part in [
            "no random numbers, and /dev/urandom: entity not found",
            "seccomp",
            "; getrandom: Operation not permitted",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
