//! Memory of the daemon with its store.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::daemon::{ASK_STORE, Mode, Place, cleared};
use crate::report::figure;
use crate::stats::median;

/// Bytes of a value.
const VALUE_BYTES: u64 = 100;
/// Keys of the idle store.
const IDLE_KEYS: u64 = 10_000;
/// Keys that are loaded: as many as a namespace may hold.
const LOADED_KEYS: u64 = 100_000;
/// Keys in one request of the load: few, so that the plugin's own memory stays small.
const PIECE: u64 = 1_000;

/// What the daemon sets aside for the store at its default budget: `keyvalue::Sizes` of the runtime, on
/// which the tests do not depend. Its `/status` tells the same.
const SHARE: f64 = (4352 << 10) as f64;

/// Bytes in a MB of the report.
const MB: f64 = 1e6;

/// The daemon is idle when it has committed, which it does within a second.
const SETTLE: Duration = Duration::from_secs(2);

/// Bytes in each round.
#[derive(Default)]
pub(crate) struct Memory {
    /// An empty store, one answer given.
    empty: Vec<f64>,
    /// After a restart with [`IDLE_KEYS`].
    filled: Vec<f64>,
    /// The most while [`LOADED_KEYS`] are loaded.
    loading: Vec<f64>,
    /// That less what the same process had before, its plugin and code warm: the store's part.
    growth: Vec<f64>,
    /// Idle once they are loaded.
    loaded: Vec<f64>,
}

/// Weighs the daemon.
pub(crate) fn measure(place: &Place, rounds: u32) -> Result<Memory> {
    let mut memory = Memory::default();
    let kept = place.path("memory-idle");
    let daemon = place.start_and_open(Mode::Interval, &kept)?;
    daemon.fill(0, IDLE_KEYS, VALUE_BYTES)?;
    daemon.stop()?;
    for number in 0..rounds {
        eprintln!("memory: round {} of {rounds}", number + 1);
        let daemon = place.start_and_open(Mode::Interval, &kept)?;
        thread::sleep(SETTLE);
        memory.filled.push(daemon.server.memory()? as f64);
        daemon.stop()?;

        let data = cleared(place.path("memory-load"))?;
        let daemon = place.start_and_open(Mode::Interval, &data)?;
        daemon.client()?.get(ASK_STORE)?;
        thread::sleep(SETTLE);
        memory.empty.push(daemon.server.memory()? as f64);
        daemon.number(&format!("/bench/increment?n={PIECE}"))?;
        // The namespace has room for the load and not for one key more.
        daemon.client()?.get("/del/hits")?;
        thread::sleep(SETTLE);
        let warm = daemon.server.memory()? as f64;
        for piece in 0..LOADED_KEYS / PIECE {
            daemon.fill(piece * PIECE, PIECE, VALUE_BYTES)?;
        }
        thread::sleep(SETTLE);
        let peak = daemon.server.peak_memory()? as f64;
        memory.loading.push(peak);
        memory.growth.push(peak - warm);
        memory.loaded.push(daemon.server.memory()? as f64);
        daemon.stop()?;
    }
    Ok(memory)
}

impl Memory {
    /// Plain text.
    pub(crate) fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "memory of the daemon (RSS), mode interval, values of {VALUE_BYTES} bytes; medians, MB"
        )?;
        for (_, label, values) in self.rows() {
            writeln!(out, "{label:56}{:>8}", megabytes(values))?;
        }
        writeln!(
            out,
            "{:56}{:>8}",
            "  beside the share that is set aside for the store",
            figure(Some(SHARE / MB), 2)
        )
    }

    /// The same figures for programs.
    pub(crate) fn json(&self) -> Value {
        let mut figures: serde_json::Map<String, Value> = self
            .rows()
            .into_iter()
            .map(|(key, _, values)| (key.to_owned(), json!(median(values.iter().copied()))))
            .collect();
        figures.insert("share_bytes".to_owned(), json!(SHARE));
        Value::Object(figures)
    }

    fn rows(&self) -> [(&'static str, &'static str, &[f64]); 5] {
        [
            ("empty_bytes", "idle, empty store", &self.empty),
            (
                "idle_bytes",
                "idle, 10,000 keys, after a restart",
                &self.filled,
            ),
            (
                "loading_bytes",
                "peak while 100,000 keys are loaded",
                &self.loading,
            ),
            ("loaded_bytes", "idle after that", &self.loaded),
            (
                "growth_bytes",
                "peak less the same process after 1,000 increments",
                &self.growth,
            ),
        ]
    }
}

fn megabytes(values: &[f64]) -> String {
    figure(median(values.iter().map(|bytes| bytes / MB)), 2)
}
