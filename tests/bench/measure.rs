//! The measurements: one start of a server, and one round of load.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::load::{self, Load, REQUEST};
use crate::process::{Server, free_port};
use crate::setup::{BODY, Contender, Setup};
use crate::wrk;

/// Connections under load.
pub(crate) const CONNECTIONS: usize = 16;

/// Load before the load that counts: caches fill, pools reach their size.
const WARM_UP: Duration = Duration::from_millis(300);

/// Load from one connection. The kernel counts processor time in steps of 10 ms, 1 % of this.
const ALONE: Duration = Duration::from_secs(1);

/// The thread that the store's database starts as the last step of opening.
const STORE_THREAD: &str = "fjall:worker";

/// One start of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// From starting the process to the first byte of its first answer, in milliseconds.
    pub(crate) answer: f64,
    /// Peak memory at that moment, in bytes.
    pub(crate) peak: f64,
    /// Peak memory once the key-value store is open too, in bytes. Only the daemon has one.
    pub(crate) peak_with_store: Option<f64>,
}

/// One round of load on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// With [`CONNECTIONS`] connections.
    pub(crate) load: Load,
    /// Answers per second with one connection.
    pub(crate) rate_alone: f64,
    /// The server's processor time for a request with [`CONNECTIONS`], in microseconds.
    pub(crate) processor: f64,
    /// The same with one connection: whoever waits for it sleeps and is woken each time.
    pub(crate) processor_alone: f64,
    /// Peak memory after all that, in bytes.
    pub(crate) peak: f64,
}

/// Starts `contender`, has it answer once, and ends it.
pub(crate) fn start(setup: &Setup, contender: Contender, data: &Path) -> Result<Start> {
    let mut server = launch(setup, contender, data)?;
    let answer = server.first_answer(REQUEST)?;
    let peak = server.peak_memory()? as f64;
    let peak_with_store = if has_store(contender) {
        server.wait_for_thread(STORE_THREAD)?;
        let store = data.join("kv");
        let is_filled = std::fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some());
        ensure!(is_filled, "{} holds no store", store.display());
        Some(server.peak_memory()? as f64)
    } else {
        None
    };
    server.stop()?;
    Ok(Start {
        answer: answer.as_secs_f64() * 1e3,
        peak,
        peak_with_store,
    })
}

/// Starts `contender`, loads it with many connections and then with one, and ends it.
pub(crate) fn round(
    setup: &Setup,
    contender: Contender,
    data: &Path,
    seconds: u64,
) -> Result<Round> {
    let mut server = launch(setup, contender, data)?;
    server.first_answer(REQUEST)?;
    if has_store(contender) {
        server.wait_for_thread(STORE_THREAD)?;
    }
    let port = server.port();
    let body = load::fetch(port, REQUEST)?;
    ensure!(
        body == BODY.as_bytes(),
        "{} answers {:?} instead of {BODY:?}",
        contender.name(),
        String::from_utf8_lossy(&body)
    );
    let own = |connections, duration| {
        load::run(port, connections, duration, REQUEST, Some(BODY.as_bytes()))
    };
    own(CONNECTIONS, WARM_UP)?;
    let before = server.processor_time()?;
    let load = match &setup.wrk {
        Some(wrk) => wrk::run(wrk, port, CONNECTIONS, seconds)?,
        None => own(CONNECTIONS, Duration::from_secs(seconds))?,
    };
    let between = server.processor_time()?;
    let alone = own(1, ALONE)?;
    let after = server.processor_time()?;
    let per_request = |used: Duration, load: &Load| used.as_secs_f64() * 1e6 / load.requests as f64;
    let peak = server.peak_memory()? as f64;
    server.stop()?;
    Ok(Round {
        load,
        rate_alone: alone.rate,
        processor: per_request(between.saturating_sub(before), &load),
        processor_alone: per_request(after.saturating_sub(between), &alone),
        peak,
    })
}

fn launch(setup: &Setup, contender: Contender, data: &Path) -> Result<Server> {
    let port = free_port()?;
    let log = setup.path("server.log");
    Server::start(setup.command(contender, port, data)?, port, &log)
        .with_context(|| contender.name())
}

fn has_store(contender: Contender) -> bool {
    matches!(contender, Contender::Zlayer | Contender::ZlayerReuse)
}
