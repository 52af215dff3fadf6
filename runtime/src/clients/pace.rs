//! How often a network's newcomers may take the places of its own connections.

use std::time::{Duration, Instant};

/// Once in this time, and [`AT_ONCE`] times at once. Nobody else gets anything by that, and a client
/// that comes back at once, however often it is closed, would keep the daemon at nothing but this.
pub(super) const PACE: Duration = Duration::from_millis(10);
pub(super) const AT_ONCE: u32 = 20;

/// When the next may be taken.
#[derive(Default)]
pub(super) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    pub(super) fn take(&mut self, now: Instant) {
        // What was not used for a while can be made up for.
        let earliest = now.checked_sub(PACE * AT_ONCE).unwrap_or(now);
        let next = self.next.map_or(earliest, |next| next.max(earliest));
        self.next = Some(next + PACE);
    }
}
