//! Chains of stages under load.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::chain::{CHAINS, Chain};
use crate::load::{self, Load};
use crate::place::{Place, request};
use crate::process::Server;
use crate::stats::median;

/// Connections under load.
pub(crate) const CONNECTIONS: usize = 16;

/// Load before the load that counts: caches fill, pools reach their size.
const WARM_UP: Duration = Duration::from_millis(300);

/// What was measured of one server.
pub(crate) struct Figures<T> {
    /// What stood there.
    pub(crate) what: T,
    rounds: Vec<Round>,
}

/// One round of load on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// With [`CONNECTIONS`] connections.
    load: Load,
    /// With one.
    alone: Load,
    /// The server's processor time for a request with [`CONNECTIONS`], in microseconds.
    processor: f64,
}

impl<T> Figures<T> {
    /// None yet.
    pub(crate) fn new(what: T) -> Figures<T> {
        Figures {
            what,
            rounds: Vec::new(),
        }
    }

    /// Notes a round.
    pub(crate) fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Median requests per second with [`CONNECTIONS`] connections.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(|round| round.load.rate)
    }

    /// Median of the rounds' median latencies with [`CONNECTIONS`], in milliseconds.
    pub(crate) fn p50(&self) -> Option<f64> {
        self.median(|round| round.load.latency.p50)
    }

    /// The same of the 99th percentile.
    pub(crate) fn p99(&self) -> Option<f64> {
        self.median(|round| round.load.latency.p99)
    }

    /// Median processor time of a request, in microseconds.
    pub(crate) fn processor(&self) -> Option<f64> {
        self.median(|round| round.processor)
    }

    /// Median latency with one connection, in microseconds.
    pub(crate) fn alone(&self) -> Option<f64> {
        self.median(|round| round.alone.latency.p50 * 1e3)
    }

    fn median(&self, value: fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(value))
    }
}

/// Measures every chain in turn, `rounds` times. One that this daemon cannot play has no figures.
pub(crate) fn measure(
    place: &Place,
    rounds: u32,
    seconds: u64,
) -> Result<Vec<Figures<&'static Chain>>> {
    let mut all: Vec<_> = CHAINS.iter().map(Figures::new).collect();
    for number in 1..=rounds {
        for figures in &mut all {
            let chain = figures.what;
            eprintln!("stages, round {number} of {rounds}: {}", chain.key);
            if let Some(server) = place.chain(chain).context(chain.key)? {
                let round = round(server, &request(chain.path), seconds).context(chain.key)?;
                figures.add(round);
            }
        }
    }
    Ok(all)
}

/// Loads a server with many connections and then with one, and ends it.
pub(crate) fn round(server: Server, request: &[u8], seconds: u64) -> Result<Round> {
    let (port, duration) = (server.port(), Duration::from_secs(seconds));
    let run = |connections, duration| load::run(port, connections, duration, request, None);
    run(CONNECTIONS, WARM_UP)?;
    let before = server.processor_time()?;
    let load = run(CONNECTIONS, duration)?;
    let used = server.processor_time()?.saturating_sub(before);
    let alone = run(1, duration / 2)?;
    server.stop()?;
    Ok(Round {
        load,
        alone,
        processor: used.as_secs_f64() * 1e6 / load.requests as f64,
    })
}
