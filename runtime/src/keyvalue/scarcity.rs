//! What is known of a full disk while it is one: when it was looked at, and what was tried.

use std::time::{Duration, Instant};

/// How often a full disk is looked at: whether what was removed makes room, and whether there is enough.
const TEND: Duration = Duration::from_secs(5);
/// The longest pause between two tries to make room. A try may read as much as the disk has room for.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Bytes that have to become free for the next try to be made sooner.
const GROWTH: u64 = 1 << 20;

/// A disk that is full.
pub(super) struct Scarcity {
    /// When it was last looked at.
    tended: Instant,
    /// Whether keys were removed that may still take room.
    has_removed: bool,
    /// When it was last tried to make room, and the bytes that were free then.
    tried: Option<(Instant, u64)>,
    /// How long after a vain try the next one is made.
    pause: Duration,
}

impl Scarcity {
    /// One that begins. `has_removed` says whether keys may have been removed before.
    pub(super) fn new(has_removed: bool) -> Scarcity {
        Scarcity {
            tended: Instant::now(),
            has_removed,
            tried: None,
            pause: TEND,
        }
    }

    /// How long the disk need not be looked at.
    pub(super) fn until_tended(&self) -> Duration {
        TEND.saturating_sub(self.tended.elapsed())
    }

    /// Notes that the disk is being looked at.
    pub(super) fn tended(&mut self) {
        self.tended = Instant::now();
    }

    /// Notes that keys were removed.
    pub(super) fn removed(&mut self) {
        self.has_removed = true;
    }

    /// Whether to try to make room, with `free` bytes on the disk. The pause doubles with each try, until
    /// one succeeds or the disk has got more room.
    pub(super) fn tries(&mut self, now: Instant, free: u64) -> bool {
        if !self.has_removed {
            return false;
        }
        if let Some((tried, before)) = self.tried {
            if free >= before.saturating_add(GROWTH) {
                self.pause = TEND;
            } else if now.saturating_duration_since(tried) < self.pause {
                return false;
            } else {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
        self.tried = Some((now, free));
        true
    }

    /// Notes that a try succeeded: nothing that was removed before takes room any more.
    pub(super) fn shrunk(&mut self) {
        self.has_removed = false;
        self.tried = None;
        self.pause = TEND;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vain_tries_become_rare_and_are_made_at_once_when_there_is_more_room() {
        let mut scarcity = Scarcity::new(false);
        let mut now = Instant::now();
        assert!(!scarcity.tries(now, 0), "nothing was removed");
        scarcity.removed();
        assert!(scarcity.tries(now, 0));
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let pause = Duration::from_secs(seconds);
            assert!(!scarcity.tries(now + pause - Duration::from_millis(1), GROWTH - 1));
            now += pause;
            assert!(scarcity.tries(now, 0), "after {pause:?}");
        }
        assert!(scarcity.tries(now, GROWTH));
        assert!(!scarcity.tries(now, GROWTH));
        assert!(scarcity.tries(now + TEND, GROWTH));
    }

    #[test]
    fn what_was_removed_is_forgotten_only_once_it_has_made_room() {
        let mut scarcity = Scarcity::new(true);
        let now = Instant::now();
        assert!(scarcity.tries(now, 0) && scarcity.tries(now + TEND, 0));
        scarcity.shrunk();
        assert!(!scarcity.tries(now + PAUSE_MAX, u64::MAX));
        scarcity.removed();
        assert!(scarcity.tries(now, 0));
    }
}
