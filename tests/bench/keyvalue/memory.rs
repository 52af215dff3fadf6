//! Memory of the daemon with its store.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Run;
use crate::keyvalue::daemon::{ASK_STORE, Mode, Store, cleared};
use crate::stats::median;
use crate::table::Table;

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
struct Memory {
    /// An empty store, one request served.
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
pub(crate) fn measure(run: &mut Run, store: &Store) -> Result<()> {
    let mut memory = Memory::default();
    let kept = store.path("memory-idle");
    let daemon = store.start_and_open(Mode::Interval, &kept)?;
    daemon.fill(0, IDLE_KEYS, VALUE_BYTES)?;
    daemon.stop()?;
    for number in 1..=run.rounds {
        run.round(number, "memory");
        let daemon = store.start_and_open(Mode::Interval, &kept)?;
        thread::sleep(SETTLE);
        memory.filled.push(daemon.server.memory()? as f64);
        daemon.stop()?;

        let data = cleared(store.path("memory-load"))?;
        let daemon = store.start_and_open(Mode::Interval, &data)?;
        daemon.body(ASK_STORE)?;
        thread::sleep(SETTLE);
        memory.empty.push(daemon.server.memory()? as f64);
        daemon.number(&format!("/bench/increment?n={PIECE}"))?;
        // The namespace has room for the load and not for one key more.
        daemon.body("/del/hits")?;
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
    run.table(memory.table());
    Ok(())
}

impl Memory {
    fn table(&self) -> Table {
        let title =
            format!("memory of the daemon (RSS), mode interval, values of {VALUE_BYTES} bytes, MB");
        let mut table = Table::new("memory", &title, &["MB"]);
        let rows = [
            ("idle, empty store", &self.empty),
            ("idle, 10,000 keys, after a restart", &self.filled),
            ("peak while 100,000 keys are loaded", &self.loading),
            ("idle after that", &self.loaded),
            ("the peak less the same process before it", &self.growth),
        ];
        for (label, values) in rows {
            table.row(label, [median(values.iter().map(|bytes| bytes / MB))]);
        }
        table.row("set aside for the store", [Some(SHARE / MB)]);
        table
    }
}
