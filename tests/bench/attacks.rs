//! What one client that means harm costs the others: nine ways to attack, each from one address,
//! while another address asks as it always does. All flags are at their defaults.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::attack::{Attack, Attacker, connect_from};
use crate::bench::{Bench, Run};
use crate::client::{Client, get};
use crate::process::{PATIENCE, Server};
use crate::stats::{Latency, median};
use crate::table::{Cell, Table};
use crate::workshop::Workshop;

/// The benchmark.
pub(crate) const BENCH: Bench = Bench {
    name: "attacks",
    rounds: 5,
    seconds: 2,
    parts: &PARTS,
    measure,
};

/// A part is one attack.
const PARTS: [&str; Attack::ALL.len()] = {
    let mut parts = [""; Attack::ALL.len()];
    let mut index = 0;
    while index < parts.len() {
        parts[index] = Attack::ALL[index].name();
        index += 1;
    }
    parts
};

/// The attacker's address.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The address of the client that is looked at.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// How long an attack goes on before it is looked at: it has taken by then what it can get.
const TAKING: Duration = Duration::from_secs(1);
/// The other client's pause between two requests: it is one of many clients, and none that wants all
/// that there is.
const PAUSE: Duration = Duration::from_millis(2);

/// What the other client saw in one round.
#[derive(Clone, Copy)]
struct Seen {
    /// On a connection that is kept.
    kept: Latency,
    /// On a connection of its own for each request, from before it was there.
    new: Latency,
    failed: usize,
    /// The daemon's peak so far, in bytes.
    peak: u64,
}

fn measure(run: &mut Run) -> Result<()> {
    let attacks: Vec<Attack> = Attack::ALL
        .into_iter()
        .filter(|attack| run.wants(attack.name()))
        .collect();
    let workshop = Workshop::new(run)?;
    let mut artifacts = Vec::new();
    for guest in ["websocket-echo", "calls", "echo"] {
        artifacts.push(workshop.compile(&workshop.guest(guest)?)?);
    }
    let [websocket, calls, echo] = &artifacts[..] else {
        bail!("three guests are three artifacts");
    };
    let computing = workshop.pack(&[calls, echo], &["calls:paths=/call/*"])?;
    let mut quiet = Vec::new();
    let mut under: Vec<Vec<Seen>> = vec![Vec::new(); attacks.len()];
    for number in 1..=run.rounds {
        for (attack, seen) in attacks.iter().zip(&mut under) {
            run.round(number, attack.name());
            // A daemon for each: what one attack leaves behind must not be another's.
            // The daemon has a processor for itself, and attacker and client have another one: they are
            // other machines, which take none of its time.
            stay_on(0)?;
            let plugins: &[&Path] = match attack {
                Attack::Computing => &[&computing],
                _ => &[websocket, echo],
            };
            let server = workshop.daemon(plugins, &workshop.path("data"), &[]);
            stay_on(1)?;
            let mut server = server?;
            server.first_response(&get("/download?bytes=1"))?;
            quiet.push(look(&server, run.seconds).context("before the attack")?);
            let attacking = begin(*attack, &server)?;
            std::thread::sleep(TAKING);
            seen.push(look(&server, run.seconds).context(attack.name())?);
            drop(attacking);
            server.stop()?;
        }
    }
    run.table(table(&quiet, &attacks, &under));
    Ok(())
}

/// Begins an attack by a thread that runs only while no other one wants to (SCHED_IDLE): the client
/// that is looked at has the same processor. The lowest priority does not do: the kernel lets a thread
/// end its slice of several milliseconds before another one runs.
fn begin(attack: Attack, server: &Server) -> Result<Attacker> {
    let port = server.port();
    std::thread::scope(|scope| {
        let beginning = scope.spawn(move || {
            let thread = rustix::thread::gettid().to_string();
            let chrt = Command::new("chrt")
                .args(["--idle", "--pid", "0", &thread])
                .status();
            if !chrt.context("chrt (of util-linux)")?.success() {
                bail!("chrt --idle is refused, so the attacker would be in the others' way");
            }
            // Its threads inherit that.
            Ok(attack.begin(ATTACKER, port))
        });
        beginning.join().map_err(|_| anyhow!("panicked"))?
    })
}

/// Runs this thread, and those that it starts from now on, on this processor alone.
fn stay_on(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)
        .with_context(|| format!("this needs two processors, and number {processor} cannot be had"))
}

/// What the other client sees in so many seconds. It is a thread of its own that goes before all
/// others, since it stands for another machine: what it waits for is the daemon and not a processor.
fn look(server: &Server, seconds: u64) -> Result<Seen> {
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            // Where this is refused it waits for both.
            let _ = rustix::process::nice(-20);
            ask(server, seconds)
        });
        looking
            .join()
            .map_err(|_| anyhow!("the other client panicked"))?
    })
}

/// Asks for so many seconds from the other client's address, on a connection that is kept and on new
/// ones in turn.
fn ask(server: &Server, seconds: u64) -> Result<Seen> {
    let request = get("/download?bytes=1");
    let connect = || Client::over(connect_from(OTHER, server.port(), false)?, PATIENCE);
    let (mut kept, mut new, mut failed) = (Vec::new(), Vec::new(), 0);
    let mut held: Option<Client> = None;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if held.is_none() {
            held = Some(connect()?);
        }
        let began = Instant::now();
        if held
            .as_mut()
            .is_some_and(|client| client.send(&request).is_ok())
        {
            kept.push(began.elapsed().as_nanos() as u64);
        } else {
            (held, failed) = (None, failed + 1);
        }
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        match connect().and_then(|mut client| client.send(&request).map(drop)) {
            Ok(()) => new.push(began.elapsed().as_nanos() as u64),
            Err(_) => failed += 1,
        }
        std::thread::sleep(PAUSE);
    }
    Ok(Seen {
        kept: Latency::of(kept).context("no response on a connection that is kept")?,
        new: Latency::of(new).context("no response on a new connection")?,
        failed,
        peak: server.peak_memory()?,
    })
}

fn table(quiet: &[Seen], attacks: &[Attack], under: &[Vec<Seen>]) -> Table {
    let mut table = Table::new(
        "attacks",
        "one address attacks, another one asks: milliseconds of its requests",
        &[
            "p50",
            "p99",
            "p99 to quiet",
            "p99, new connection",
            "to quiet",
            "failed",
            "daemon's peak, MB",
        ],
    );
    let of = |seen: &[Seen], figure: fn(&Seen) -> f64| median(seen.iter().map(figure));
    let figures: [fn(&Seen) -> f64; 3] = [
        |seen| seen.kept.p50,
        |seen| seen.kept.p99,
        |seen| seen.new.p99,
    ];
    let [_, quiet_kept, quiet_new] = figures.map(|figure| of(quiet, figure));
    let mut row = |label: &str, seen: &[Seen]| {
        let [p50, kept, new] = figures.map(|figure| of(seen, figure));
        let ratio = |value: Option<f64>, quiet: Option<f64>| Some(value? / quiet?);
        let failed: usize = seen.iter().map(|seen| seen.failed).sum();
        let peak = seen.iter().map(|seen| seen.peak).max();
        let cells: [Cell; 7] = [
            p50.into(),
            kept.into(),
            ratio(kept, quiet_kept).into(),
            new.into(),
            ratio(new, quiet_new).into(),
            Some(failed as f64).into(),
            peak.map(|bytes| bytes as f64 / 1e6).into(),
        ];
        table.row(label, cells);
    };
    row("quiet", quiet);
    for (attack, seen) in attacks.iter().zip(under) {
        row(attack.name(), seen);
    }
    table
}
