//! The load generator that others' figures are made with, as a child process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::load::Load;
use crate::process::wait_for_output;
use crate::stats::Latency;

/// How long wrk may take beyond the load itself.
const GRACE: Duration = Duration::from_secs(15);

/// Has `wrk` keep 16 connections busy from one thread, for a whole number of seconds.
pub(crate) fn run(wrk: &Path, port: u16, connections: usize, seconds: u64) -> Result<Load> {
    let mut command = Command::new(wrk);
    command
        .args(["-t1", "--latency"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdin(Stdio::null());
    let text = wait_for_output(command, Duration::from_secs(seconds) + GRACE).context("wrk")?;
    parse(&text).with_context(|| format!("wrk printed:\n{text}"))
}

fn parse(text: &str) -> Result<Load> {
    let (mut requests, mut rate) = (None, None);
    let (mut p50, mut p90, mut p99, mut max) = (None, None, None, None);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Requests/sec:", count] => rate = Some(count.parse().context("requests per second")?),
            [count, "requests", "in", ..] => requests = Some(count.parse().context("requests")?),
            ["50%", value] => p50 = Some(milliseconds(value)?),
            ["90%", value] => p90 = Some(milliseconds(value)?),
            ["99%", value] => p99 = Some(milliseconds(value)?),
            ["Latency", _average, _deviation, value, _share] => max = Some(milliseconds(value)?),
            ["Socket", "errors:", ..] | ["Non-2xx", ..] => bail!("{}", line.trim()),
            _ => {}
        }
    }
    let missing = "a figure is missing in what it printed";
    let rate: f64 = rate.context(missing)?;
    ensure!(rate > 0.0, "not one request got a response");
    let latency = Latency {
        p50: p50.context(missing)?,
        p90: p90.context(missing)?,
        p99: p99.context(missing)?,
        max: max.context(missing)?,
    };
    Ok(Load {
        requests: requests.context(missing)?,
        rate,
        latency,
    })
}

/// Reads `12.34us`, `1.23ms` or `1.20s`.
fn milliseconds(text: &str) -> Result<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        unit => bail!("{text}: unknown unit {unit:?}"),
    };
    let count: f64 = digits.parse().with_context(|| text.to_owned())?;
    Ok(count * unit)
}
