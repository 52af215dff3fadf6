//! What a board's file says of the daemon, carried to the device by the artifacts built for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Target};

/// The most threads that a daemon serves with: more only get in each other's way, and each takes
/// address space for its stack.
pub const THREADS_MAX: usize = 64;

/// The smallest memory budget of a daemon, in bytes: room for one instance of a small plugin
/// beside the store and a few connections.
pub const MEMORY_MIN: usize = 12 << 20;

/// What the daemon on a board runs with unless its flags say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardSettings {
    /// The board's name.
    pub name: String,
    /// Threads that serve, from 1 to [`THREADS_MAX`]. `None` leaves the choice to the daemon.
    pub threads: Option<u8>,
    /// The memory budget in bytes, at least [`MEMORY_MIN`]. `None` leaves the choice to the daemon.
    pub memory_max: Option<u64>,
}

impl BoardSettings {
    /// Tells whether a daemon for `target` can run with these settings. The device has the same
    /// bounds for its flags.
    ///
    /// # Errors
    ///
    /// The first setting that is out of bounds, with the bounds.
    pub fn check(&self, target: Target) -> Result<(), OutOfBounds> {
        let threads = self.threads.map(usize::from);
        if let Some(threads) = threads.filter(|threads| !(1..=THREADS_MAX).contains(threads)) {
            return Err(OutOfBounds {
                setting: "threads",
                value: threads.to_string(),
                bounds: format!("from 1 to {THREADS_MAX} are possible"),
            });
        }
        let out_of_bounds = |bytes, bounds| OutOfBounds {
            setting: "memory_max",
            value: ByteSize(bytes).to_string(),
            bounds,
        };
        match self.memory_max {
            Some(bytes) if bytes < MEMORY_MIN as u64 => {
                let least = ByteSize(MEMORY_MIN as u64);
                Err(out_of_bounds(bytes, format!("at least {least} are needed")))
            }
            Some(bytes) if target == Target::Armv7 && bytes > u64::from(u32::MAX) => {
                let what = format!("{target} has addresses for less than 4Gi");
                Err(out_of_bounds(bytes, what))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for BoardSettings {
    /// The name, and in brackets what is set: `raspberry-pi-4 (threads 4, memory_max 256Mi)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.threads.map(|threads| format!("threads {threads}"));
        let memory_max = self.memory_max.map(ByteSize);
        let memory_max = memory_max.map(|memory_max| format!("memory_max {memory_max}"));
        let set: Vec<String> = threads.into_iter().chain(memory_max).collect();
        match set.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{} ({})", self.name, set.join(", ")),
        }
    }
}

/// A setting of a board that no daemon can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    setting: &'static str,
    value: String,
    bounds: String,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutOfBounds {
            setting,
            value,
            bounds,
        } = self;
        write!(f, "`{setting}` is {value}, and {bounds}")
    }
}

impl std::error::Error for OutOfBounds {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn board(threads: Option<u8>, memory_max: Option<u64>) -> BoardSettings {
        BoardSettings {
            name: "pi".to_owned(),
            threads,
            memory_max,
        }
    }

    #[test]
    fn settings_within_the_bounds_pass() {
        for target in Target::ALL {
            for threads in [None, Some(1), Some(64)] {
                for memory_max in [None, Some(12 << 20), Some(u32::MAX.into())] {
                    assert_eq!(board(threads, memory_max).check(target), Ok(()));
                }
            }
        }
        assert_eq!(board(None, Some(1 << 40)).check(Target::Aarch64), Ok(()));
    }

    #[test]
    fn a_setting_out_of_bounds_is_named_with_its_bounds() {
        for (threads, memory_max, said) in [
            (Some(0), None, "`threads` is 0, and from 1 to 64 are"),
            (Some(65), None, "`threads` is 65, and from 1 to 64 are"),
            (None, Some(0), "`memory_max` is 0, and at least 12Mi are"),
            (None, Some((12 << 20) - 1), "`memory_max` is 12582911, and"),
            (None, Some(1 << 32), "`memory_max` is 4Gi, and armv7 has"),
        ] {
            let error = board(threads, memory_max).check(Target::Armv7).unwrap_err();
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }

    #[test]
    fn people_see_the_name_and_what_is_set() {
        let shown = |threads, memory_max| board(threads, memory_max).to_string();
        assert_eq!(shown(None, None), "pi");
        assert_eq!(shown(Some(4), None), "pi (threads 4)");
        assert_eq!(
            shown(Some(4), Some(256 << 20)),
            "pi (threads 4, memory_max 256Mi)"
        );
    }
}
