//! How much a namespace may hold, and how safely.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::COMMIT_INTERVAL;
use super::parts::WHOLE_BYTES_MAX;
use crate::timeout::parse_duration;

/// Largest value that a quota may allow, in bytes: the store's share of memory has room for that.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(VALUE_BYTES_MAX < WHOLE_BYTES_MAX);

/// What an interval may be. Shorter ones wear the flash as `sync` does, and with longer ones it is
/// time to ask what is worth keeping.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Bounds on what one namespace may hold.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Bytes of one value (default 1 MiB).
    pub value_bytes: usize,
    /// Bytes of all keys and values together (default 64 MiB).
    pub bytes: u64,
    /// Number of keys (default 100,000).
    pub keys: u64,
    /// Bytes of keys that one `list_keys` may return (default 64 MiB, so that in practice the
    /// plugin's memory is the bound).
    pub list_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            value_bytes: 1 << 20,
            bytes: 64 << 20,
            keys: 100_000,
            list_bytes: 64 << 20,
        }
    }
}

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

impl std::str::FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
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

/// How much a namespace may hold, and how safely.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bounds on its content.
    pub quota: Quota,
    /// How safe an acknowledged change is.
    pub durability: Durability,
    /// Bytes that a plugin's changes may have written to flash in a day (default
    /// [`DAY_BYTES`]).
    pub day_bytes: u64,
}

/// What a plugin's changes may have written to flash in a day, where nobody says another: 2 GiB. In
/// five years that is 3.7 TB, a third of what an eMMC of 8 GB for 1,500 cycles takes; a counter that
/// is hit all day long, with a commit a second, has a sixth of it written.
pub const DAY_BYTES: u64 = 2 << 30;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            quota: Quota::default(),
            durability: Durability::default(),
            day_bytes: DAY_BYTES,
        }
    }
}
