//! Bytes written for a counter that is hit 1,000 times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::bench::Run;
use crate::client::{Client, get};
use crate::keyvalue::daemon::{Daemon, Mode, Store};
use crate::keyvalue::direct::Direct;
use crate::keyvalue::writes::Writes;
use crate::table::Table;

/// Hits in a second.
const PACE: u64 = 1000;
/// Clients: so many that the pace holds while each hit waits for the disk.
const CLIENTS: usize = 32;
/// The counter, and its length with its value's: the bytes of a hit that mean something.
const KEY: &str = "hits";
const LOGICAL: u64 = KEY.len() as u64 + 8;
/// Hits of plain fjall that each wait for the disk. What a hit writes does not depend on their number.
const SYNCED: u64 = 2000;

/// The threads of the daemon that write to the store: its own, and fjall's.
const STORE_THREADS: [&str; 2] = ["kv-keeper", "fjall:worker"];
/// The thread of this program that calls fjall, and fjall's.
const DIRECT_THREADS: [&str; 2] = ["bench-direct", "fjall:worker"];

/// The daemon commits within a second; after twice as long all is written.
const SETTLE: Duration = Duration::from_secs(2);

/// One way to keep the counter.
struct Row {
    name: String,
    hits: u64,
    /// Hits in a second, where they were paced.
    rate: Option<f64>,
    writes: Writes,
}

/// Hits the counter in each mode, then through fjall alone.
pub(crate) fn measure(run: &mut Run, store: &Store) -> Result<()> {
    let seconds = run.seconds;
    let mut rows = Vec::new();
    for mode in Mode::ALL {
        run.progress(format_args!("counter: {} for {seconds} s", mode.name()));
        rows.push(through_daemon(store, mode, seconds).context(mode.name())?);
    }
    for (name, hits, batch) in [
        (
            "fjall, a write for each hit, synced each second",
            PACE * seconds,
            PACE,
        ),
        ("fjall, each hit synced", SYNCED.min(PACE * seconds), 1),
    ] {
        run.progress(format_args!("counter: {name}"));
        rows.push(Row {
            name: name.to_owned(),
            hits,
            rate: None,
            writes: through_fjall(store, hits, batch).context(name)?,
        });
    }
    run.table(table(&rows));
    Ok(())
}

/// To the kernel goes what the store's threads write (`wchar`), to the disk pages of the whole process
/// (`write_bytes`).
fn table(rows: &[Row]) -> Table {
    let title = format!(
        "bytes written for a counter that is hit {PACE} times a second, {LOGICAL} logical bytes a hit (key and number)"
    );
    let columns = [
        "hits",
        "hits/s",
        "handed to the kernel for each logical byte",
        "written to the disk for each logical byte",
    ];
    let mut table = Table::new("counter", &title, &columns);
    for row in rows {
        let logical = (row.hits * LOGICAL) as f64;
        let per_logical = |bytes: u64| (row.hits > 0).then(|| bytes as f64 / logical);
        let cells = [
            Some(row.hits as f64),
            row.rate,
            per_logical(row.writes.handed),
            per_logical(row.writes.stored),
        ];
        table.row(&row.name, cells);
    }
    table
}

fn through_daemon(store: &Store, mode: Mode, seconds: u64) -> Result<Row> {
    let data = store.path(&format!("counter-{}", mode.name()));
    let daemon = store.start_and_open(mode, &data)?;
    // Opening writes too, which is no hit's doing.
    thread::sleep(SETTLE);
    let id = daemon.server.id().to_string();
    let before = Writes::of(&id, &STORE_THREADS)?;
    let (hits, took) = pace(&daemon, seconds)?;
    thread::sleep(SETTLE);
    let writes = Writes::of(&id, &STORE_THREADS)?.since(before);
    let counted = daemon.number(&format!("/incr/{KEY}?by=0"))?;
    ensure!(
        counted == hits,
        "{hits} hits were acknowledged and {counted} were counted"
    );
    daemon.stop()?;
    Ok(Row {
        name: format!("zlayer, {}", mode.name()),
        hits,
        rate: Some(hits as f64 / took.as_secs_f64()),
        writes,
    })
}

/// Hits the counter at [`PACE`] for `seconds`: hits made, and how long it took to the last response.
fn pace(daemon: &Daemon, seconds: u64) -> Result<(u64, Duration)> {
    let (wanted, duration) = (PACE * seconds, Duration::from_secs(seconds));
    let (ticket, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let request = get(&format!("/incr/{KEY}"));
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        clients.push(daemon.client()?);
    }
    let start = Instant::now();
    let work = |mut client: Client| -> Result<()> {
        loop {
            let number = ticket.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_nanos(number * (1_000_000_000 / PACE));
            // Slower than the pace: what is not made by the end is not made at all.
            if number >= wanted || start.elapsed() >= duration {
                return Ok(());
            }
            thread::sleep(due.saturating_sub(start.elapsed()));
            client.send(&request)?;
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(|| work(client)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow!("a client panicked"))
                .flatten()
        })
    })?;
    // The last hit is due before the end: the time is as long as the hits were to take.
    Ok((done.into_inner(), start.elapsed().max(duration)))
}

/// Makes `hits` as fast as they go, and waits for the disk after each `batch` of them: fjall writes the
/// same bytes at any pace.
fn through_fjall(store: &Store, hits: u64, batch: u64) -> Result<Writes> {
    let folder = store.path(&format!("counter-fjall-{batch}"));
    let direct = Direct::open(&folder)?;
    direct.persist()?;
    let work = || -> Result<Writes> {
        let before = Writes::of("self", &DIRECT_THREADS)?;
        for number in 1..=hits {
            let counted = direct.hit(KEY)?;
            ensure!(counted.cast_unsigned() == number, "a hit is lost");
            if number % batch == 0 {
                direct.persist()?;
            }
        }
        direct.persist()?;
        Ok(Writes::of("self", &DIRECT_THREADS)?.since(before))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name(DIRECT_THREADS[0].to_owned())
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .map_err(|_| anyhow!("the thread panicked"))
            .flatten()
    })
}
