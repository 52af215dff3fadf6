//! A bound on how often something is done, with a count of what it held back.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::Event;
use smol::Timer;

use crate::sync;

/// How long refusals are gathered before they are reported.
const GATHER: Duration = Duration::from_secs(1);

/// A token bucket that counts how often it was empty.
#[derive(Debug)]
pub struct Rate {
    per_second: u32,
    burst: u32,
    state: Mutex<Bucket>,
    /// Notified when there is something to report, and nothing was before.
    held_back: Event,
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    /// Up to when the passing time was turned into `left`.
    since: Instant,
    held_back: u64,
    unreported: u64,
}

impl Rate {
    /// Allows `burst` at once, and `per_second` in the long run.
    pub fn new(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second,
            burst,
            state: Mutex::new(Bucket {
                left: burst,
                since: Instant::now(),
                held_back: 0,
                unreported: 0,
            }),
            held_back: Event::new(),
        }
    }

    /// Takes a token at the time `now`. Returns whether there was one; refusals are counted.
    pub fn allows(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let nanos = now.duration_since(state.since).as_nanos();
        let earned = nanos * u128::from(self.per_second) / 1_000_000_000;
        let room = self.burst - state.left;
        if earned >= u128::from(room) {
            (state.left, state.since) = (self.burst, now);
        } else if earned > 0 {
            // This is below the burst, so it fits. The rest of the time counts towards the next
            // token.
            state.left += earned as u32;
            let paid = earned as u64 * 1_000_000_000 / u64::from(self.per_second);
            state.since += Duration::from_nanos(paid);
        }
        if state.left > 0 {
            state.left -= 1;
            return true;
        }
        state.held_back += 1;
        state.unreported += 1;
        let first = state.unreported == 1;
        drop(state);
        if first {
            self.held_back.notify(usize::MAX);
        }
        false
    }

    /// How many were held back since the start.
    pub fn held_back(&self) -> u64 {
        self.lock().held_back
    }

    /// How many were held back since the last call.
    pub fn take_unreported(&self) -> u64 {
        std::mem::take(&mut self.lock().unreported)
    }

    /// Calls `report` with how many were held back, at most once a second, and no later than a
    /// second after the first of them, whether or not more come. Never ends.
    pub async fn watch(&self, report: impl Fn(u64)) {
        loop {
            let listener = self.held_back.listen();
            if self.lock().unreported == 0 {
                listener.await;
            }
            Timer::after(GATHER).await;
            match self.take_unreported() {
                // Somebody else has reported them.
                0 => {}
                count => report(count),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        sync::lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_as_many_as_a_second_earns() {
        let rate = Rate::new(20, 100);
        let start = rate.lock().since;
        let passed = |at: Instant| (0..1000).filter(|_| rate.allows(at)).count();
        assert_eq!(passed(start), 100);
        assert_eq!(passed(start + Duration::from_millis(49)), 0);
        assert_eq!(passed(start + Duration::from_millis(75)), 1);
        // The rest of those 75 ms was not lost.
        assert_eq!(passed(start + Duration::from_millis(100)), 1);
        assert_eq!(passed(start + Duration::from_secs(1)), 18);
        assert_eq!(passed(start + Duration::from_secs(1000)), 100);
        assert_eq!(rate.held_back(), 6000 - 220);
        assert_eq!(rate.take_unreported(), 6000 - 220);
        assert_eq!(rate.take_unreported(), 0);
    }

    #[test]
    fn a_rate_of_nothing_holds_all_back() {
        let rate = Rate::new(0, 0);
        let start = rate.lock().since;
        assert!(!rate.allows(start + Duration::from_secs(1 << 30)));
        assert_eq!(rate.held_back(), 1);
    }

    #[test]
    fn what_was_held_back_is_told_though_nothing_follows() {
        let rate = Rate::new(1, 1);
        let start = rate.lock().since;
        for _ in 0..10 {
            rate.allows(start);
        }
        let (sender, told) = smol::channel::unbounded();
        let watch = async {
            rate.watch(|count| sender.try_send(count).unwrap_or_default())
                .await;
            None
        };
        let count = smol::block_on(futures_lite::future::or(watch, async {
            told.recv().await.ok()
        }));
        assert_eq!(count, Some(9));
    }
}
