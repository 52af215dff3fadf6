//! How safe changes of the store are.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::as_text::as_text;
use crate::parse_duration;

/// The interval of [`Durability::INTERVAL`]: changes are on the disk at most this much later.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// What an interval may be. Shorter ones wear the flash as `sync` does, and with longer ones it is
/// time to ask what is worth keeping.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// How safe a change is once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Kept in memory alone, within the memory budget: it is gone with the process and does not
    /// wear the flash.
    Memory,
    /// On the disk at most this much later (default, with [`COMMIT_INTERVAL`]). Changes of the same
    /// key in between cost one write; where changes do not fit into memory, or others are to be
    /// written sooner, they are written sooner.
    Interval(Duration),
    /// On the disk before it is acknowledged. Concurrent writers share a commit.
    Sync,
}

impl Durability {
    /// The default.
    pub const INTERVAL: Durability = Durability::Interval(COMMIT_INTERVAL);
}

impl Default for Durability {
    fn default() -> Self {
        Durability::INTERVAL
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let interval = text.strip_prefix("interval=").map(parse_duration);
        match (text, interval) {
            ("memory", _) => Ok(Durability::Memory),
            ("interval", _) => Ok(Durability::INTERVAL),
            ("sync", _) => Ok(Durability::Sync),
            (_, Some(Ok(interval))) if INTERVALS.contains(&interval) => {
                Ok(Durability::Interval(interval))
            }
            (_, Some(Ok(_))) => Err(format!(
                "'{text}' is out of range; at least 100ms, at most 60m"
            )),
            (_, Some(Err(_))) => Err(format!(
                "'{text}' is no interval; write it like interval=30s, interval=500ms or \
                 interval=2m, at least 100ms, at most 60m"
            )),
            _ => Err(format!(
                "there is no durability '{text}'; there are memory, interval, interval=DURATION, sync"
            )),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Memory => f.write_str("memory"),
            Durability::Interval(interval) => write!(f, "interval={interval:?}"),
            Durability::Sync => f.write_str("sync"),
        }
    }
}

as_text!(Durability);
