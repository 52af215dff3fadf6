//! What it costs to show bodies to a transformer, which takes them whole.
//!
//! The guest `echo` streams a request's body back. The transformer's body hooks return what they are
//! given: what is measured is the way there and back, which the body goes twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::Run;
use crate::pipeline::daemon::{self, Plugins};
use crate::pipeline::exchange::Exchange;
use crate::stats::median;
use crate::table::Table;

/// Lengths of the bodies, in bytes, the last being the largest that a daemon takes whole by default.
const LENGTHS: [usize; 3] = [1 << 10, 64 << 10, 1 << 20];

/// Load before the load that counts: pools and buffers reach their size.
const WARM_UP: Duration = Duration::from_millis(200);

/// What stands before the handler.
struct Before {
    /// In the table.
    name: &'static str,
    guests: &'static [&'static str],
    /// What the deployment says of single guests.
    settings: &'static [&'static str],
}

const BEFORE: [Before; 3] = [
    Before {
        name: "no transformer",
        guests: &["echo"],
        settings: &[],
    },
    Before {
        name: "bodies=none",
        guests: &["header-transformer", "echo"],
        settings: &["header-transformer:bodies=none"],
    },
    Before {
        name: "bodies=both",
        guests: &["header-transformer", "echo"],
        settings: &[],
    },
];

/// What was measured of one length with one thing before the handler.
#[derive(Default)]
struct Figures {
    /// A round's median time from the first byte sent to the last one received, in microseconds.
    times: Vec<f64>,
    /// A round's processor time of the daemon for a request, in microseconds.
    processor: Vec<f64>,
}

/// Measures every length with everything before it, in turn, in each round.
pub(crate) fn measure(run: &mut Run, plugins: &Plugins) -> Result<()> {
    let mut all: [[Figures; BEFORE.len()]; LENGTHS.len()] = Default::default();
    for number in 1..=run.rounds {
        for (length, row) in LENGTHS.into_iter().zip(&mut all) {
            for (before, figures) in BEFORE.iter().zip(row) {
                let what = format!("{length} bytes, {}", before.name);
                run.round(number, &what);
                round(plugins, before, length, figures, run.seconds).context(what)?;
            }
        }
    }
    let columns = BEFORE.map(|before| {
        [
            before.name.to_owned(),
            format!("{}, processor", before.name),
        ]
    });
    let columns: Vec<&str> = columns.iter().flatten().map(String::as_str).collect();
    let mut table = Table::new("bodies", "bodies both ways, µs a request", &columns);
    for (length, row) in LENGTHS.into_iter().zip(&all) {
        let cells = row
            .iter()
            .flat_map(|figures| [&figures.times, &figures.processor]);
        let cells = cells.map(|values| median(values.iter().copied()));
        table.row(&format!("{} KiB", length >> 10), cells);
    }
    run.table(table);
    Ok(())
}

fn round(
    plugins: &Plugins,
    before: &Before,
    length: usize,
    figures: &mut Figures,
    seconds: u64,
) -> Result<()> {
    let mut server = plugins.daemon(before.guests, before.settings)?;
    let body = vec![b'x'; length];
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    request.extend_from_slice(&body);
    server.first_response(&daemon::request("/"))?;

    let mut client = Exchange::connect(server.port())?;
    let mut exchange = |duration: Duration| -> Result<Vec<f64>> {
        let (start, mut took) = (Instant::now(), Vec::new());
        while start.elapsed() < duration || took.is_empty() {
            let sent = Instant::now();
            client.echo(&request, &body)?;
            took.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        Ok(took)
    };
    exchange(WARM_UP)?;
    let (took, used) = server.processor_us(|| exchange(Duration::from_secs(seconds)))?;
    figures.processor.push(used / took.len() as f64);
    figures.times.extend(median(took));
    server.stop()
}
