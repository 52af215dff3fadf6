//! The wall clock, and whether it can be believed.
//!
//! Many boards have no clock with a battery: they start in 1970, or where they were switched off, and
//! are right once the network has told them the time. Until then the clock is held against a floor,
//! a time that has passed for sure: the day of this program's release, and the last time that an
//! earlier run kept in the data folder while its clock was right. Times to live do not need any of
//! this; they follow the store's own time.
//!
//! A process has one wall clock, so this is one value for all.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sync;

/// Seconds since the Unix epoch that had passed when this program was built, the same for the same
/// sources: `SOURCE_DATE_EPOCH`, as reproducible builds have it, else the first day of the month of
/// the release, 2026-11-01.
pub const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => number(text.as_bytes()),
    None => 1_793_491_200,
};

/// Where systemd-timesyncd says that it has set the clock. Whoever runs another client of NTP may
/// have it make this file.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// A clock with a battery, from which the kernel or the system set the wall clock.
const BATTERY: &str = "/sys/class/rtc/rtc0";
/// By how much the clock moves against the time since boot when it is set and not only corrected.
const STEP: Duration = Duration::from_secs(10);
/// How often it is looked whether the clock is right, while it is not known to be.
const LOOK: Duration = Duration::from_secs(1);

/// How far the clock can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// It shows a time that has passed: nobody has set it.
    Unset,
    /// It shows a time that may be right, and nobody says that it is.
    Floor,
    /// It was set by the network or from a clock with a battery.
    Synced,
}

impl ClockState {
    /// What plugins and the status call it.
    pub fn name(self) -> &'static str {
        match self {
            ClockState::Unset => "unset",
            ClockState::Floor => "floor",
            ClockState::Synced => "synced",
        }
    }
}

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::new(Path::new("/")));

/// How far the clock can be believed now.
pub fn state() -> ClockState {
    CLOCK.state(&Reading::now())
}

/// The time, for whoever has to compare it with dates: never before the floor.
pub fn now() -> SystemTime {
    UNIX_EPOCH + CLOCK.time(&Reading::now())
}

/// A time that has passed for sure.
pub fn floor() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(CLOCK.floor.load(Ordering::Acquire))
}

/// Notes a time that was right, in seconds since the Unix epoch.
pub fn raise_floor(seconds: u64) {
    CLOCK.floor.fetch_max(seconds, Ordering::AcqRel);
}

/// The time in seconds if it is right, and worth keeping for the next start.
pub fn to_keep() -> Option<u64> {
    let reading = Reading::now();
    (CLOCK.state(&reading) == ClockState::Synced).then_some(reading.wall.as_secs())
}

/// What the clocks say at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Since the Unix epoch.
    wall: Duration,
    /// Since the machine started, sleep included.
    uptime: Duration,
}

impl Reading {
    fn now() -> Reading {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(uptime.tv_sec).unwrap_or(0);
        Reading {
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            uptime: Duration::new(seconds, u32::try_from(uptime.tv_nsec).unwrap_or(0)),
        }
    }

    /// Whether the wall clock was set between an `earlier` reading and this one.
    fn was_set_since(&self, earlier: &Reading) -> bool {
        let passed = self.uptime.saturating_sub(earlier.uptime);
        (earlier.wall + passed).abs_diff(self.wall) > STEP
    }
}

struct Clock {
    /// Seconds since the epoch that have passed for sure.
    floor: AtomicU64,
    /// Whether the clock was found to be right. It stays so as long as it is not behind the floor.
    synced: AtomicBool,
    /// What the clocks said at the first look.
    first: Reading,
    /// When it was last looked whether somebody has set it.
    looked: Mutex<Option<Instant>>,
    synchronized: std::path::PathBuf,
    has_battery: bool,
}

impl Clock {
    /// The clock of a machine whose files are below `root`.
    fn new(root: &Path) -> Clock {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        Clock {
            floor: AtomicU64::new(BUILT),
            synced: AtomicBool::new(false),
            first: Reading::now(),
            looked: Mutex::new(None),
            synchronized: below(SYNCHRONIZED),
            has_battery: below(BATTERY).exists(),
        }
    }

    fn state(&self, reading: &Reading) -> ClockState {
        let wall = reading.wall.as_secs();
        let is_behind = wall < self.floor.load(Ordering::Acquire);
        if !is_behind && self.synced.load(Ordering::Acquire) {
            return ClockState::Synced;
        }
        if self.is_set(reading, is_behind) {
            // What an earlier run kept was wrong, if this is before it: its clock was set by hand.
            self.floor.fetch_min(wall.max(BUILT), Ordering::AcqRel);
            self.synced.store(true, Ordering::Release);
            return ClockState::Synced;
        }
        self.synced.store(false, Ordering::Release);
        match is_behind {
            true => ClockState::Unset,
            false => ClockState::Floor,
        }
    }

    /// Whether somebody has set the clock, looked for now and then. Before this program was built
    /// nobody has; and what an earlier run kept is only overruled by who asks the network.
    fn is_set(&self, reading: &Reading, is_behind: bool) -> bool {
        if reading.wall.as_secs() < BUILT {
            return false;
        }
        if !is_behind && (self.has_battery || reading.was_set_since(&self.first)) {
            return true;
        }
        let mut looked = sync::lock(&self.looked);
        if looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return false;
        }
        *looked = Some(Instant::now());
        drop(looked);
        self.synchronized.exists()
    }

    fn time(&self, reading: &Reading) -> Duration {
        // Whoever set it overrules the floor.
        self.state(reading);
        let floor = Duration::from_secs(self.floor.load(Ordering::Acquire));
        reading.wall.max(floor)
    }
}

/// The number that a text consists of, known when the program is built.
const fn number(text: &[u8]) -> u64 {
    let (mut value, mut place) = (0, 0);
    while place < text.len() {
        assert!(
            text[place].is_ascii_digit(),
            "SOURCE_DATE_EPOCH is a number of seconds"
        );
        value = value * 10 + (text[place] - b'0') as u64;
        place += 1;
    }
    value
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::data_dir::temporary_folder;

    const DAY: u64 = 86_400;

    /// A clock of a machine that has none of these files, or some.
    fn clock(files: &[&str], test: impl FnOnce(&Clock, &dyn Fn())) {
        let root = temporary_folder().unwrap();
        let make = |path: &str| {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        files.iter().for_each(|path| make(path));
        let mut clock = Clock::new(&root);
        clock.first = reading(BUILT - DAY, 10);
        test(&clock, &|| make(SYNCHRONIZED));
        fs::remove_dir_all(root).unwrap();
    }

    fn reading(wall: u64, uptime: u64) -> Reading {
        Reading {
            wall: Duration::from_secs(wall),
            uptime: Duration::from_secs(uptime),
        }
    }

    /// After the first reading, without anybody setting the clock.
    fn later(seconds: u64) -> Reading {
        reading(BUILT - DAY + seconds, 10 + seconds)
    }

    fn forget_the_last_look(clock: &Clock) {
        *clock.looked.lock().unwrap() = None;
    }

    #[test]
    fn a_clock_that_nobody_set_is_held_against_the_floor() {
        clock(&[], |clock, _| {
            assert_eq!(clock.state(&later(5)), ClockState::Unset);
            assert_eq!(clock.time(&later(5)).as_secs(), BUILT);
            // It goes on from where the device was switched off.
            let after = later(2 * DAY);
            assert_eq!(clock.state(&after), ClockState::Floor);
            assert_eq!(clock.time(&after), after.wall);
            clock.floor.store(BUILT + 5 * DAY, Ordering::Release);
            assert_eq!(clock.state(&after), ClockState::Unset);
            assert_eq!(clock.time(&after).as_secs(), BUILT + 5 * DAY);
        });
    }

    #[test]
    fn a_clock_that_is_set_while_the_daemon_runs_is_right_from_then_on() {
        clock(&[], |clock, _| {
            assert_eq!(clock.state(&later(5)), ClockState::Unset);
            let set = |seconds| reading(BUILT + 100 * DAY + seconds, 20 + seconds);
            assert_eq!(clock.state(&set(0)), ClockState::Synced);
            assert_eq!(clock.state(&set(DAY)), ClockState::Synced);
            assert_eq!(clock.time(&set(DAY)), set(DAY).wall);
            // But not where somebody sets it to a time that has passed.
            let behind = reading(5, 30 + DAY);
            assert_eq!(clock.state(&behind), ClockState::Unset);
            assert_eq!(clock.time(&behind).as_secs(), BUILT);
        });
    }

    #[test]
    fn a_battery_is_believed_unless_it_is_empty() {
        clock(&[BATTERY], |clock, _| {
            assert_eq!(clock.state(&reading(5, 5)), ClockState::Unset);
            assert_eq!(clock.state(&later(2 * DAY)), ClockState::Synced);
            clock.floor.store(BUILT + 5 * DAY, Ordering::Release);
            assert_eq!(clock.state(&later(2 * DAY)), ClockState::Unset);
        });
    }

    #[test]
    fn the_network_overrules_what_an_earlier_run_kept_but_not_the_release() {
        clock(&[], |clock, synchronize| {
            clock.floor.store(BUILT + 5000 * DAY, Ordering::Release);
            assert_eq!(clock.state(&later(2 * DAY)), ClockState::Unset);
            synchronize();
            forget_the_last_look(clock);
            assert_eq!(clock.state(&later(5)), ClockState::Unset);
            assert_eq!(clock.state(&later(2 * DAY)), ClockState::Synced);
            assert_eq!(clock.time(&later(2 * DAY)), later(2 * DAY).wall);
        });
    }

    #[test]
    fn the_date_of_the_build_is_read_when_it_is_built() {
        assert_eq!(number(b"1793491200"), 1_793_491_200);
        const { assert!(BUILT > 1_700_000_000, "in seconds") };
    }
}
