//! The machine that the figures belong to. Nothing here tells whose machine it is.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// How long the processors are watched to see whether others use them.
const WATCH: Duration = Duration::from_secs(2);

/// A machine, before a benchmark begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// Model, as the kernel names it.
    pub(crate) processor: String,
    /// How many of them.
    pub(crate) processors: usize,
    /// Memory in whole GB.
    pub(crate) memory_gb: u64,
    /// The kernel's version, without what a distribution or an owner adds to it.
    pub(crate) kernel: String,
    /// The share of processor time that others took just before, in percent.
    pub(crate) busy_percent: u64,
}

impl Machine {
    /// Looks at this machine; takes two seconds.
    pub(crate) fn look() -> Result<Machine> {
        let info = read("/proc/cpuinfo")?;
        let model = info
            .lines()
            .find(|line| line.starts_with("model name") || line.starts_with("Model"))
            .and_then(|line| line.split_once(':'))
            .map_or("unknown processor", |(_, model)| model.trim());
        let memory = read("/proc/meminfo")?;
        let kibibytes = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
            .context("/proc/meminfo has no MemTotal")?;
        let release = read("/proc/sys/kernel/osrelease")?;
        let kernel = release.split(|c: char| !c.is_ascii_digit() && c != '.');
        Ok(Machine {
            processor: model.to_owned(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            memory_gb: (kibibytes * 1024).div_ceil(1_000_000_000),
            kernel: kernel.into_iter().next().unwrap_or_default().to_owned(),
            busy_percent: busy_percent()?,
        })
    }

    /// In one line.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}, {} processors, {} GB, Linux {}",
            self.processor, self.processors, self.memory_gb, self.kernel
        )
    }
}

/// The share of all processors' time that is not idle for a while, in percent.
fn busy_percent() -> Result<u64> {
    let (idle, all) = times()?;
    thread::sleep(WATCH);
    let (idle_after, all_after) = times()?;
    let (idle, all) = (
        idle_after.saturating_sub(idle),
        all_after.saturating_sub(all),
    );
    Ok(100 * all.saturating_sub(idle) / all.max(1))
}

/// Idle time, and all time, of all processors together: the fourth and fifth field, and the sum of
/// the first eight (proc_stat(5)).
fn times() -> Result<(u64, u64)> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1).take(8);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    ensure!(
        fields.len() == 8,
        "/proc/stat does not begin with eight times"
    );
    Ok((fields[3] + fields[4], fields.iter().sum()))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}
