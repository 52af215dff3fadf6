//! What is measured, and what it needs: programs and compiled guests.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use crate::bench::Run;
use crate::nginx;
use crate::process::{Server, on_path};
use crate::serve::peer::Peer;
use crate::workshop::Workshop;

/// Requests that one instance serves where instances are reused: more than a run asks for.
const REUSE: &str = "1000000";

/// A server, one way of running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The daemon: a fresh instance for each request.
    Zlayer,
    /// The daemon: instances that are reused.
    ZlayerReuse,
    /// `wasmtime serve`: a fresh instance for each request.
    Wasmtime,
    /// `wasmtime serve`: instances that are reused.
    WasmtimeReuse,
    /// The daemon with a thread for each processor, as wasmtime has.
    ZlayerThreads,
    /// The same, instances that are reused.
    ZlayerThreadsReuse,
    /// nginx, one process, sending the same bytes from its configuration.
    Nginx,
}

impl Contender {
    /// All of them, in the order of a round.
    pub(crate) const ALL: [Contender; 7] = [
        Contender::Zlayer,
        Contender::Wasmtime,
        Contender::ZlayerThreads,
        Contender::ZlayerReuse,
        Contender::WasmtimeReuse,
        Contender::ZlayerThreadsReuse,
        Contender::Nginx,
    ];

    /// Those whose starts are measured: the flags of the others change nothing there.
    pub(crate) const STARTED: [Contender; 3] =
        [Contender::Zlayer, Contender::Wasmtime, Contender::Nginx];

    /// Its column's heading.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Zlayer => "zlayer",
            Contender::ZlayerReuse => "zlayer, reuse",
            Contender::Wasmtime => "wasmtime serve",
            Contender::WasmtimeReuse => "wasmtime serve, reuse",
            Contender::ZlayerThreads => "zlayer, all threads",
            Contender::ZlayerThreadsReuse => "zlayer, all threads, reuse",
            Contender::Nginx => "nginx",
        }
    }

    /// Whether it is the daemon, which alone has a store.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Contender::Zlayer
            | Contender::ZlayerReuse
            | Contender::ZlayerThreads
            | Contender::ZlayerThreadsReuse => true,
            Contender::Wasmtime | Contender::WasmtimeReuse | Contender::Nginx => false,
        }
    }

    /// Requests that an instance of it serves, where that is more than one.
    fn reuse(self) -> Option<&'static str> {
        match self {
            Contender::ZlayerReuse | Contender::WasmtimeReuse | Contender::ZlayerThreadsReuse => {
                Some(REUSE)
            }
            Contender::Zlayer
            | Contender::Wasmtime
            | Contender::ZlayerThreads
            | Contender::Nginx => None,
        }
    }

    fn has_all_threads(self) -> bool {
        matches!(
            self,
            Contender::ZlayerThreads | Contender::ZlayerThreadsReuse
        )
    }
}

/// Everything that the servers are started with.
pub(crate) struct Servers {
    /// Where they are started.
    pub(crate) workshop: Workshop,
    artifact: PathBuf,
    /// A plugin that stores.
    storing: PathBuf,
    wasmtime: Option<Peer>,
    nginx: Option<PathBuf>,
    /// The load generator, where it is installed.
    pub(crate) wrk: Option<PathBuf>,
}

impl Servers {
    /// Finds the programs and compiles the guest. Without the daemon this fails; what else is missing
    /// is left out with a remark.
    pub(crate) fn new(run: &mut Run) -> Result<Servers> {
        let workshop = Workshop::new(run)?;
        let guest = workshop.guest("hello")?;
        let artifact = workshop.compile(&guest)?;
        let storing = workshop.compile(&workshop.guest("counter")?)?;
        let wasmtime = match Peer::find(&workshop, &guest)? {
            Ok(peer) => {
                run.program(peer.version.clone());
                Some(peer)
            }
            Err(why) => {
                run.progress(&why);
                run.remark(why);
                None
            }
        };
        let nginx = on_path("nginx");
        match &nginx {
            Some(program) => run.program(nginx::version(program)?),
            None => run.remark(nginx::MISSING),
        }
        let wrk = on_path("wrk");
        match &wrk {
            Some(_) => run.program("load from `wrk -t1 -c16`".to_owned()),
            None => run.remark(
                "wrk is not on PATH (Debian: wrk), so that the load is this program's own, from one \
                 thread over 16 connections.",
            ),
        }
        Ok(Servers {
            workshop,
            artifact,
            storing,
            wasmtime,
            nginx,
            wrk,
        })
    }

    /// Whether the contender takes part.
    pub(crate) fn have(&self, contender: Contender) -> bool {
        match contender {
            Contender::Wasmtime | Contender::WasmtimeReuse => self.wasmtime.is_some(),
            Contender::Nginx => self.nginx.is_some(),
            _ => true,
        }
    }

    /// Starts the daemon with a plugin that stores.
    pub(crate) fn start_storing(&self, data: &Path) -> Result<Server> {
        self.workshop.daemon(&[&self.storing], data, &[])
    }

    /// Starts the contender on the loopback address. `data` is the daemon's data folder; the others
    /// have none.
    pub(crate) fn start(&self, contender: Contender, data: &Path) -> Result<Server> {
        let missing = "it takes no part";
        if contender.is_ours() {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            let threads = threads.to_string();
            let mut flags = Vec::new();
            if let Some(reuse) = contender.reuse() {
                flags.extend(["--reuse", reuse]);
            }
            if contender.has_all_threads() {
                flags.extend(["--threads", &threads]);
            }
            return self.workshop.daemon(&[&self.artifact], data, &flags);
        }
        if contender == Contender::Nginx {
            let program = self.nginx.as_ref().context(missing)?;
            return nginx::server(program, &self.workshop.path("nginx"));
        }
        let peer = self.wasmtime.as_ref().context(missing)?;
        peer.start(&self.workshop.path("wasmtime.log"), contender.reuse())
    }
}
