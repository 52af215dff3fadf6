//! What it costs to show bodies to a transformer, which takes them whole.
//!
//! The guest `echo` streams a request's body back. The transformer's body hooks return what they are
//! given: what is measured is the way there and back, which the body goes twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::exchange::Exchange;
use crate::place::{self, Place};
use crate::stats::median;

/// Lengths of the bodies, in bytes, the last being the largest that a daemon takes whole by default.
pub(crate) const LENGTHS: [usize; 3] = [1 << 10, 64 << 10, 1 << 20];

/// What stands before the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// A transformer that sees heads alone.
    Heads,
    /// A transformer that sees heads and bodies.
    Bodies,
}

impl Before {
    /// All of them.
    pub(crate) const ALL: [Before; 3] = [Before::Nothing, Before::Heads, Before::Bodies];

    /// In the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Before::Nothing => "no transformer",
            Before::Heads => "bodies=none",
            Before::Bodies => "bodies=both",
        }
    }

    fn guests(self) -> &'static [&'static str] {
        match self {
            Before::Nothing => &["echo"],
            Before::Heads | Before::Bodies => &["header-transformer", "echo"],
        }
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            Before::Heads => &["header-transformer:bodies=none"],
            Before::Nothing | Before::Bodies => &[],
        }
    }
}

/// What was measured of one length.
pub(crate) struct BodyFigures {
    /// Of the body, in bytes.
    pub(crate) length: usize,
    /// What stood before the handler.
    pub(crate) before: Before,
    /// A round's median time from the first byte sent to the last one received, in microseconds.
    times: Vec<f64>,
    /// A round's processor time of the daemon for a request, in microseconds.
    processor: Vec<f64>,
}

impl BodyFigures {
    /// Median time of a request, in microseconds.
    pub(crate) fn time(&self) -> Option<f64> {
        median(self.times.iter().copied())
    }

    /// Median processor time of a request, in microseconds.
    pub(crate) fn processor(&self) -> Option<f64> {
        median(self.processor.iter().copied())
    }
}

/// Measures every length with everything before it, in turn, `rounds` times.
pub(crate) fn measure(place: &Place, rounds: u32, seconds: u64) -> Result<Vec<BodyFigures>> {
    let mut all = Vec::new();
    for length in LENGTHS {
        all.extend(Before::ALL.map(|before| BodyFigures {
            length,
            before,
            times: Vec::new(),
            processor: Vec::new(),
        }));
    }
    for number in 1..=rounds {
        for figures in &mut all {
            let what = format!("{} bytes, {}", figures.length, figures.before.name());
            eprintln!("bodies, round {number} of {rounds}: {what}");
            round(place, figures, seconds).context(what)?;
        }
    }
    Ok(all)
}

fn round(place: &Place, figures: &mut BodyFigures, seconds: u64) -> Result<()> {
    let before = figures.before;
    let mut server = place.daemon(before.guests(), before.settings())?;
    let body = vec![b'x'; figures.length];
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    server.first_answer(&place::request("/"))?;

    let mut client = Exchange::connect(server.port())?;
    let mut run = |duration: Duration| -> Result<Vec<f64>> {
        let (start, mut took) = (Instant::now(), Vec::new());
        while start.elapsed() < duration || took.is_empty() {
            let sent = Instant::now();
            client.echo(&request, &body)?;
            took.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        Ok(took)
    };
    run(Duration::from_millis(200))?;
    let before = server.processor_time()?;
    let took = run(Duration::from_secs(seconds))?;
    let used = server.processor_time()?.saturating_sub(before);
    let requests = took.len() as f64;
    figures.processor.push(used.as_secs_f64() * 1e6 / requests);
    figures.times.extend(median(took));
    server.stop()
}
