//! How long others wait while a plugin calls the host with the largest and the most of its arguments, on
//! a daemon with one thread: no call keeps it for long in one piece.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::attack::connect_from;
use crate::bench::{Bench, Run};
use crate::client::{Client, get};
use crate::process::{PATIENCE, Server};
use crate::stats::{Latency, median};
use crate::table::Table;
use crate::workshop::Workshop;

/// The benchmark.
pub(crate) const BENCH: Bench = Bench {
    name: "calls",
    rounds: 3,
    seconds: 1,
    parts: &["calls"],
    measure,
};

/// The address of the client whose plugin makes the calls, and of the one that waits.
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The other client's pause between two requests.
const PAUSE: Duration = Duration::from_millis(1);
/// Everything that calls need: memory for the longest lists, something to read, and no limit that
/// would end them early.
const FLAGS: [&str; 14] = [
    "--threads",
    "1",
    "--memory-max",
    "256Mi",
    "--kv-quota",
    "64Mi",
    "--timeout",
    "request=5m",
    "--config",
    "a=value",
    "--secret",
    "a=secret",
    "--log",
    "binary",
];
/// What the deployment says of the plugin that calls.
const PATHS: &str = "calls:paths=/call/*";

/// What came of one kind of call in one round.
struct Seen {
    /// How often it was made in a second; none where it ended in a trap.
    calls: Option<f64>,
    other: Latency,
}

fn measure(run: &mut Run) -> Result<()> {
    if !run.wants("calls") {
        return Ok(());
    }
    let workshop = Workshop::new(run)?;
    let mut artifacts = Vec::new();
    for guest in ["calls", "echo"] {
        artifacts.push(workshop.compile(&workshop.guest(guest)?)?);
    }
    let artifacts: Vec<&Path> = artifacts.iter().map(AsRef::as_ref).collect();
    let bundle = workshop.pack(&artifacts, &[PATHS])?;
    let mut server = workshop.daemon(&[&bundle], &workshop.path("data"), &FLAGS)?;
    server.first_response(&get("/download?bytes=1"))?;
    let names = text(&server, "/call/all")?;
    let names: Vec<&str> = names.lines().collect();
    let mut seen: Vec<Vec<Seen>> = names.iter().map(|_| Vec::new()).collect();
    for number in 1..=run.rounds {
        for (name, seen) in names.iter().zip(&mut seen) {
            run.round(number, name);
            seen.push(look(&server, name, run.seconds).with_context(|| (*name).to_owned())?);
        }
    }
    server.stop()?;
    run.table(table(&names, &seen));
    Ok(())
}

fn text(server: &Server, path: &str) -> Result<String> {
    let mut client = Client::connect(server.port())?;
    let body = client.send(&get(path))?.body.into_owned();
    String::from_utf8(body).context("no text")
}

/// Has the plugin make a call for so many seconds, and asks for something small meanwhile.
fn look(server: &Server, name: &str, seconds: u64) -> Result<Seen> {
    let time = Duration::from_secs(seconds);
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut calls = None;
            // A call that ends in a trap is made anew.
            while let left = end.saturating_duration_since(Instant::now())
                && !left.is_zero()
            {
                let path = format!("/call/{name}?ms={}", left.as_millis().max(1));
                let connected = connect_from(CALLER, server.port(), false)?;
                let mut client = Client::over(connected, PATIENCE + time)?;
                if let Ok(response) = client.send(&get(&path)) {
                    let count = String::from_utf8_lossy(&response.body).parse::<f64>();
                    calls = count.ok().map(|count| count / seconds as f64);
                }
            }
            anyhow::Ok(calls)
        });
        let request = get("/download?bytes=1");
        let mut client = Client::over(connect_from(OTHER, server.port(), false)?, PATIENCE)?;
        let mut took = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            client.send(&request)?;
            took.push(began.elapsed().as_nanos() as u64);
            thread::sleep(PAUSE);
        }
        let calls = calling.join().ok().context("the caller panicked")??;
        let other = Latency::of(took).context("no response")?;
        Ok(Seen { calls, other })
    })
}

fn table(names: &[&str], seen: &[Vec<Seen>]) -> Table {
    let mut table = Table::new(
        "calls",
        "one plugin calls the host, another one answers on the same thread: milliseconds of its requests",
        &["calls a second", "p50", "p99", "slowest"],
    );
    for (name, seen) in names.iter().zip(seen) {
        let of = |figure: fn(&Seen) -> f64| median(seen.iter().map(figure));
        let calls = median(seen.iter().filter_map(|seen| seen.calls));
        let cells = [
            calls,
            of(|seen| seen.other.p50),
            of(|seen| seen.other.p99),
            of(|seen| seen.other.max),
        ];
        table.row(name, cells);
    }
    table
}
