//! The daemon with the guest `counter`, and the place where its data lies.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::statfs;
use tempfile::TempDir;

use crate::client::{Client, PATIENCE};
use crate::ours::Ours;
use crate::process::{Server, free_port};

/// Asks the store for something that is not there: its answer says that the store is open.
pub(crate) const ASK_STORE: &str = "/list/absent";

/// The kernel's number for a file system in memory (`TMPFS_MAGIC`, statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// How a namespace is kept, as `--kv-durability` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In memory alone.
    Memory,
    /// On the disk within a second.
    Interval,
    /// On the disk before it is acknowledged.
    Sync,
}

impl Mode {
    /// All of them.
    pub(crate) const ALL: [Mode; 3] = [Mode::Memory, Mode::Interval, Mode::Sync];

    /// The flag's value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Memory => "memory",
            Mode::Interval => "interval",
            Mode::Sync => "sync",
        }
    }
}

/// Programs, and a folder on the current folder's disk that goes with this value.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) ours: Ours,
}

impl Place {
    /// Makes the folder and compiles the guest.
    pub(crate) fn new() -> Result<Place> {
        let current = std::env::current_dir().context("the current folder")?;
        let folder = tempfile::Builder::new()
            .prefix(".zlayer-bench-")
            .tempdir_in(&current)
            .with_context(|| format!("cannot make a folder in {}", current.display()))?;
        Ok(Place {
            ours: Ours::new("counter", folder.path())?,
            folder,
        })
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether the folder is on no disk at all.
    pub(crate) fn is_in_memory(&self) -> bool {
        // The field's type differs between machines.
        statfs(self.folder.path())
            .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == TMPFS))
    }

    /// Starts the daemon with its data in `data`.
    pub(crate) fn start(&self, mode: Mode, data: &Path) -> Result<Daemon> {
        let port = free_port()?;
        let mut command = self.ours.serve(port, data);
        command
            .args(["--kv-durability", mode.name(), "--timeout"])
            .arg(format!("request={}s", PATIENCE.as_secs()));
        let server = Server::start(command, port, &self.path("daemon.log"))?;
        Ok(Daemon { server })
    }

    /// Starts the daemon and waits until its store is open.
    pub(crate) fn start_and_open(&self, mode: Mode, data: &Path) -> Result<Daemon> {
        let mut daemon = self.start(mode, data)?;
        daemon.first_answer(ASK_STORE)?;
        Ok(daemon)
    }
}

/// A running daemon; killed with SIGKILL when it is dropped.
pub(crate) struct Daemon {
    /// Its process.
    pub(crate) server: Server,
}

impl Daemon {
    /// Milliseconds from the process's start to the first byte of a good answer to a GET of `path`.
    pub(crate) fn first_answer(&mut self, path: &str) -> Result<f64> {
        let request = crate::client::request(path);
        let took = self.server.first_answer(request.as_bytes())?;
        Ok(took.as_secs_f64() * 1e3)
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.server.port())
    }

    /// The number that it answers to a GET of `path`.
    pub(crate) fn number(&self, path: &str) -> Result<u64> {
        let body = self.client()?.get(path)?;
        let text = String::from_utf8_lossy(&body);
        text.parse()
            .with_context(|| format!("{path} is answered by {text:?}, not by a number"))
    }

    /// Sets the keys from `from` on, `count` of them with `bytes` bytes each.
    pub(crate) fn fill(&self, from: u64, count: u64, bytes: u64) -> Result<()> {
        self.number(&format!("/bench/fill?from={from}&n={count}&bytes={bytes}"))?;
        Ok(())
    }

    /// Has it write everything down and end.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
    }
}

/// A new folder's path: what was there goes.
pub(crate) fn cleared(path: PathBuf) -> Result<PathBuf> {
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(path),
    }
}
