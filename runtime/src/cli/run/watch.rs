//! `zlayer run --watch`: serves a deployment that somebody is at work on, and each new state of it.
//!
//! Two processes: a daemon as any other, which is confined and starts no programs, and this one, which has the
//! compiler at hand, serves nothing itself, and installs what it packs through the daemon's admin socket. So what
//! is served changes as on a device, without losing a request.

mod author;
mod changes;
mod child;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Said;
use super::source::Given;
use crate::daemon::{self, Installation};
use crate::data_dir::TemporaryFolder;
use crate::error::{EXIT_SIGNALLED, Error, Result};
use crate::logger;
use author::Author;
use changes::Changes;
use child::Child;
pub(super) use child::end_with;
use subject::Subject;

/// What happens to who watches.
enum Event {
    /// A signal came.
    Signal(i32),
    /// The daemon has ended.
    Ended,
}

/// Serves what is `given`, and each new state of it, until the daemon ends. Returns its exit code.
///
/// # Errors
///
/// It cannot be watched, or not be served at all. What is wrong with the deployment itself is told, and waited for
/// to be mended.
pub(super) fn run(given: Given, said: &Said) -> Result<u8> {
    let subject = Subject::of(given)?;
    let target = daemon::target()?;
    daemon::may_compile(subject.path(), "pack", target, &said.key_dirs)?;
    let (events, happened) = mpsc::channel();
    let is_over = Arc::<AtomicBool>::default();
    listen(events.clone(), Arc::clone(&is_over))?;
    let folder = Folder::of(said.data_dir.as_deref())?;
    // Before the first state is read: what changes from here on is a change.
    let (mut changes, stop) = Changes::new(subject.files())?;
    let settings = (target, said.profile);
    let mut author = Author::new(
        subject,
        settings,
        folder.path().to_owned(),
        Arc::clone(&is_over),
    );
    match author.pack() {
        Ok(packed) => {
            let installation = Installation {
                data_dir: folder.path().to_owned(),
                key_dirs: said.key_dirs.clone(),
                allow_unsigned: said.allow_unsigned,
            };
            installation.install(author.path(), packed.file, said.profile)?;
        }
        Err(_) if is_over.load(Ordering::Acquire) => return Ok(EXIT_SIGNALLED),
        Err(Error::Forwarded(_)) => {
            prepare(&said.key_dirs);
            logger::complain(&format!(
                "zlayer: {} cannot be packed, for what is said above: nothing is served until it is mended\n",
                author.path().display()
            ));
        }
        Err(error) => return Err(error),
    }
    changes.watch(author.files(), author.began());
    let mut child = Child::start(folder.temporary())?;
    child.tell_end(move || {
        // Nobody listens any more where this process ends.
        let _ = events.send(Event::Ended);
    })?;
    let working = thread::Builder::new()
        .name("author".to_owned())
        .spawn(move || author.work(changes))
        .map_err(|error| Error::device("cannot start the thread that watches", error))?;
    let mut is_told = false;
    while let Ok(Event::Signal(signal)) = happened.recv() {
        is_told = true;
        child.signal(signal);
    }
    let code = child.wait(is_told);
    is_over.store(true, Ordering::Release);
    drop(stop);
    // A panic of its own has been told.
    let _ = working.join();
    code
}

/// Hears the signals that end a daemon. Whether one of them does is the daemon's to say, to which they go on.
fn listen(events: Sender<Event>, is_over: Arc<AtomicBool>) -> Result<()> {
    let mut obeyed = vec![SIGTERM, SIGINT, SIGQUIT];
    if !daemon::is_hangup_ignored() {
        obeyed.push(SIGHUP);
    }
    let heard = Signals::new(obeyed);
    let mut heard = heard.map_err(|error| Error::device("cannot listen to signals", error))?;
    let listening = move || {
        for signal in heard.forever() {
            // With HTTPS a hang-up has certificates read anew, and ends nothing.
            if signal != SIGHUP {
                is_over.store(true, Ordering::Release);
            }
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    let started = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listening);
    started
        .map(drop)
        .map_err(|error| Error::device("cannot start the thread for signals", error))
}

/// Makes the folder of the account's own keys, if it is missing: the development key comes there with the first
/// deployment that can be packed, and a daemon may look into such folders alone as were there when it started.
fn prepare(key_dirs: &[PathBuf]) {
    use std::os::unix::fs::DirBuilderExt;
    let own = zlayer_bundle::user_key_dir().filter(|own| key_dirs.contains(own));
    let made = own.map(|own| {
        let mut making = std::fs::DirBuilder::new();
        making.recursive(true).mode(0o700).create(own)
    });
    if let Some(Err(error)) = made {
        log::warn!("the folder of your own keys cannot be made: {error}");
    }
}

/// The daemon's data folder.
enum Folder {
    Named(PathBuf),
    /// It goes with this value, unless the daemon removed it before.
    Temporary(TemporaryFolder),
}

impl Folder {
    fn of(named: Option<&Path>) -> Result<Folder> {
        if let Some(path) = named {
            return Ok(Folder::Named(path.to_owned()));
        }
        let made = TemporaryFolder::make().map_err(|error| {
            Error::device(
                "cannot make a temporary data folder; name one with --data-dir",
                error,
            )
        })?;
        Ok(Folder::Temporary(made))
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Named(path) => path,
            Folder::Temporary(folder) => folder.path(),
        }
    }

    /// Its path, if it is a temporary one.
    fn temporary(&self) -> Option<&Path> {
        match self {
            Folder::Named(_) => None,
            Folder::Temporary(folder) => Some(folder.path()),
        }
    }
}
