//! The store's own time, by which values expire.
//!
//! Many boards have no clock battery: they start in 1970 or at the time of the last shutdown,
//! and jump when the network tells them the time. So expiry is not counted by the wall clock.
//! The store's time goes on with the kernel's time since boot, which no clock setting moves. It is
//! written down with the data ([`Anchor`]), and continues from there:
//!
//! - after a restart on the same boot it has lost nothing: the kernel counted on;
//! - after a reboot, the time since boot has passed for sure. How long the device was off is
//!   known only where both wall clock readings can be trusted; elsewhere that time does not count.
//!
//! So a jump forward expires nothing early, a jump back makes nothing immortal, and each boot
//! moves the time on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{clock, device};

/// What the machine's clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds since the machine started, sleep included.
    pub uptime: u64,
    /// Nanoseconds since the Unix epoch; wrong if nobody has set the clock.
    pub wall: u64,
    /// The number that the kernel gives this boot; all zeros if it gives none.
    pub boot: [u8; 16],
    /// Whether `wall` comes from a clock with a battery and looks as if it was ever set.
    pub trusted: bool,
}

/// Where the store's time comes from; tests have their own.
pub trait TimeSource: Send + Sync {
    /// Reads the clocks now.
    fn read(&self) -> Reading;
}

/// Reads the machine's own clocks.
#[derive(Debug, Default)]
pub struct Machine {
    fixed: OnceLock<Fixed>,
}

/// What stays the same while the kernel runs: the boot's number, and whether the board has a clock with
/// a battery.
#[derive(Debug)]
struct Fixed {
    boot: [u8; 16],
    has_clock: bool,
}

/// A wall clock that is before this program was built was never set; in nanoseconds.
const WALL_FLOOR: u64 = clock::BUILT * NANOS;
const NANOS: u64 = 1_000_000_000;

impl Fixed {
    fn ask() -> Fixed {
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let text = device::read(boot).unwrap_or_default();
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let boot = u128::from_str_radix(&hex, 16).unwrap_or(0).to_be_bytes();
        Fixed {
            boot,
            has_clock: Path::new("/sys/class/rtc/rtc0").exists(),
        }
    }
}

impl TimeSource for Machine {
    fn read(&self) -> Reading {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(uptime.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(uptime.tv_nsec).unwrap_or(0);
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, super::entry::nanos);
        // Not before somebody uses the store: a start has no time for what nobody asks.
        let fixed = self.fixed.get_or_init(Fixed::ask);
        Reading {
            uptime: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
            wall,
            boot: fixed.boot,
            trusted: fixed.has_clock && wall >= WALL_FLOOR,
        }
    }
}

/// The store's clock. It stands still until [`StoreClock::start`].
pub(super) struct StoreClock {
    source: Arc<dyn TimeSource>,
    /// The store's time minus the time since boot, in nanoseconds.
    offset: AtomicI64,
    /// The store's time at which the last of its values expires.
    last_expiry: AtomicU64,
    /// The store's time as it was last written down.
    anchored: AtomicU64,
    /// Whether the machine was restarted after the time was last written down.
    is_new_boot: AtomicBool,
}

const NOT_STARTED: i64 = i64::MIN;

impl StoreClock {
    pub(super) fn new(source: Arc<dyn TimeSource>) -> StoreClock {
        StoreClock {
            source,
            offset: AtomicI64::new(NOT_STARTED),
            last_expiry: AtomicU64::new(0),
            anchored: AtomicU64::new(0),
            is_new_boot: AtomicBool::new(false),
        }
    }

    /// Another clock on the same machine, which starts now.
    pub(super) fn another(&self) -> StoreClock {
        let clock = StoreClock::new(Arc::clone(&self.source));
        clock.start(None);
        clock
    }

    /// Continues from what the database holds; does nothing when it runs already.
    pub(super) fn start(&self, anchor: Option<Anchor>) {
        if self.offset.load(Ordering::Acquire) != NOT_STARTED {
            return;
        }
        let reading = self.source.read();
        let time = anchor.map_or(0, |anchor| anchor.continued(&reading));
        if let Some(anchor) = anchor {
            self.will_expire(anchor.last_expiry);
            if anchor.reading.trusted {
                clock::raise_floor(anchor.reading.wall / NANOS);
            }
            self.written_down(&anchor);
            let same_boot = anchor.reading.boot == reading.boot;
            self.is_new_boot.store(!same_boot, Ordering::Release);
        }
        let offset = i128::from(time) - i128::from(reading.uptime);
        let offset = i64::try_from(offset).unwrap_or(0);
        self.offset.store(offset, Ordering::Release);
    }

    /// Nanoseconds of the store's time; 0 before the start, when nothing is expired.
    pub(super) fn now(&self) -> u64 {
        self.at(self.source.read().uptime)
    }

    /// Notes that a value expires at the store's time `at`.
    pub(super) fn will_expire(&self, at: u64) {
        self.last_expiry.fetch_max(at, Ordering::AcqRel);
    }

    /// Whether the present time has to be written down because values expire. If it were lost,
    /// values that have expired since it was last written down would come back to life or live
    /// longer.
    pub(super) fn is_owed(&self) -> bool {
        self.last_expiry.load(Ordering::Acquire) > self.anchored.load(Ordering::Acquire)
    }

    /// Whether the time has to be written down at once, as after a reboot: until then the disk
    /// knows no time of this boot. A device that is switched off every few minutes would otherwise
    /// start from the same time for ever, and a clock that was set meanwhile would count as time in
    /// which it was off.
    pub(super) fn is_due(&self) -> bool {
        self.is_owed() && self.is_new_boot.load(Ordering::Acquire)
    }

    /// Notes that `anchor` has reached the disk.
    pub(super) fn written_down(&self, anchor: &Anchor) {
        self.anchored.store(anchor.time, Ordering::Release);
        self.is_new_boot.store(false, Ordering::Release);
    }

    /// The anchor to write down now.
    pub(super) fn anchor(&self) -> Anchor {
        let reading = self.source.read();
        Anchor {
            time: self.at(reading.uptime),
            last_expiry: self.last_expiry.load(Ordering::Acquire),
            reading,
        }
    }

    fn at(&self, uptime: u64) -> u64 {
        match self.offset.load(Ordering::Acquire) {
            NOT_STARTED => 0,
            offset => uptime.saturating_add_signed(offset),
        }
    }
}

/// The store's time as it was written down, with what the machine's clocks said then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    time: u64,
    last_expiry: u64,
    reading: Reading,
}

impl Anchor {
    const BYTES: usize = 49;

    pub(super) fn encode(&self) -> [u8; Anchor::BYTES] {
        let mut bytes = [0; Anchor::BYTES];
        let reading = &self.reading;
        let numbers = [self.time, self.last_expiry, reading.uptime, reading.wall];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..48].copy_from_slice(&reading.boot);
        bytes[48] = u8::from(reading.trusted);
        bytes
    }

    /// Returns `None` if [`Anchor::encode`] cannot have written these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Anchor> {
        let bytes: &[u8; Anchor::BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| {
            let field = bytes[at..].first_chunk::<8>();
            field.map_or(0, |field| u64::from_le_bytes(*field))
        };
        Some(Anchor {
            time: number(0),
            last_expiry: number(8),
            reading: Reading {
                uptime: number(16),
                wall: number(24),
                boot: *bytes[32..].first_chunk()?,
                trusted: bytes[48] != 0,
            },
        })
    }

    /// The store's time when the machine's clocks say `now`.
    fn continued(&self, now: &Reading) -> u64 {
        let then = &self.reading;
        let passed = if then.boot == now.boot && then.boot != [0; 16] {
            now.uptime.saturating_sub(then.uptime)
        } else if then.trusted && now.trusted {
            now.wall.saturating_sub(then.wall).max(now.uptime)
        } else {
            now.uptime
        };
        self.time.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn anchor(reading: Reading) -> Anchor {
        Anchor {
            time: 10 * HOUR,
            last_expiry: 11 * HOUR,
            reading,
        }
    }

    fn reading(boot: u8, uptime: u64, wall: u64, trusted: bool) -> Reading {
        Reading {
            uptime,
            wall,
            boot: [boot; 16],
            trusted,
        }
    }

    #[test]
    fn an_anchor_comes_back_from_its_bytes() {
        let anchor = anchor(reading(7, 1, u64::MAX, true));
        assert_eq!(Anchor::decode(&anchor.encode()), Some(anchor));
        assert_eq!(Anchor::decode(&anchor.encode()[1..]), None);
    }

    #[test]
    fn within_a_boot_only_the_kernels_own_time_counts() {
        let anchor = anchor(reading(1, 5 * HOUR, 900 * HOUR, true));
        for wall in [0, 900 * HOUR, 90_000 * HOUR] {
            let now = reading(1, 6 * HOUR, wall, true);
            assert_eq!(anchor.continued(&now), 11 * HOUR);
        }
    }

    #[test]
    fn off_time_counts_only_between_trusted_clocks() {
        let off = |trusted_then, trusted_now, wall_now| {
            anchor(reading(1, 5 * HOUR, 900 * HOUR, trusted_then)).continued(&reading(
                2,
                HOUR / 60,
                wall_now,
                trusted_now,
            )) - 10 * HOUR
        };
        assert_eq!(off(true, true, 903 * HOUR), 3 * HOUR);
        // A first synchronisation, a clock that starts in 1970, a jump back: what is sure is the
        // time since boot.
        assert_eq!(off(false, true, 500_000 * HOUR), HOUR / 60);
        assert_eq!(off(true, false, HOUR / 60), HOUR / 60);
        assert_eq!(off(true, true, 100 * HOUR), HOUR / 60);
    }

    #[test]
    fn a_kernel_that_names_no_boot_is_taken_for_rebooted() {
        let anchor = anchor(reading(0, 5 * HOUR, 0, false));
        let now = reading(0, 6 * HOUR, 0, false);
        assert_eq!(anchor.continued(&now), 16 * HOUR);
    }

    #[test]
    fn the_clock_stands_until_it_is_started_and_starts_once() {
        struct Fixed;
        impl TimeSource for Fixed {
            fn read(&self) -> Reading {
                reading(1, 5 * HOUR, 0, false)
            }
        }
        let clock = StoreClock::new(Arc::new(Fixed));
        assert_eq!(clock.now(), 0);
        clock.start(Some(anchor(reading(1, 4 * HOUR, 0, false))));
        assert_eq!(clock.now(), 11 * HOUR);
        clock.start(None);
        assert_eq!(clock.now(), 11 * HOUR);
        assert!(
            clock.is_owed(),
            "what expires at 11 has, and the disk knows of 10"
        );
        clock.written_down(&clock.anchor());
        assert!(!clock.is_owed());
        clock.will_expire(12 * HOUR);
        assert!(clock.is_owed());
    }

    #[test]
    fn the_machines_clocks_go_forward() {
        let machine = Machine::default();
        let first = machine.read();
        assert!(machine.read().uptime >= first.uptime && first.uptime > 0);
    }
}
