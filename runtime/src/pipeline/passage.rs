//! Where a request is at the moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::plugin::Plugin;
use crate::sync::lock;

/// Shared by a request's work and by the connection that waits for it: when time is up, it is known
/// which plugin was at work.
pub struct Passage {
    /// The handlers that the request may get to.
    services: OnceLock<Vec<Arc<Plugin>>>,
    at_work: Mutex<Option<Arc<Plugin>>>,
    /// The whole time for a request.
    time: Duration,
    /// Microseconds that stages have used up.
    spent: AtomicU64,
    /// Where it is told that time is up, while an answer is waited for that others have to see.
    cut_off: Mutex<Option<oneshot::Sender<Failure>>>,
}

impl Passage {
    pub(super) fn new(time: Duration) -> Passage {
        Passage {
            services: OnceLock::new(),
            at_work: Mutex::new(None),
            time,
            spent: AtomicU64::new(0),
            cut_off: Mutex::new(None),
        }
    }

    /// The plugin that is at work, or was when the work ended.
    pub fn plugin(&self) -> Option<Arc<Plugin>> {
        lock(&self.at_work).clone()
    }

    /// Cuts the work on the answer off, if what `failure` tells has to pass others first: the answer that
    /// tells of it comes then. False if nobody waits to be told so.
    pub fn cut_off(&self, failure: Failure) -> bool {
        let told = lock(&self.cut_off).take();
        told.is_some_and(|told| told.send(failure).is_ok())
    }

    /// Why the work is cut off, once it is. Dropped when it no longer can be.
    pub(super) fn on_cut_off(&self) -> oneshot::Receiver<Failure> {
        let (send, told) = oneshot::channel();
        *lock(&self.cut_off) = Some(send);
        told
    }

    /// Says who is at work now, and answers who was.
    pub(super) fn enter(&self, plugin: Option<&Arc<Plugin>>) -> Option<Arc<Plugin>> {
        std::mem::replace(&mut *lock(&self.at_work), plugin.cloned())
    }

    /// Says which handlers the request may get to.
    pub(super) fn serve(&self, services: Vec<Arc<Plugin>>) {
        // Said once.
        let _ = self.services.set(services);
    }

    pub(super) fn services(&self) -> &[Arc<Plugin>] {
        self.services.get().map_or(&[], Vec::as_slice)
    }

    /// How long the next stage may take: half of what the stages before it have left, so that
    /// one that hangs leaves time for those behind it.
    pub(super) fn allowance(&self) -> Duration {
        let spent = Duration::from_micros(self.spent.load(Ordering::Relaxed));
        self.time.saturating_sub(spent) / 2
    }

    pub(super) fn spend(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.spent.fetch_add(time, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_leaves_time_for_the_next() {
        let passage = Passage::new(Duration::from_secs(8));
        assert_eq!(passage.allowance(), Duration::from_secs(4));
        passage.spend(Duration::from_secs(4));
        assert_eq!(passage.allowance(), Duration::from_secs(2));
        passage.spend(Duration::from_secs(40));
        assert_eq!(passage.allowance(), Duration::ZERO);
    }
}
