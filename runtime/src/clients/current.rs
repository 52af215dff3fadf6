//! In whose name the current task works.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use super::{Claim, Network, Phase};

thread_local! {
    /// Set while a task that works for a client is polled.
    static CURRENT: RefCell<Option<Arc<Claim>>> = const { RefCell::new(None) };
}

/// The claim of the client that is worked for. What the daemon does for itself has a claim too, and
/// nobody can ask for what that holds.
pub fn current() -> Arc<Claim> {
    static OWN: LazyLock<Arc<Claim>> = LazyLock::new(|| {
        let own = Claim::of(Network::OWN);
        own.enter(Phase::Waiting);
        Arc::new(own)
    });
    let current = CURRENT.with_borrow(Clone::clone);
    current.unwrap_or_else(|| Arc::clone(&OWN))
}

/// Calls `work` in the name of `claim`. Every stage of the pipeline may need an instance or memory,
/// and none of them has to do with connections: so the claim is kept beside the task that works for
/// it, and looked at where something is scarce.
pub fn within<R>(claim: &Arc<Claim>, work: impl FnOnce() -> R) -> R {
    /// Puts back what was there before, also when `work` panics.
    struct Restore(Option<Arc<Claim>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with_borrow_mut(|current| *current = before);
        }
    }
    let before = CURRENT.with_borrow_mut(|current| current.replace(Arc::clone(claim)));
    let _restore = Restore(before);
    work()
}

pin_project_lite::pin_project! {
    /// A future that is polled in a client's name: see [`on_behalf`].
    pub struct OnBehalf<F> {
        claim: Arc<Claim>,
        #[pin]
        future: F,
    }
}

/// Polls `future` in the name of `claim`.
pub fn on_behalf<F: Future>(claim: &Arc<Claim>, future: F) -> OnBehalf<F> {
    OnBehalf {
        claim: Arc::clone(claim),
        future,
    }
}

impl<F: Future> Future for OnBehalf<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        within(this.claim, || this.future.poll(cx))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_in_the_name_of_the_innermost_claim() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
        assert_eq!(current().network(), Network::OWN);
        within(&one, || {
            assert_eq!(current().network(), one.network());
            smol::block_on(on_behalf(&two, async {
                assert_eq!(current().network(), two.network());
            }));
            assert_eq!(current().network(), one.network());
        });
        assert_eq!(current().network(), Network::OWN);
    }
}
