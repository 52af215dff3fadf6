//! What the daemon takes in one machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::parts::{Parts, plugin};
use crate::emulated::{Boot, Client, Daemon, Figures, Model};

/// Requests between two looks, one after the other on one connection.
const REQUESTS: u32 = 1000;

/// Calls of the store: so many of each, in requests of fewer, so that the plugin's own memory stays small.
const CALLS: u32 = 10_000;
const PIECE: u32 = 1000;

/// A request that asks the store.
const ASK_STORE: &str = "/exists/key";

/// Bytes of a value that is stored.
const VALUE: u32 = 100;

/// The daemon is at rest when it has committed, which it does within a second.
const SETTLE: Duration = Duration::from_secs(2);

/// What one machine showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// The version of its kernel.
    pub(super) kernel: String,
    /// Bytes that the machine had for programs before the daemon ran.
    pub(super) available_before: u64,
    /// At the first answer of `hello`, in an empty store.
    pub(super) first: Figures,
    /// Instructions of one more request.
    pub(super) request: u64,
    /// After [`REQUESTS`] of them.
    pub(super) requests: Figures,
    /// The plugin `counter` at its first answer.
    pub(super) counter: Figures,
    /// After [`CALLS`] increments and as many new keys.
    pub(super) calls: Figures,
}

/// Boots the machine and measures in it.
pub(super) fn measure(model: Model, parts: &Parts) -> Result<Measured> {
    println!("\n==== {model}");
    // The real boards' loaders give a seed; instructions are the same without.
    let boot = Boot {
        seeded: true,
        counted: true,
    };
    let mut machine = parts.boot(model, boot)?;
    machine.connect_network()?;
    let mut measured = Measured {
        kernel: machine.kernel()?,
        available_before: machine.available()?,
        ..Measured::default()
    };

    // Once before, so that what a start reads is in the page cache: a card's speed is no figure of ours.
    machine.serve(&plugin("hello"), "/")?.stop()?;
    let mut daemon = machine.serve(&plugin("hello"), "/")?;
    measured.first = daemon.at_first_answer;
    let mut client = daemon.connect()?;
    // What only the first requests of a connection cost is not the figure.
    ask(&mut client, REQUESTS / 10)?;
    let before = daemon.figures()?;
    ask(&mut client, REQUESTS)?;
    settle();
    measured.requests = daemon.figures()?;
    let spent = measured.requests.processor.saturating_sub(before.processor);
    measured.request = spent / u64::from(REQUESTS);
    drop(client);
    daemon.stop()?;

    let mut daemon = machine.serve(&plugin("counter"), ASK_STORE)?;
    measured.counter = daemon.at_first_answer;
    store(&daemon)?;
    settle();
    measured.calls = daemon.figures()?;
    daemon.stop()?;
    let kills = machine.kills()?;
    ensure!(kills.is_empty(), "the kernel killed: {}", kills.join("\n"));
    Ok(measured)
}

fn ask(client: &mut Client, requests: u32) -> Result<()> {
    for number in 0..requests {
        client
            .get("/measured")
            .and_then(|response| response.text())
            .with_context(|| format!("request {number}"))?;
    }
    Ok(())
}

/// Increments a counter and stores new keys.
fn store(daemon: &Daemon) -> Result<()> {
    let mut client = daemon.connect()?;
    for piece in 0..CALLS / PIECE {
        let from = piece * PIECE;
        for path in [
            format!("/bench/increment?n={PIECE}"),
            format!("/bench/fill?n={PIECE}&bytes={VALUE}&from={from}"),
        ] {
            client.get(&path)?.text().with_context(|| path.clone())?;
        }
    }
    Ok(())
}

fn settle() {
    std::thread::sleep(SETTLE);
}
