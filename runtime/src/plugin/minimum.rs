//! How many instances of a plugin are kept ahead, and who is told when there are fewer.

use std::sync::Arc;

use smol::channel::{Receiver, Sender, bounded};

use super::idle::Idle;
use crate::clients::Ledger;

/// The instances that are kept. One that ends at its work, by a trap, a deadline or because it has served as
/// many requests as it may, leaves fewer; whoever waits here makes another then. Those whose memory is needed elsewhere
/// leave fewer as well, and nobody is told before that need is over: another would take that memory again.
pub(super) struct Minimum {
    count: usize,
    idle: Arc<Idle>,
    /// Whose instances are at work.
    ledger: Arc<Ledger>,
    short: Sender<()>,
    told: Receiver<()>,
}

impl Minimum {
    /// So many, of those that are `idle` and those at work in the `ledger`.
    pub(super) fn new(count: usize, idle: &Arc<Idle>, ledger: &Arc<Ledger>) -> Arc<Minimum> {
        let (short, told) = bounded(1);
        Arc::new(Minimum {
            count,
            idle: Arc::clone(idle),
            ledger: Arc::clone(ledger),
            short,
            told,
        })
    }

    /// Waits until there are fewer.
    pub(super) async fn wait(&self) {
        // The other end is here, so that this cannot fail.
        let _ = self.told.recv().await;
    }

    /// Tells whoever waits if there are fewer.
    pub(super) fn look(&self) {
        if self.idle.count() + self.ledger.count() < self.count {
            // Whoever waits was told already if this fails.
            let _ = self.short.try_send(());
        }
    }

    /// For an instance that begins its work. Where none is kept, there is nothing to look at when it ends.
    pub(super) fn watch(self: &Arc<Self>) -> Watched {
        Watched((self.count > 0).then(|| Arc::clone(self)))
    }
}

/// Looks, when the work of an instance has ended, whether there are fewer than are kept.
pub(super) struct Watched(Option<Arc<Minimum>>);

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(minimum) = &self.0 {
            minimum.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;

    fn is_told(minimum: &Minimum) -> bool {
        smol::block_on(poll_once(minimum.wait())).is_some()
    }

    #[test]
    fn whoever_waits_is_told_of_an_end_that_leaves_fewer() {
        let (idle, ledger) = (Arc::new(Idle::new(1)), Arc::<Ledger>::default());
        let minimum = Minimum::new(1, &idle, &ledger);
        assert!(!is_told(&minimum));
        let claim = crate::clients::current();
        let (entry, other) = (ledger.enter(&claim, 1), ledger.enter(&claim, 1));
        let (watched, last) = (minimum.watch(), minimum.watch());
        drop((entry, watched));
        assert!(!is_told(&minimum), "one is at work");
        drop((other, last));
        assert!(is_told(&minimum) && !is_told(&minimum), "once");
        minimum.look();
        assert!(is_told(&minimum), "there are fewer still");
        let none = Minimum::new(0, &idle, &ledger);
        none.look();
        drop(none.watch());
        assert!(!is_told(&none));
    }
}
