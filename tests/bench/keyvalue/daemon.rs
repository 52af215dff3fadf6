//! The daemon with the guest `counter`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::{Client, get};
use crate::process::Server;
use crate::workshop::Workshop;

/// Asks the store for something that is not there: its response says that the store is open.
pub(crate) const ASK_STORE: &str = "/list/absent";

/// Longer than any request of the benchmark takes, the loops inside the plugin among them.
const PATIENCE: Duration = Duration::from_secs(300);

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

/// The compiled guest, and where its daemons are started.
pub(crate) struct Store {
    workshop: Workshop,
    artifact: PathBuf,
}

impl Store {
    /// Compiles the guest.
    pub(crate) fn new(workshop: Workshop) -> Result<Store> {
        let artifact = workshop.compile(&workshop.guest("counter")?)?;
        Ok(Store { workshop, artifact })
    }

    /// A path in the benchmark's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.workshop.path(name)
    }

    /// Starts the daemon with its data in `data`.
    pub(crate) fn start(&self, mode: Mode, data: &Path) -> Result<Daemon> {
        let timeout = format!("request={}s", PATIENCE.as_secs());
        let flags = ["--kv-durability", mode.name(), "--timeout", &timeout];
        let server = self.workshop.daemon(&[&self.artifact], data, &flags)?;
        Ok(Daemon { server })
    }

    /// Starts the daemon and waits until its store is open.
    pub(crate) fn start_and_open(&self, mode: Mode, data: &Path) -> Result<Daemon> {
        let mut daemon = self.start(mode, data)?;
        daemon.first_response(ASK_STORE)?;
        Ok(daemon)
    }
}

/// A running daemon; killed with SIGKILL when it is dropped.
pub(crate) struct Daemon {
    /// Its process.
    pub(crate) server: Server,
}

impl Daemon {
    /// Milliseconds from the process's start to the first byte of a good response to a GET of `path`.
    pub(crate) fn first_response(&mut self, path: &str) -> Result<f64> {
        let took = self.server.first_response(&get(path))?;
        Ok(took.as_secs_f64() * 1e3)
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect_with(self.server.port(), PATIENCE)
    }

    /// The body of its response to a GET of `path`.
    pub(crate) fn body(&self, path: &str) -> Result<Vec<u8>> {
        let mut client = self.client()?;
        let response = client.send(&get(path));
        Ok(response
            .with_context(|| format!("asking for {path}"))?
            .body
            .into_owned())
    }

    /// The number with which it responds to a GET of `path`.
    pub(crate) fn number(&self, path: &str) -> Result<u64> {
        let body = self.body(path)?;
        let text = String::from_utf8_lossy(&body);
        text.parse()
            .with_context(|| format!("the response to {path} is {text:?}, not a number"))
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
