//! How many connections one socket of the interface has, and who makes room for the next.
//!
//! The TCP port is for everybody on the device, and whoever connects and says nothing would keep a
//! watchdog from asking for the health. So the place of the one that has kept the daemon waiting
//! for the longest goes to whoever comes next. Who asks at once is served before that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_lite::future::or;
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};
use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::wire::stopped;

/// How soon somebody is asked again for his place, when all were being served.
const AGAIN: Duration = Duration::from_millis(50);

/// The places of one socket.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Those that are taken, the oldest first.
    taken: Mutex<Vec<Weak<Place>>>,
}

/// The place of one connection. Dropping it frees it.
pub(super) struct Place {
    _guard: SemaphoreGuardArc,
    /// Closed when somebody else wants it.
    leave: Sender<()>,
    asked: Receiver<()>,
    /// Whether the daemon is at work for it, and not waiting for its client.
    is_served: AtomicBool,
}

impl Places {
    pub(super) fn new(count: usize) -> Places {
        Places {
            free: Arc::new(Semaphore::new(count)),
            taken: Mutex::new(Vec::with_capacity(count)),
        }
    }

    /// Waits for a place, and has somebody leave where there is none.
    pub(super) async fn take(&self) -> Arc<Place> {
        let guard = loop {
            if let Some(guard) = self.free.try_acquire_arc() {
                break guard;
            }
            self.ask_one();
            let freed = async { Some(self.free.acquire_arc().await) };
            let again = async {
                Timer::after(AGAIN).await;
                None
            };
            if let Some(guard) = or(freed, again).await {
                break guard;
            }
        };
        let (leave, asked) = bounded(1);
        let place = Arc::new(Place {
            _guard: guard,
            leave,
            asked,
            is_served: AtomicBool::new(false),
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|one| one.strong_count() > 0);
        taken.push(Arc::downgrade(&place));
        place
    }

    /// Asks the oldest connection to leave of those that keep the daemon waiting.
    fn ask_one(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = taken.iter().filter_map(Weak::upgrade);
        let idle = places.find(|one| !one.is_served.load(Ordering::Relaxed));
        if let Some(idle) = idle {
            idle.leave.close();
        }
    }
}

impl Place {
    /// Says whether the daemon is at work for the connection: then it is not asked to leave.
    pub(super) fn set_served(&self, is_served: bool) {
        self.is_served.store(is_served, Ordering::Relaxed);
    }

    /// Waits until somebody else wants the place.
    pub(super) async fn wait_until_asked(&self) {
        stopped(&self.asked).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn the_oldest_that_is_not_served_makes_room() {
        block_on(async {
            let places = Places::new(3);
            let served = places.take().await;
            let (first, second) = (places.take().await, places.take().await);
            served.set_served(true);
            let asked = async |place: &Place| poll_once(place.wait_until_asked()).await.is_some();
            assert!(!asked(&first).await, "nobody wants it yet");
            // It is asked, and leaves while the other waits.
            let leaving = async {
                first.wait_until_asked().await;
                let is_asked = (asked(&served).await, asked(&second).await);
                drop(first);
                is_asked
            };
            let (next, is_asked) = futures_lite::future::zip(places.take(), leaving).await;
            assert_eq!(is_asked, (false, false));
            // Once its response is out, the oldest may be asked as well.
            served.set_served(false);
            let leaving = async {
                served.wait_until_asked().await;
                drop(served);
            };
            futures_lite::future::zip(places.take(), leaving).await;
            assert!(!asked(&next).await && !asked(&second).await);
        });
    }

    #[test]
    fn who_is_served_by_then_keeps_the_place() {
        block_on(async {
            let places = Places::new(1);
            let one = places.take().await;
            one.set_served(true);
            let ending = async {
                Timer::after(2 * AGAIN).await;
                assert!(poll_once(one.wait_until_asked()).await.is_none());
                one.set_served(false);
                one.wait_until_asked().await;
                drop(one);
            };
            futures_lite::future::zip(places.take(), ending).await;
        });
    }
}
