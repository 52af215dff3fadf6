//! Keeps track of which plugin a request is at.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::trail::Trail;
use crate::failure::Failure;
use crate::plugin::Plugin;
use crate::sync::lock;

/// How far a request has come. It is shared by the work on the request and by the connection that
/// waits for it, so that the connection knows which plugin was at work when time is up.
pub struct Passage {
    /// The handlers that the request may reach.
    services: OnceLock<Vec<Arc<Plugin>>>,
    at_work: Mutex<Option<Arc<Plugin>>>,
    /// The upstream that the request goes to, and the router that named it.
    route: OnceLock<(String, Arc<Plugin>)>,
    /// How long a request may take in all.
    time: Duration,
    /// When it began.
    started: Instant,
    /// Microseconds that stages have used up.
    spent: AtomicU64,
    cut_off: Mutex<CutOff>,
    /// Who has to see the response.
    trail: OnceLock<Trail>,
}

/// Whether the work on a response can be cut off.
enum CutOff {
    /// The work has ended, or no stage has to see the response that reports a timeout.
    Impossible,
    /// The work is under way, and middlewares have to see the response, whatever it is.
    Possible,
    /// The work is to end with this failure.
    Due(Failure),
}

impl Passage {
    pub(super) fn new(time: Duration) -> Passage {
        Passage {
            services: OnceLock::new(),
            at_work: Mutex::new(None),
            route: OnceLock::new(),
            time,
            started: Instant::now(),
            spent: AtomicU64::new(0),
            cut_off: Mutex::new(CutOff::Impossible),
            trail: OnceLock::new(),
        }
    }

    /// The plugin that is at work, or that was when the work ended.
    pub fn plugin(&self) -> Option<Arc<Plugin>> {
        lock(&self.at_work).clone()
    }

    /// The upstream that the request goes to, and the name of the router that named it.
    pub fn route(&self) -> Option<(&str, &str)> {
        let (upstream, router) = self.route.get()?;
        Some((upstream, router.name()))
    }

    /// Records which upstream a router has named.
    pub(super) fn set_route(&self, upstream: String, router: &Arc<Plugin>) {
        // The first one counts, as it does for the request.
        let _ = self.route.set((upstream, Arc::clone(router)));
    }

    /// Cuts the work on the response off, if middlewares have to see the response that reports
    /// `failure`. The caller then has to poll the work, which ends with that failure. Returns false
    /// if the work cannot be cut off.
    pub fn cut_off(&self, failure: Failure) -> bool {
        let mut state = lock(&self.cut_off);
        let is_possible = matches!(*state, CutOff::Possible);
        if is_possible {
            *state = CutOff::Due(failure);
        }
        is_possible
    }

    /// Does `work`. If it is cut off before it has ended, the result is the failure that it was cut
    /// off with.
    pub(super) async fn until_cut_off<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        *lock(&self.cut_off) = CutOff::Possible;
        let ended = poll_fn(|cx| match (work.as_mut().poll(cx), &*lock(&self.cut_off)) {
            (Poll::Pending, CutOff::Due(failure)) => Poll::Ready(Err(failure.clone())),
            (polled, _) => polled,
        });
        let ended = ended.await;
        *lock(&self.cut_off) = CutOff::Impossible;
        ended
    }

    /// Records which plugin is at work now, and returns the one that was before.
    pub(super) fn set_at_work(&self, plugin: Option<&Arc<Plugin>>) -> Option<Arc<Plugin>> {
        std::mem::replace(&mut *lock(&self.at_work), plugin.cloned())
    }

    /// Records who has to see the response.
    pub(super) fn set_trail(&self, trail: &Trail) {
        // This is called once for a request.
        let _ = self.trail.set(trail.clone());
    }

    /// Who has to see the response; `None` if nobody has, or before it is known.
    pub(super) fn trail(&self) -> Option<Trail> {
        self.trail.get().cloned()
    }

    /// Whether somebody has to see the response, whatever takes its place.
    pub fn is_watched(&self) -> bool {
        self.trail.get().is_some()
    }

    /// Records which handlers the request may reach.
    pub(super) fn set_services(&self, services: Vec<Arc<Plugin>>) {
        // This is called once for a request.
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

    /// How long somebody else may be waited for, so that it can still be told of before the time for
    /// the request is up.
    pub(super) fn before_deadline(&self) -> Duration {
        let left = self.time.saturating_sub(self.started.elapsed());
        left - left / 8
    }

    pub(super) fn add_spent(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.spent.fetch_add(time, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;

    #[test]
    fn work_is_cut_off_only_while_it_is_under_way() {
        smol::block_on(async {
            let passage = Passage::new(Duration::from_secs(8));
            assert!(!passage.cut_off(Failure::Deadline));
            let done = passage.until_cut_off(async { Ok(1) }).await;
            assert!(matches!(done, Ok(1)));
            assert!(!passage.cut_off(Failure::Deadline));
            let hanging = std::future::pending::<Result<(), Failure>>();
            let mut hanging = pin!(passage.until_cut_off(hanging));
            assert!(poll_once(hanging.as_mut()).await.is_none());
            assert!(passage.cut_off(Failure::Deadline));
            assert!(matches!(hanging.await, Err(Failure::Deadline)));
            assert!(!passage.cut_off(Failure::Deadline));
        });
    }

    #[test]
    fn each_stage_leaves_time_for_the_next() {
        let passage = Passage::new(Duration::from_secs(8));
        assert_eq!(passage.allowance(), Duration::from_secs(4));
        passage.add_spent(Duration::from_secs(4));
        assert_eq!(passage.allowance(), Duration::from_secs(2));
        passage.add_spent(Duration::from_secs(40));
        assert_eq!(passage.allowance(), Duration::ZERO);
    }
}
