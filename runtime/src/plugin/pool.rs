//! Instances at rest, and the places for those at work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;
use futures_lite::future::or;
use smol::Timer;
use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::failure::Failure;

/// How many instances may work at the same time, and who waits for one.
pub(super) struct Places {
    max: usize,
    semaphore: Arc<Semaphore>,
    work: Arc<Work>,
    /// How long a request waits.
    patience: Duration,
}

/// What is at work.
#[derive(Default)]
struct Work {
    instances: AtomicUsize,
    /// Told when an instance has ended its work: there may be memory now.
    freed: Event,
}

/// An instance at work. Dropping it ends the instance, as must happen after a trap or a deadline
/// (a store whose call did not end is never used again); [`super::Plugin::keep_typed`] and
/// [`super::Plugin::keep_http`] put it back.
pub struct Running<I> {
    /// The instance. It stands first: its memory is free before the next one is let in.
    pub instance: I,
    _slot: SemaphoreGuardArc,
    _counted: Counted,
}

/// One instance at work.
struct Counted(Arc<Work>);

impl Counted {
    fn new(work: &Arc<Work>) -> Counted {
        work.instances.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(work))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::SeqCst);
        // All of them: nobody knows how many the memory is enough for.
        self.0.freed.notify(usize::MAX);
    }
}

impl Places {
    pub(super) fn new(count: usize, patience: Duration) -> Places {
        Places {
            max: count,
            semaphore: Arc::new(Semaphore::new(count)),
            work: Arc::default(),
            patience,
        }
    }

    /// Places in all.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Instances at work.
    pub(super) fn running(&self) -> usize {
        self.work.instances.load(Ordering::Relaxed)
    }

    /// Takes an idle instance or makes one. When all places are taken, or memory is short while
    /// other instances work, it waits for one of them, until patience ends.
    pub(super) async fn run<I, F>(
        &self,
        idle: &Idle<I>,
        make: impl Fn() -> F,
    ) -> Result<Running<I>, Failure>
    where
        F: Future<Output = Result<I, Failure>>,
    {
        let until = Instant::now() + self.patience;
        let slot = self.slot(until).await?;
        loop {
            // Listening before looking: what is freed meanwhile is not missed.
            let freed = self.work.freed.listen();
            let made = match idle.take() {
                Some(instance) => Ok(instance),
                None => make().await,
            };
            match made {
                Ok(instance) => {
                    return Ok(Running {
                        instance,
                        _slot: slot,
                        _counted: Counted::new(&self.work),
                    });
                }
                Err(Failure::Busy(_))
                    if self.work.instances.load(Ordering::SeqCst) > 0 && Instant::now() < until =>
                {
                    let late = async {
                        Timer::at(until).await;
                    };
                    or(freed, late).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn slot(&self, until: Instant) -> Result<SemaphoreGuardArc, Failure> {
        if let Some(slot) = self.semaphore.try_acquire_arc() {
            return Ok(slot);
        }
        let free = async { Some(self.semaphore.acquire_arc().await) };
        let late = async {
            Timer::at(until).await;
            None
        };
        let busy = || Failure::Busy("all instances are at work".to_owned());
        or(free, late).await.ok_or_else(busy)
    }
}

/// A stack of idle instances: the one used last is taken first, for its pages are warm.
///
/// It is bounded by the plugin's slots: an instance is only made when none is idle.
pub(super) struct Idle<I> {
    instances: Mutex<Vec<I>>,
}

impl<I> Default for Idle<I> {
    fn default() -> Self {
        Idle {
            instances: Mutex::new(Vec::new()),
        }
    }
}

impl<I> Idle<I> {
    pub(super) fn take(&self) -> Option<I> {
        self.lock().pop()
    }

    pub(super) fn put(&self, instance: I) {
        self.lock().push(instance);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Drops all, outside the lock, and tells how many.
    pub(super) fn clear(&self) -> usize {
        let all = std::mem::take(&mut *self.lock());
        all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<I>> {
        // Pushing and popping leave the list whole wherever a holder died.
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warmest_instance_is_taken_first() {
        let idle = Idle::default();
        idle.put(1);
        idle.put(2);
        assert_eq!(idle.take(), Some(2));
        assert_eq!((idle.clear(), idle.take()), (1, None));
    }
}
