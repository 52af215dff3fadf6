//! Work that may take so long and no longer. Work that is not done by then is dropped.

use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;

/// What `work` brings, if it does so within `time`.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::after(time), work).await
}

/// What `work` brings before `end`.
pub(crate) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::at(end), work).await
}

/// What `work` brings before `timer` fires, which several pieces of work may share. The timer is armed
/// only when the work has to wait for something.
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
