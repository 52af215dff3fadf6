//! The memory for whole bodies of one direction, and whose it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clients::{self, Ledger};
use crate::memory::{Budget, Reservation};
use crate::timeout;

/// How long a body waits for memory that others have more of than their share.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks meanwhile whether one of them has become slow enough to be asked for it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Memory that bodies share. When it is used up, the client that has most of it gives some up for one
/// that has less.
pub(super) struct Share {
    budget: Arc<Budget>,
    holders: Arc<Ledger>,
}

impl Share {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Share {
        Share {
            budget: Budget::new(bytes),
            holders: Arc::default(),
        }
    }

    /// Makes `held` larger by `more` bytes, in the name of the client that is worked for. Returns
    /// whether there was memory.
    pub(super) async fn grow(&self, held: &mut Option<Reservation>, more: usize) -> bool {
        if more == 0 {
            return true;
        }
        let network = clients::current().network();
        let until = Instant::now() + PATIENCE;
        loop {
            // Listen before looking, so that memory that is freed meanwhile is not missed.
            let freed = self.holders.freed();
            if self.try_grow(held, more) {
                return true;
            }
            if Instant::now() >= until || !self.holders.end_a_request(network, more) {
                return false;
            }
            timeout::before(until.min(Instant::now() + ASK_AGAIN), freed).await;
        }
    }

    /// The same, if there is memory at once.
    pub(super) fn try_grow(&self, held: &mut Option<Reservation>, more: usize) -> bool {
        if held.is_none() {
            *held = self.budget.reserve(0);
        }
        let Some(held) = held else { return false };
        if !held.grow(more) {
            return false;
        }
        // Small bodies, which are most, cost nothing and are not written down.
        if held.bytes() > 0 {
            held.keep(self.holders.enter(&clients::current(), held.bytes()));
        }
        true
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;
    use crate::clients::{Claim, Phase, asked, on_behalf};

    #[test]
    fn who_has_most_gives_up_memory_for_who_has_none() {
        smol::block_on(async {
            let [many, few] =
                ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
            many.enter(Phase::Exchange);
            let share = Share::new(100);
            let mut first = None;
            assert!(on_behalf(&many, share.grow(&mut first, 90)).await);
            // Nobody has more than this one.
            assert!(!on_behalf(&many, share.grow(&mut None, 20)).await);
            let mut second = None;
            let mut growing = Box::pin(on_behalf(&few, share.grow(&mut second, 20)));
            assert!(poll_once(&mut growing).await.is_none(), "it waits");
            // The other one comes to its end, as it does when it is asked to.
            drop(first);
            assert!(growing.await);
            assert!(!few.is_asked(asked::END_REQUEST));
            assert_eq!(second.map(|held| held.bytes()), Some(20));
        });
    }
}
