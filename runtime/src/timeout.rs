//! Time limits for futures. A future that is not ready in time is dropped.

use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;

/// The output of `work`, if it is ready within `time`.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::after(time), work).await
}

/// The output of `work`, if it is ready before `end`.
pub(crate) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::at(end), work).await
}

/// The output of `work`, if it is ready before `timer` fires. Several futures may share the timer.
/// It is armed only when `work` has to wait for something.
pub(crate) async fn before_timer<T>(timer: &mut Timer, work: impl Future<Output = T>) -> Option<T> {
    let done = async { Some(work.await) };
    let late = async {
        timer.await;
        None
    };
    or(done, late).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_comes_to_its_end_or_is_given_up() {
        smol::block_on(async {
            let never = std::future::pending::<()>;
            assert_eq!(within(Duration::ZERO, async { 1 }).await, Some(1));
            assert_eq!(within(Duration::from_millis(1), never()).await, None);
            assert_eq!(before(Instant::now(), never()).await, None);
            let mut timer = Timer::after(Duration::from_millis(1));
            assert_eq!(before_timer(&mut timer, never()).await, None);
        });
    }
}
