//! Time of a call through the component boundary, beside fjall called directly.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::Run;
use crate::keyvalue::daemon::{Daemon, Mode, Store};
use crate::keyvalue::direct::{Direct, KEYS, VALUE_BYTES};
use crate::stats::median;
use crate::table::{Cell, Table};

/// Calls in a round: of quick operations, of lists, and of those that wait for the disk.
const QUICK: u64 = 10_000;
const LISTS: u64 = 300;
const SYNCED: u64 = 300;

/// Makes a number of calls and tells how long they took.
type Directly = fn(&Direct, u64) -> Result<Duration>;

/// What is timed.
struct Case {
    operation: &'static str,
    mode: Mode,
    calls: u64,
    /// What a plain user of fjall would call for the same, and what it is.
    direct: Option<(&'static str, Directly)>,
}

/// In this order within a round: what reads goes before what writes.
const CASES: [Case; 10] = [
    case("get", Mode::Memory, QUICK, None),
    case("get", Mode::Interval, QUICK, Some(("get", Direct::get))),
    case("list", Mode::Memory, LISTS, None),
    case(
        "list",
        Mode::Interval,
        LISTS,
        Some(("prefix", Direct::list)),
    ),
    case("set", Mode::Memory, QUICK, None),
    case("set", Mode::Interval, QUICK, Some(("insert", Direct::set))),
    case(
        "set",
        Mode::Sync,
        SYNCED,
        Some(("insert, persist", Direct::set_sync)),
    ),
    case("increment", Mode::Memory, QUICK, None),
    case(
        "increment",
        Mode::Interval,
        QUICK,
        Some(("get, insert", Direct::increment)),
    ),
    case(
        "increment",
        Mode::Sync,
        SYNCED,
        Some(("get, insert, persist", Direct::increment_sync)),
    ),
];

/// Nanoseconds of a call in each round, for each of [`CASES`].
struct Calls {
    /// Of what no call that waits for the disk can do without: the fastest and the mean in each round.
    floor: Vec<(f64, f64)>,
    ours: [Vec<f64>; CASES.len()],
    direct: [Vec<f64>; CASES.len()],
}

/// Times all calls.
pub(crate) fn measure(run: &mut Run, store: &Store) -> Result<()> {
    let mut calls = Calls {
        floor: Vec::new(),
        ours: Default::default(),
        direct: Default::default(),
    };
    for mode in [Mode::Interval, Mode::Sync] {
        // Both are filled without waiting for the disk each time.
        let daemon = store.start_and_open(Mode::Interval, &data(store, mode))?;
        daemon.fill(0, KEYS, VALUE_BYTES)?;
        daemon.stop()?;
    }
    let folder = store.path("calls-fjall");
    Direct::open(&folder)?.fill()?;
    for number in 1..=run.rounds {
        run.round(number, "calls");
        for mode in Mode::ALL {
            // A new process for each round, so that reads find on the disk what was written there.
            let daemon = store.start_and_open(mode, &data(store, mode))?;
            if mode == Mode::Memory {
                daemon.fill(0, KEYS, VALUE_BYTES)?;
            }
            let direct = Direct::open(&folder)?;
            for (index, case) in CASES.iter().enumerate() {
                if case.mode == mode {
                    let (ours, theirs) = case
                        .time(&daemon, &direct)
                        .with_context(|| format!("{}, {}", case.operation, mode.name()))?;
                    calls.ours[index].push(ours);
                    calls.direct[index].extend(theirs);
                }
            }
            daemon.stop()?;
        }
        calls.floor.push(floor(store)?);
    }
    run.table(calls.table());
    run.table(calls.disk());
    Ok(())
}

impl Calls {
    /// A line for each call.
    fn table(&self) -> Table {
        let title = format!(
            "time of a call, ns: {KEYS} keys, values of {VALUE_BYTES} bytes, lists of 100 keys, one caller"
        );
        let columns = ["zlayer", "fjall", "zlayer / fjall", "fjall's calls"];
        let mut table = Table::new("calls", &title, &columns);
        for (index, case) in CASES.iter().enumerate() {
            let (ours, direct) = self.medians(index);
            let ratio = ours.zip(direct).map(|(ours, direct)| ours / direct);
            let calls = match case.direct {
                Some((name, _)) => name.into(),
                None => Cell::Missing(()),
            };
            let cells = [ours.into(), direct.into(), ratio.into(), calls];
            table.row(&format!("{}, {}", case.operation, case.mode.name()), cells);
        }
        table
    }

    /// What no call that waits for the disk can do without. Where fastest and mean lie far apart, the
    /// machine is busy, and what waits for the disk tells of the scheduler more than of the store.
    fn disk(&self) -> Table {
        let title = "the disk itself: a line appended to a plain file, and fdatasync, µs";
        let mut table = Table::new("disk", title, &["fastest", "mean"]);
        let (fastest, mean) = self.floors();
        let microseconds = [fastest, mean].map(|time| time.map(|time| time / 1e3));
        table.row("append and sync", microseconds);
        table
    }

    fn floors(&self) -> (Option<f64>, Option<f64>) {
        let fastest = self.floor.iter().map(|&(fastest, _)| fastest);
        let mean = self.floor.iter().map(|&(_, mean)| mean);
        (median(fastest), median(mean))
    }

    fn medians(&self, index: usize) -> (Option<f64>, Option<f64>) {
        let of = |values: &[f64]| median(values.iter().copied());
        (of(&self.ours[index]), of(&self.direct[index]))
    }
}

impl Case {
    /// Nanoseconds of a call, ours and fjall's.
    fn time(&self, daemon: &Daemon, direct: &Direct) -> Result<(f64, Option<f64>)> {
        let path = |calls| {
            format!(
                "/bench/{}?n={calls}&keys={KEYS}&bytes={VALUE_BYTES}",
                self.operation
            )
        };
        let warm_up = (self.calls / 10).max(1);
        daemon.number(&path(warm_up))?;
        let ours = daemon.number(&path(self.calls))? as f64 / self.calls as f64;
        let Some((_, call)) = self.direct else {
            return Ok((ours, None));
        };
        call(direct, warm_up)?;
        let theirs = call(direct, self.calls)?.as_nanos() as f64 / self.calls as f64;
        Ok((ours, Some(theirs)))
    }
}

const fn case(
    operation: &'static str,
    mode: Mode,
    calls: u64,
    direct: Option<(&'static str, Directly)>,
) -> Case {
    Case {
        operation,
        mode,
        calls,
        direct,
    }
}

/// Nanoseconds of an append with its fdatasync: the fastest, and the mean.
fn floor(store: &Store) -> Result<(f64, f64)> {
    let path = store.path("calls-floor");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut fastest = Duration::MAX;
    let start = Instant::now();
    for _ in 0..SYNCED {
        let before = Instant::now();
        file.write_all(&[b'v'; VALUE_BYTES as usize])?;
        file.sync_data()?;
        fastest = fastest.min(before.elapsed());
    }
    let mean = start.elapsed().as_nanos() as f64 / SYNCED as f64;
    Ok((fastest.as_nanos() as f64, mean))
}

fn data(store: &Store, mode: Mode) -> PathBuf {
    store.path(&format!("calls-{}", mode.name()))
}
