//! The figures of one contender: a column of the table.

use crate::measure::{Round, Start};
use crate::setup::Contender;
use crate::stats::{median, range};

/// Bytes in a MB of the report: the decimal one, which makes a limit in MB the stricter one.
const MB: f64 = 1e6;

/// What was measured of one contender.
pub(crate) struct Column {
    /// Who.
    pub(crate) contender: Contender,
    /// Its starts.
    pub(crate) starts: Vec<Start>,
    /// Its rounds of load.
    pub(crate) rounds: Vec<Round>,
}

/// One line of the table, and one key of each column's JSON.
pub(crate) struct Row {
    /// In the table.
    pub(crate) label: &'static str,
    /// In the JSON.
    pub(crate) key: &'static str,
    /// Digits behind the point in the table.
    pub(crate) decimals: usize,
    /// The figure itself, if it was measured.
    pub(crate) value: fn(&Column) -> Option<f64>,
}

impl Column {
    fn starts(&self, value: fn(&Start) -> f64) -> impl Iterator<Item = f64> {
        self.starts.iter().map(value)
    }

    fn rounds(&self, value: fn(&Round) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(value)
    }
}

/// The lines of the table, in order.
pub(crate) const ROWS: &[Row] = &[
    Row {
        label: "cold start to first answer, ms",
        key: "cold_start_ms",
        decimals: 2,
        value: cold_start,
    },
    Row {
        label: "  fastest",
        key: "cold_start_fastest_ms",
        decimals: 2,
        value: |column| range(column.starts(|start| start.answer)).map(|(low, _)| low),
    },
    Row {
        label: "  slowest",
        key: "cold_start_slowest_ms",
        decimals: 2,
        value: |column| range(column.starts(|start| start.answer)).map(|(_, high)| high),
    },
    Row {
        label: "peak RSS at first answer, MB",
        key: "peak_at_first_answer_mb",
        decimals: 2,
        value: peak_at_answer,
    },
    Row {
        label: "  with the key-value store open, MB",
        key: "peak_with_store_mb",
        decimals: 2,
        value: peak_with_store,
    },
    Row {
        label: "  after a round of load, MB",
        key: "peak_after_load_mb",
        decimals: 2,
        value: |column| median(column.rounds(|round| round.peak / MB)),
    },
    Row {
        label: "requests per second, 16 connections",
        key: "requests_per_second",
        decimals: 0,
        value: rate,
    },
    Row {
        label: "  slowest round",
        key: "requests_per_second_lowest",
        decimals: 0,
        value: |column| range(column.rounds(|round| round.load.rate)).map(|(low, _)| low),
    },
    Row {
        label: "  fastest round",
        key: "requests_per_second_highest",
        decimals: 0,
        value: |column| range(column.rounds(|round| round.load.rate)).map(|(_, high)| high),
    },
    Row {
        label: "latency p50, ms",
        key: "latency_p50_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p50)),
    },
    Row {
        label: "latency p90, ms",
        key: "latency_p90_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p90)),
    },
    Row {
        label: "latency p99, ms",
        key: "latency_p99_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p99)),
    },
    Row {
        label: "latency max of all rounds, ms",
        key: "latency_max_ms",
        decimals: 3,
        value: |column| range(column.rounds(|round| round.load.latency.max)).map(|(_, high)| high),
    },
    Row {
        label: "processor time of a request, µs",
        key: "processor_us",
        decimals: 1,
        value: processor,
    },
    Row {
        label: "requests per second, one connection",
        key: "requests_per_second_one_connection",
        decimals: 0,
        value: |column| median(column.rounds(|round| round.rate_alone)),
    },
    Row {
        label: "  processor time of such a request, µs",
        key: "processor_one_connection_us",
        decimals: 1,
        value: processor_alone,
    },
];

/// Median time to the first answer, in milliseconds.
pub(crate) fn cold_start(column: &Column) -> Option<f64> {
    median(column.starts(|start| start.answer))
}

/// Median peak memory at the first answer, in MB.
pub(crate) fn peak_at_answer(column: &Column) -> Option<f64> {
    median(column.starts(|start| start.peak / MB))
}

/// Median peak memory with the store open too, in MB.
pub(crate) fn peak_with_store(column: &Column) -> Option<f64> {
    median(
        column
            .starts
            .iter()
            .filter_map(|start| start.peak_with_store)
            .map(|peak| peak / MB),
    )
}

/// Median requests per second under load.
pub(crate) fn rate(column: &Column) -> Option<f64> {
    median(column.rounds(|round| round.load.rate))
}

/// Median processor time of a request under load, in microseconds.
pub(crate) fn processor(column: &Column) -> Option<f64> {
    median(column.rounds(|round| round.processor))
}

/// Median processor time of a request with one connection, in microseconds.
pub(crate) fn processor_alone(column: &Column) -> Option<f64> {
    median(column.rounds(|round| round.processor_alone))
}
