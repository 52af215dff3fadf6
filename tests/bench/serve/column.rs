//! The measurements of one contender, and the figures that come of them.

use crate::load::Load;
use crate::serve::measure::{Round, Start};
use crate::serve::servers::Contender;
use crate::stats::{median, range};

/// Bytes in a MB of the report: the decimal one, which makes a limit in MB the stricter one.
const MB: f64 = 1e6;

/// What was measured of one contender.
#[derive(Default)]
pub(crate) struct Column {
    /// Its starts.
    pub(crate) starts: Vec<Start>,
    /// Starts with a new data folder, of the daemon alone.
    pub(crate) first_starts: Vec<Start>,
    /// Milliseconds of a process that only says its version, of the daemon alone.
    pub(crate) bare_starts: Vec<f64>,
    /// Its rounds of load.
    pub(crate) rounds: Vec<Round>,
}

/// All contenders' measurements.
pub(crate) struct Columns(Vec<(Contender, Column)>);

impl Columns {
    /// None measured yet.
    pub(crate) fn new() -> Columns {
        let all = Contender::ALL.map(|contender| (contender, Column::default()));
        Columns(all.into())
    }

    /// The contender's.
    pub(crate) fn of(&self, contender: Contender) -> &Column {
        &self.0[Columns::index(contender)].1
    }

    /// The contender's, to add to.
    pub(crate) fn of_mut(&mut self, contender: Contender) -> &mut Column {
        &mut self.0[Columns::index(contender)].1
    }

    fn index(contender: Contender) -> usize {
        let mut all = Contender::ALL.iter();
        all.position(|&other| other == contender).unwrap_or(0)
    }
}

impl Column {
    /// Median time to the first response, in milliseconds.
    pub(crate) fn cold_start(&self) -> Option<f64> {
        median(self.starts.iter().map(|start| start.response))
    }

    /// The fastest and the slowest start, in milliseconds.
    pub(crate) fn cold_starts(&self) -> Option<(f64, f64)> {
        range(self.starts.iter().map(|start| start.response))
    }

    /// The same where the data folder is new, median.
    pub(crate) fn first_start(&self) -> Option<f64> {
        median(self.first_starts.iter().map(|start| start.response))
    }

    /// Median time of a process that does nothing, in milliseconds.
    pub(crate) fn bare_start(&self) -> Option<f64> {
        median(self.bare_starts.iter().copied())
    }

    /// Median peak memory at the first response, in MB.
    pub(crate) fn peak(&self) -> Option<f64> {
        median(self.starts.iter().map(|start| start.peak / MB))
    }

    /// The same with the store open.
    pub(crate) fn peak_with_store(&self) -> Option<f64> {
        let peaks = self.starts.iter().filter_map(|start| start.peak_with_store);
        median(peaks.map(|peak| peak / MB))
    }

    /// The same after a round of load.
    pub(crate) fn peak_after_load(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.peak / MB))
    }

    /// Median responses per second under load.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.load(|load| load.rate)
    }

    /// The slowest and the fastest round's.
    pub(crate) fn rates(&self) -> Option<(f64, f64)> {
        range(self.rounds.iter().map(|round| round.load.rate))
    }

    /// The median of a figure of the rounds' loads.
    pub(crate) fn load(&self, figure: fn(&Load) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(|round| figure(&round.load)))
    }

    /// Median processor time of a request under load, in microseconds.
    pub(crate) fn processor(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.processor))
    }

    /// The same with one connection.
    pub(crate) fn processor_alone(&self) -> Option<f64> {
        median(self.rounds.iter().map(|round| round.processor_alone))
    }

    /// The median of the rounds' median latencies with one connection, in microseconds.
    pub(crate) fn latency_alone(&self) -> Option<f64> {
        median(
            self.rounds
                .iter()
                .map(|round| round.alone.latency.p50 * 1e3),
        )
    }
}
