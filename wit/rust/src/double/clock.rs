//! The clocks of a test, which stand still until it moves them.

/// The start of the year 2026, in nanoseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000_000_000;

#[derive(Debug)]
pub(crate) struct Clock {
    /// The date.
    pub(crate) now: u64,
    /// What has gone by, from a start that is not zero, as on a device.
    pub(crate) monotonic: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            now: START,
            monotonic: 1_000_000_000,
        }
    }
}

impl Clock {
    pub(super) fn advance(&mut self, by: u64) {
        self.now = self.now.saturating_add(by);
        self.monotonic = self.monotonic.saturating_add(by);
    }
}
