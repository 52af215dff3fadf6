//! Time of a call through the component boundary, beside fjall called directly.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Mode, Place};
use crate::direct::{Direct, KEYS, VALUE_BYTES};
use crate::report::figure;
use crate::stats::median;

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
pub(crate) struct Calls {
    /// Of what no call that waits for the disk can do without: the fastest and the mean in each round.
    floor: Vec<(f64, f64)>,
    ours: [Vec<f64>; CASES.len()],
    direct: [Vec<f64>; CASES.len()],
}

/// Times all calls.
pub(crate) fn measure(place: &Place, rounds: u32) -> Result<Calls> {
    let mut calls = Calls {
        floor: Vec::new(),
        ours: Default::default(),
        direct: Default::default(),
    };
    for mode in [Mode::Interval, Mode::Sync] {
        // Both are filled without waiting for the disk each time.
        let daemon = place.start_and_open(Mode::Interval, &data(place, mode))?;
        daemon.fill(0, KEYS, VALUE_BYTES)?;
        daemon.stop()?;
    }
    let folder = place.path("calls-fjall");
    Direct::open(&folder)?.fill()?;
    for number in 0..rounds {
        eprintln!("calls: round {} of {rounds}", number + 1);
        for mode in Mode::ALL {
            // A new process for each round, so that reads find on the disk what was written there.
            let daemon = place.start_and_open(mode, &data(place, mode))?;
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
        calls.floor.push(floor(place)?);
    }
    Ok(calls)
}

impl Calls {
    /// Plain text.
    pub(crate) fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "time of a call, {KEYS} keys, values of {VALUE_BYTES} bytes, lists of 100 keys, one caller; medians, ns\n\
             {:12}{:10}{:>12}{:>12}{:>8}  fjall's calls",
            "call", "mode", "zlayer", "fjall", "ratio"
        )?;
        for (index, case) in CASES.iter().enumerate() {
            let (ours, direct) = self.medians(index);
            writeln!(
                out,
                "{:12}{:10}{:>12}{:>12}{:>8}  {}",
                case.operation,
                case.mode.name(),
                figure(ours, 0),
                figure(direct, 0),
                figure(ratio(ours, direct), 2),
                case.direct.map_or("-", |(name, _)| name),
            )?;
        }
        let (fastest, mean) = self.floors();
        writeln!(
            out,
            "the disk itself, a line appended to a plain file and fdatasync: fastest {}, mean {}. Where these lie far \
             apart,\nthe machine is busy, and what waits for the disk tells of the scheduler more than of the store.",
            figure(fastest, 0),
            figure(mean, 0),
        )
    }

    /// The same figures for programs.
    pub(crate) fn json(&self) -> Value {
        let rows = CASES.iter().enumerate().map(|(index, case)| {
            let (ours, direct) = self.medians(index);
            json!({
                "call": case.operation,
                "mode": case.mode.name(),
                "zlayer_ns": ours,
                "fjall_ns": direct,
                "ratio": ratio(ours, direct),
                "fjall_calls": case.direct.map(|(name, _)| name),
            })
        });
        let (fastest, mean) = self.floors();
        json!({
            "rows": rows.collect::<Value>(),
            "fdatasync_fastest_ns": fastest,
            "fdatasync_mean_ns": mean,
        })
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
fn floor(place: &Place) -> Result<(f64, f64)> {
    let path = place.path("calls-floor");
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

fn data(place: &Place, mode: Mode) -> PathBuf {
    place.path(&format!("calls-{}", mode.name()))
}

fn ratio(ours: Option<f64>, direct: Option<f64>) -> Option<f64> {
    Some(ours? / direct?)
}
