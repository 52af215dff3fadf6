//! Chains of stages under load.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::Run;
use crate::load::{self, CONNECTIONS, Load, WARM_UP};
use crate::pipeline::chain::{CHAINS, Chain, Handler};
use crate::pipeline::daemon::{Plugins, request};
use crate::process::Server;
use crate::stats::median;
use crate::table::Table;

/// What was measured of one server.
pub(crate) struct Figures<T> {
    /// What stood there.
    pub(crate) what: T,
    rounds: Vec<Round>,
}

/// One round of load on a server.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// With [`CONNECTIONS`] connections.
    load: Load,
    /// With one.
    alone: Load,
    /// The server's processor time for a request with [`CONNECTIONS`], in microseconds.
    processor: f64,
}

/// The headings of what [`Figures::cells`] returns.
pub(crate) const COLUMNS: [&str; 5] = [
    "requests/s",
    "p50, ms",
    "p99, ms",
    "processor, µs a request",
    "one connection, p50, µs",
];

impl<T> Figures<T> {
    /// None yet.
    pub(crate) fn new(what: T) -> Figures<T> {
        Figures {
            what,
            rounds: Vec::new(),
        }
    }

    /// Loads a server with many connections and then with one, and ends it.
    pub(crate) fn round(&mut self, server: Server, request: &[u8], seconds: u64) -> Result<()> {
        let (port, duration) = (server.port(), Duration::from_secs(seconds));
        let run = |connections, duration| load::run(port, connections, duration, request, None);
        run(CONNECTIONS, WARM_UP)?;
        let (load, used) = server.processor_us(|| run(CONNECTIONS, duration))?;
        let alone = run(1, duration / 2)?;
        server.stop()?;
        self.rounds.push(Round {
            load,
            alone,
            processor: used / load.requests as f64,
        });
        Ok(())
    }

    /// Medians, in the order of [`COLUMNS`].
    pub(crate) fn cells(&self) -> [Option<f64>; 5] {
        [
            self.median(|round| round.load.rate),
            self.median(|round| round.load.latency.p50),
            self.median(|round| round.load.latency.p99),
            self.processor(),
            self.alone(),
        ]
    }

    /// Median processor time of a request, in microseconds.
    fn processor(&self) -> Option<f64> {
        self.median(|round| round.processor)
    }

    /// Median latency with one connection, in microseconds.
    fn alone(&self) -> Option<f64> {
        self.median(|round| round.alone.latency.p50 * 1e3)
    }

    fn median(&self, value: fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(value))
    }
}

/// Measures every chain in turn, in each round.
pub(crate) fn measure(run: &mut Run, plugins: &Plugins) -> Result<()> {
    let mut all: Vec<_> = CHAINS.iter().map(Figures::new).collect();
    for number in 1..=run.rounds {
        for figures in &mut all {
            let chain = figures.what;
            let name = format!("{} {}", chain.handler.table(), chain.label);
            run.round(number, &name);
            let server = plugins.chain(chain).context(name.clone())?;
            let request = request(chain.path);
            figures.round(server, &request, run.seconds).context(name)?;
        }
    }
    for handler in [Handler::Http, Handler::Typed] {
        run.table(table(handler, &all));
    }
    Ok(())
}

/// The chains of one handler, and what each takes more than the handler alone.
fn table(handler: Handler, all: &[Figures<&'static Chain>]) -> Table {
    let mut columns = COLUMNS.to_vec();
    columns.extend([
        "processor added, µs",
        "added for each stage, µs",
        "latency added, µs",
    ]);
    let mut table = Table::new(handler.table(), handler.title(), &columns);
    let of_handler = |figures: &&Figures<&'static Chain>| figures.what.handler == handler;
    let alone = all.iter().find(of_handler);
    for figures in all.iter().filter(of_handler) {
        let stages = figures.what.stages.len();
        let added = |value: fn(&Figures<&'static Chain>) -> Option<f64>| {
            let added = value(figures)? - value(alone?)?;
            (stages > 0).then_some(added)
        };
        let processor = added(Figures::processor);
        let mut cells = figures.cells().to_vec();
        cells.extend([
            processor,
            processor.map(|added| added / stages as f64),
            added(Figures::alone),
        ]);
        table.row(figures.what.label, cells);
    }
    table
}
