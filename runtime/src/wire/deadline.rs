//! One timer for all the phases of a connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smol::Timer;

use crate::sync;

/// The time by which the current phase must make progress.
///
/// Arming a timer wakes the reactor, which costs more than a small request. So moving the deadline
/// later only writes a number; the timer that is armed already fires too early then, sees that,
/// and arms itself anew. A busy connection arms a timer once in ten seconds or so.
pub(crate) struct Deadline {
    start: Instant,
    /// Milliseconds after `start`.
    at: AtomicU64,
    armed: Mutex<Option<Armed>>,
}

struct Armed {
    timer: Timer,
    at: u64,
}

/// The phase's time is up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl Deadline {
    pub(crate) fn new() -> Deadline {
        Deadline {
            start: Instant::now(),
            at: AtomicU64::new(0),
            armed: Mutex::new(None),
        }
    }

    /// Starts a phase that ends `after` from now.
    pub(crate) fn set(&self, after: Duration) {
        self.at.store(self.after_now(after), Ordering::Relaxed);
    }

    /// Records progress: the phase now lasts until at least `after` from now.
    pub(crate) fn extend(&self, after: Duration) {
        self.at.fetch_max(self.after_now(after), Ordering::Relaxed);
    }

    fn after_now(&self, after: Duration) -> u64 {
        let at = self.start.elapsed().saturating_add(after);
        u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let mut armed = sync::lock(&self.armed);
        loop {
            let at = self.at.load(Ordering::Relaxed);
            match &mut *armed {
                Some(held) if held.at <= at => match Pin::new(&mut held.timer).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) if u128::from(at) <= self.start.elapsed().as_millis() => {
                        *armed = None;
                        return Poll::Ready(TimedOut);
                    }
                    Poll::Ready(_) => *armed = None,
                },
                // No timer is armed, or the one that is armed fires too late.
                _ => {
                    let timer = Timer::at(self.start + Duration::from_millis(at));
                    *armed = Some(Armed { timer, at });
                }
            }
        }
    }

    /// Runs `future` until the deadline, which may move while it runs.
    pub(crate) async fn within<F: Future>(&self, future: F) -> Result<F::Output, TimedOut> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_moves_the_deadline_and_its_absence_ends_the_phase() {
        smol::block_on(async {
            let deadline = Deadline::new();
            // Times that are looked at themselves, long enough that a busy machine does not let one pass between
            // two steps.
            deadline.set(Duration::from_secs(1));
            let working = async {
                for _ in 0..6 {
                    Timer::after(Duration::from_millis(200)).await;
                    deadline.set(Duration::from_secs(1));
                }
            };
            assert_eq!(deadline.within(working).await, Ok(()));
            assert_eq!(
                deadline.within(std::future::pending::<()>()).await,
                Err(TimedOut)
            );
        });
    }

    #[test]
    fn a_shorter_phase_after_a_longer_one_ends_on_time() {
        smol::block_on(async {
            let deadline = Deadline::new();
            deadline.set(Duration::from_secs(3600));
            assert_eq!(deadline.within(async {}).await, Ok(()));
            assert!(
                futures_lite::future::poll_once(deadline.within(std::future::pending::<()>()))
                    .await
                    .is_none()
            );
            deadline.set(Duration::from_millis(10));
            assert_eq!(
                deadline.within(std::future::pending::<()>()).await,
                Err(TimedOut)
            );
        });
    }
}
