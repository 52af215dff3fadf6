//! The table of the plugins' metrics, bounded in series and in bytes.

mod families;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use table::{Key, Table, Value, series_key};
pub use text::{CONTENT_TYPE, Histogram, Page, labels};

use crate::memory::Budget;
use crate::sync;

/// Series that one plugin may have, whatever others have; more are dropped and counted.
pub const SERIES: usize = 256;
/// Longest series name with its labels, in bytes.
pub const NAME_BYTES: usize = 256;

/// Upper bounds of the histogram buckets, in the unit observed (seconds, by convention).
pub const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Bytes that a line on the page takes beside its name and labels: a suffix, a bucket's bound and a
/// number of at most 24 characters.
const LINE_BYTES: usize = 56;
/// Labels that a series may have beside the one that names its plugin.
pub const MOST_LABELS: usize = 16;
/// What the text format appends to a histogram's name for its samples.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The tables of counters, gauges and histograms: one for each plugin, by name and labels. What they
/// take is charged to the memory budget.
pub struct Metrics {
    budget: Arc<Budget>,
    tables: Mutex<BTreeMap<Box<str>, Table>>,
}

/// Why a change was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The plugin has [`SERIES`] series already.
    Full,
    /// The plugin has another kind of metric under that name, or a histogram one of whose samples
    /// is called so.
    Clash,
    /// Name and labels are longer than [`NAME_BYTES`], or the labels too many.
    TooLong,
    /// There is no memory for another series.
    NoMemory,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Full => write!(
                f,
                "it has {SERIES} series already, which are as many as it may have"
            ),
            Fault::NoMemory => f.write_str("there is no memory for another series (--memory-max)"),
            Fault::Clash => f.write_str("it has another kind of metric under that name"),
            Fault::TooLong => write!(
                f,
                "name and labels are longer than {NAME_BYTES} bytes, or there are more than {MOST_LABELS} labels"
            ),
        }
    }
}

/// A change of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Adds to a counter.
    CounterInc(u64),
    /// Sets a gauge.
    GaugeSet(f64),
    /// Adds to a gauge, which starts at 0.
    GaugeAdd(f64),
    /// Observes a value in a histogram.
    Observe(f64),
}

impl Metrics {
    /// Empty tables, which are charged to `budget`.
    pub fn new(budget: Arc<Budget>) -> Metrics {
        Metrics {
            budget,
            tables: Mutex::default(),
        }
    }

    /// Applies `change` to the series of `name` and `labels`, which is made on first use. Returns
    /// why the change was dropped and counted instead, where that is the first of its kind for this
    /// plugin.
    pub fn apply<'a>(
        &self,
        plugin: &str,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        change: Change,
    ) -> Option<Fault> {
        let key = series_key(plugin, name, labels);
        let mut tables = self.lock();
        if !tables.contains_key(plugin) {
            tables.insert(plugin.into(), Table::default());
        }
        let table = tables.get_mut(plugin)?;
        table.apply(key, change, &self.budget)
    }

    /// How many changes were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().values().map(|table| table.dropped).sum()
    }

    /// How many series a plugin has, and how many of its changes were dropped.
    pub fn of(&self, plugin: &str) -> (usize, u64) {
        let tables = self.lock();
        let table = tables.get(plugin);
        table.map_or((0, 0), |table| (table.series.len(), table.dropped))
    }

    /// The tables as a page of their own, with the number of dropped changes at its end.
    pub async fn render(&self) -> String {
        let mut page = Page::default();
        self.write(&mut page).await;
        page.single(
            "zlayer_metrics_dropped_total",
            "counter",
            "",
            self.dropped(),
        );
        page.into_text()
    }

    /// The most bytes that writing the tables takes: those of the page, and those of a copy.
    pub fn page_bytes(&self) -> usize {
        let tables = self.lock();
        let bytes = |(key, value): (&Key, &Value)| {
            // A series may be the first of its family, which adds a line (`# TYPE name histogram`);
            // the samples of a histogram may be families of their own.
            let lines = match value {
                Value::Counter(_) | Value::Gauge(_) => 2,
                Value::Histogram(_) => BUCKETS.len() + 6,
            };
            lines * (key.name.len() + key.labels.len() + LINE_BYTES) + table::copied(key, value)
        };
        let series = tables.values().flat_map(|table| &table.series);
        series.map(bytes).sum()
    }

    /// Adds the tables to a page, sorted by name, as they are now. Others run while it is written.
    pub async fn write(&self, page: &mut Page) {
        let copy: Vec<(Key, Value)> = {
            let tables = self.lock();
            let series = tables.values().flat_map(|table| &table.series);
            series
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        families::write(&copy, page).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Table>> {
        // Every change is a single assignment, so a holder that died left the tables whole.
        sync::lock(&self.tables)
    }
}

#[cfg(test)]
mod tests;
