//! Signals: what ends the daemon, in order or at once.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator;
use smol::channel::Sender;

use crate::device;
use crate::error::{EXIT_SIGNALLED, Error, Result};
use crate::keyvalue::KeyValue;
use crate::logger;
use crate::metrics::Metrics;
use crate::sync;

/// How soon a signal that comes again is the same one. Whoever ends a group of processes, as `timeout`
/// and terminals do, may have it arrive twice; a person who means it again takes longer.
const SAME: Duration = Duration::from_secs(1);
/// How long the last commit may take when the daemon is ended at once. One takes milliseconds where
/// the disk works; where it does not, waiting would not help.
const LAST_COMMIT: Duration = Duration::from_secs(3);
/// Stack of the thread that obeys: it formats a page of metrics, and waits.
const STACK_BYTES: usize = 256 << 10;

/// The signals that the daemon hears. What comes before [`Signals::obey`] waits for it.
pub(super) struct Signals {
    heard: iterator::Signals,
}

impl Signals {
    /// Hears them from now on. No thread is started yet, so that those that come later have whatever
    /// rights this one has by then.
    ///
    /// # Errors
    ///
    /// The system does not allow it.
    pub(super) fn hear() -> Result<Signals> {
        let mut obeyed = vec![SIGTERM, SIGINT, SIGQUIT, SIGUSR1];
        // A file that becomes larger than this process may make it (`ulimit -f`) is an error of its
        // write then, and no longer the end of the process.
        obeyed.push(SIGXFSZ);
        if !is_hangup_ignored() {
            obeyed.push(SIGHUP);
        }
        let heard = iterator::Signals::new(obeyed);
        let heard = heard.map_err(|error| Error::device("cannot listen to signals", error))?;
        Ok(Signals { heard })
    }

    /// Obeys in a thread of its own, so that a daemon whose threads are all stuck can be ended too.
    /// SIGTERM, SIGINT, SIGQUIT and SIGHUP close `stopping`, and the daemon drains; one more of them
    /// ends it at once. SIGUSR1 prints the metrics. Where there is something to `reload`, SIGHUP does that
    /// instead.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn obey(
        mut self,
        stopping: Sender<()>,
        store: KeyValue,
        metrics: Arc<Metrics>,
        reload: Option<impl Fn() + Send + 'static>,
    ) -> Result<Telling> {
        let telling = Arc::<Mutex<()>>::default();
        let lock = Arc::clone(&telling);
        let obeying = move || {
            let mut ending = Ending::default();
            for signal in self.heard.forever() {
                match signal {
                    // Labels are plugins' words.
                    SIGUSR1 => {
                        let page = smol::block_on(metrics.render());
                        logger::complain(&zlayer_binlog::lines(&page));
                    }
                    SIGXFSZ => {}
                    SIGHUP if let Some(reload) = &reload => reload(),
                    _ => match ending.told(Instant::now()) {
                        Step::Drain => {
                            let _telling = sync::lock(&lock);
                            // Before it is told: whoever reads that may rely on it.
                            stopping.close();
                            let name = name(signal);
                            log::info!("{name}: no new requests, those running may finish");
                        }
                        Step::Same => log::debug!("{}: the same as before", name(signal)),
                        Step::End => end_at_once(store.clone()),
                    },
                }
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(obeying)
            .map(|_| Telling(telling))
            .map_err(|error| Error::device("cannot start the thread for signals", error))
    }
}

/// Held while the thread that obeys tells of a signal which ends the daemon.
pub(super) struct Telling(Arc<Mutex<()>>);

impl Telling {
    /// Waits until the signal that has ended the daemon is told, so that its line comes before the last one.
    pub(super) fn wait(&self) {
        drop(sync::lock(&self.0));
    }
}

/// What is to be done for a signal that ends the daemon.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Drain: it is the first.
    Drain,
    /// Nothing: it is the first one once more.
    Same,
    /// End now.
    End,
}

/// When the daemon was told to end.
#[derive(Debug, Default)]
struct Ending {
    first: Option<Instant>,
}

impl Ending {
    fn told(&mut self, now: Instant) -> Step {
        match self.first {
            None => {
                self.first = Some(now);
                Step::Drain
            }
            Some(first) if now.saturating_duration_since(first) < SAME => Step::Same,
            Some(_) => Step::End,
        }
    }
}

/// Ends the process without waiting for requests. What was acknowledged is committed first, unless
/// that takes too long.
fn end_at_once(store: KeyValue) -> ! {
    let committing = move || {
        store.close();
        logger::close();
    };
    if !within(LAST_COMMIT, committing) {
        logger::complain("zlayer: the last commit did not end in time, what it held may be lost\n");
    }
    std::process::exit(EXIT_SIGNALLED.into())
}

/// Does `work` in a thread of its own, since it may hang for ever. Returns whether it ended in time.
fn within(time: Duration, work: impl FnOnce() + Send + 'static) -> bool {
    let (done, ended) = mpsc::channel();
    let working = move || {
        work();
        // Nobody waits any more if it was late.
        let _ = done.send(());
    };
    let started = thread::Builder::new()
        .name("last".to_owned())
        .spawn(working);
    started.is_ok() && ended.recv_timeout(time).is_ok()
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
        SIGHUP => "SIGHUP",
        _ => "signal",
    }
}

/// Has a file that becomes larger than this process may make it (`ulimit -f`) be an error of its write, and no end of the
/// process without a word.
///
/// # Errors
///
/// The system does not allow it.
pub fn outlive_large_files() -> Result<()> {
    let heard = Arc::<AtomicBool>::default();
    let registered = signal_hook::flag::register(SIGXFSZ, heard);
    let registered = registered.map(drop);
    registered.map_err(|error| Error::device("cannot listen to signals", error))
}

/// Whether this process was started to outlive its terminal, as `nohup` does it: a handler would undo that.
pub fn is_hangup_ignored() -> bool {
    // SIGHUP is signal 1, the lowest bit of the mask. Who cannot tell drains.
    let status = device::read(Path::new("/proc/self/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_again_within_a_second_is_the_same_one() {
        let mut ending = Ending::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(ending.told(start), Step::Drain);
        for millis in [0, 1, 999] {
            assert_eq!(ending.told(after(millis)), Step::Same, "{millis}");
        }
        assert_eq!(ending.told(after(1000)), Step::End);
    }

    #[test]
    fn work_that_hangs_is_not_waited_for() {
        let (keep, hang) = mpsc::channel::<()>();
        assert!(!within(Duration::from_millis(1), move || {
            let _ = hang.recv();
        }));
        drop(keep);
        assert!(within(Duration::from_secs(600), || {}));
    }
}
