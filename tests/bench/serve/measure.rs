//! The measurements: one start of a server, and one round of load.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Client, get};
use crate::load::{self, CONNECTIONS, Load, WARM_UP};
use crate::nginx::BODY;
use crate::serve::servers::{Contender, Servers};
use crate::serve::wrk;

/// Load from one connection. The kernel counts processor time in steps of 10 ms, 1 % of this.
const ALONE: Duration = Duration::from_secs(1);

/// The thread that the store's database starts as the last step of opening.
const STORE_THREAD: &str = "fjall:worker";

/// One start of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// From starting the process to the first byte of its first response, in milliseconds.
    pub(crate) response: f64,
    /// Peak memory at that moment, in bytes.
    pub(crate) peak: f64,
    /// Peak memory of one with a plugin that stores, in bytes. Only the daemon has a store.
    pub(crate) peak_with_store: Option<f64>,
}

/// One round of load on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// With [`CONNECTIONS`] connections.
    pub(crate) load: Load,
    /// With one.
    pub(crate) alone: Load,
    /// The server's processor time for a request with [`CONNECTIONS`], in microseconds.
    pub(crate) processor: f64,
    /// The same with one connection: whoever waits for it sleeps and is woken each time.
    pub(crate) processor_alone: f64,
    /// Peak memory after all that, in bytes.
    pub(crate) peak: f64,
}

/// Starts `contender`, has it respond once, and ends it.
pub(crate) fn start(servers: &Servers, contender: Contender, data: &Path) -> Result<Start> {
    let mut server = servers.start(contender, data)?;
    let response = server.first_response(&get("/"))?;
    let peak = server.peak_memory()? as f64;
    server.stop()?;
    let peak_with_store = match contender.is_ours() {
        true => Some(peak_with_store(servers)?),
        false => None,
    };
    Ok(Start {
        response: response.as_secs_f64() * 1e3,
        peak,
        peak_with_store,
    })
}

/// Peak memory in bytes when a plugin that stores has responded for the first time. The store is
/// opened only for those.
fn peak_with_store(servers: &Servers) -> Result<f64> {
    let data = servers.workshop.path("stored");
    let mut server = servers.start_storing(&data)?;
    server.first_response(&get("/incr/starts"))?;
    server.wait_for_thread(STORE_THREAD)?;
    let store = data.join("kv");
    let is_filled = std::fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(is_filled, "{} holds no store", store.display());
    let peak = server.peak_memory()? as f64;
    server.stop()?;
    Ok(peak)
}

/// Milliseconds that the daemon's process takes to start and end without doing anything: what the
/// kernel and the C library cost.
pub(crate) fn bare_start(servers: &Servers) -> Result<f64> {
    let mut command = servers.workshop.program();
    command.arg("--version");
    let started = Instant::now();
    let output = command.output().context("zlayer --version")?;
    let took = started.elapsed();
    ensure!(
        output.status.success(),
        "zlayer --version: {}",
        output.status
    );
    Ok(took.as_secs_f64() * 1e3)
}

/// Starts `contender`, loads it with many connections and then with one, and ends it.
pub(crate) fn round(
    servers: &Servers,
    contender: Contender,
    data: &Path,
    seconds: u64,
) -> Result<Round> {
    let request = get("/");
    let mut server = servers.start(contender, data)?;
    server.first_response(&request)?;
    let port = server.port();
    let own = |connections, duration| {
        load::run(port, connections, duration, &request, Some(BODY.as_bytes()))
    };
    let mut client = Client::connect(port)?;
    let response = client.send(&request)?;
    ensure!(
        *response.body == *BODY.as_bytes(),
        "the response is {:?} instead of {BODY:?}",
        String::from_utf8_lossy(&response.body)
    );
    drop(client);
    own(CONNECTIONS, WARM_UP)?;
    let (load, used) = server.processor_us(|| match &servers.wrk {
        Some(wrk) => wrk::run(wrk, port, CONNECTIONS, seconds),
        None => own(CONNECTIONS, Duration::from_secs(seconds)),
    })?;
    let (alone, used_alone) = server.processor_us(|| own(1, ALONE))?;
    let peak = server.peak_memory()? as f64;
    server.stop()?;
    Ok(Round {
        load,
        alone,
        processor: used / load.requests as f64,
        processor_alone: used_alone / alone.requests as f64,
        peak,
    })
}
