//! How fast and how small the daemon is, beside `wasmtime serve` and nginx in the same run.
//!
//! All send the same bytes to the same requests. The daemon runs as it comes, with a thread for two
//! processors, and once more with a thread for each, as wasmtime has by itself; nginx runs with one
//! process.

mod column;
mod measure;
mod peer;
mod report;
mod servers;
mod wrk;

use std::fs;

use anyhow::{Context, Result};

use crate::bench::{Bench, Run};
use crate::serve::column::Columns;
use crate::serve::servers::{Contender, Servers};

/// The benchmark.
pub(crate) const BENCH: Bench = Bench {
    name: "serve",
    rounds: 5,
    seconds: 2,
    parts: &["start", "load"],
    measure,
};

/// Starts for each round of load: they are quick.
const STARTS: u32 = 3;

fn measure(run: &mut Run) -> Result<()> {
    let servers = Servers::new(run)?;
    let mut columns = Columns::new();
    if run.wants("start") {
        start(run, &servers, &mut columns).context("starting")?;
    }
    if run.wants("load") {
        load(run, &servers, &mut columns).context("under load")?;
    }
    report::tables(run, &columns);
    Ok(())
}

fn start(run: &Run, servers: &Servers, columns: &mut Columns) -> Result<()> {
    let kept = servers.workshop.path("data");
    // One start that does not count: it fills the kept folder and the page cache.
    measure::start(servers, Contender::Zlayer, &kept)?;
    for number in 1..=run.rounds {
        run.round(number, "starts");
        for _ in 0..STARTS {
            for contender in Contender::STARTED {
                if servers.have(contender) {
                    let start = measure::start(servers, contender, &kept);
                    let start = start.with_context(|| contender.name())?;
                    columns.of_mut(contender).starts.push(start);
                }
            }
            let fresh = servers.workshop.path("data-new");
            let first = measure::start(servers, Contender::Zlayer, &fresh)?;
            columns.of_mut(Contender::Zlayer).first_starts.push(first);
            fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
            let bare = measure::bare_start(servers)?;
            columns.of_mut(Contender::Zlayer).bare_starts.push(bare);
        }
    }
    Ok(())
}

fn load(run: &Run, servers: &Servers, columns: &mut Columns) -> Result<()> {
    let kept = servers.workshop.path("data");
    for number in 1..=run.rounds {
        for contender in Contender::ALL {
            if servers.have(contender) {
                run.round(number, contender.name());
                let round = measure::round(servers, contender, &kept, run.seconds);
                let round = round.with_context(|| contender.name())?;
                columns.of_mut(contender).rounds.push(round);
            }
        }
    }
    Ok(())
}
