//! The places for a plugin's instances at work.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Store;

use super::idle::Idle;
use super::instance_memory::AtWork;
use super::minimum::{Minimum, Watched};
use super::{Guests, Instance, Plugin};
use crate::clients::{self, Claim, Entry, Ledger, Network, Turn, Turns};
use crate::failure::Failure;
use crate::host::HostState;
use crate::timeout;

/// How often a request that waits for a place or for memory looks whether somebody who has more than
/// its share has become slow enough to be asked for some of it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Limits how many instances work at the same time, and lets requests wait for one, one client's
/// after the other's.
pub(super) struct Places {
    max: usize,
    turns: Arc<Turns>,
    /// Whose the places are that are taken.
    ledger: Arc<Ledger>,
    /// For a plugin that also takes part on the way back: all places but one, for responses that
    /// stream. Such a response needs the plugin a second time while it is on its way, and the one
    /// place that is left makes sure that it gets it.
    streaming: Option<Arc<Turns>>,
    /// How long a request waits for a place or for memory.
    patience: Duration,
    /// How many are kept, idle or at work.
    pub(super) minimum: Arc<Minimum>,
}

/// An instance at work. Dropping it ends the instance, as must happen after a trap or a timeout,
/// because a store whose call did not end is never used again. [`Plugin::finish`] keeps the
/// instance instead.
pub struct Running {
    /// The instance. It is the first field so that its memory is free before its place is.
    pub(super) instance: Instance,
    _slot: Turn,
    _streaming: Option<Turn>,
    _entry: Entry,
    _at_work: AtWork,
    /// The last field: this one has ended when it looks.
    _watched: Watched,
}

impl Running {
    /// The instance's store and its functions.
    pub fn parts(&mut self) -> (&mut Store<HostState>, &Guests) {
        (&mut self.instance.store, &self.instance.guests)
    }

    /// How many requests its instance had begun before this one.
    pub fn served_before(&self) -> u32 {
        self.instance.served.saturating_sub(1)
    }
}

impl Places {
    /// `returns` means that a response which streams needs a second place before it ends. So many as are `kept` of
    /// those at work and those that are `idle` are kept.
    pub(super) fn new(
        count: usize,
        returns: bool,
        patience: Duration,
        (kept, idle): (usize, &Arc<Idle>),
    ) -> Places {
        let ledger = Arc::<Ledger>::default();
        Places {
            minimum: Minimum::new(kept, idle, &ledger),
            max: count,
            turns: Turns::new(count, &ledger),
            streaming: returns.then(|| Turns::new(count.saturating_sub(1), &ledger)),
            ledger,
            patience,
        }
    }

    /// How long a request waits for an instance.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// How many places there are.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many instances are at work, or wait for nothing but memory.
    pub(super) fn running(&self) -> usize {
        self.ledger.count()
    }

    /// Takes an idle instance or makes one. When all places are taken, or memory is short while
    /// other instances work, it waits for one of them, until patience ends. `streams`: it may be at
    /// work until its response has been read.
    pub(super) async fn acquire(&self, plugin: &Plugin, streams: bool) -> Result<Running, Failure> {
        let until = Instant::now() + self.patience;
        let claim = clients::current();
        let network = claim.network();
        let queued = Queued(&claim);
        claim.set_queued(true);
        let admitted = self.admit(streams, network, until).await;
        // From now on it costs others something if it is given up: an `init` that has begun.
        drop(queued);
        let (streaming, slot) = admitted?;
        let entry = self.ledger.enter(&claim, 1);
        let memory = &plugin.instance_memory;
        let mut chance = None;
        loop {
            // Begun before it is made, because others can wait for its memory from then on.
            let attempt = memory.begin(network);
            match plugin.take_or_make(&claim).await {
                Ok(instance) => {
                    return Ok(Running {
                        instance,
                        _slot: slot,
                        _streaming: streaming,
                        _entry: entry,
                        _at_work: attempt.succeed(&claim),
                        _watched: self.minimum.watch(),
                    });
                }
                Err(failure @ Failure::Busy(_)) => {
                    let failed = attempt.fail();
                    if Instant::now() >= until || failed.is_hopeless() {
                        return Err(failure);
                    }
                    drop(chance.take());
                    memory.end_a_request(network);
                    let again = until.min(Instant::now() + ASK_AGAIN);
                    chance = timeout::before(again, failed.wait(network)).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Makes an instance beside those that there are, unless those are `enough`, with all that are at
    /// work. It waits for nobody, and takes no memory from others that are idle.
    pub(super) async fn add(
        &self,
        plugin: &Plugin,
        enough: usize,
    ) -> Result<Option<Running>, Failure> {
        let claim = clients::current();
        let network = claim.network();
        // Where all places are taken, there are as many instances as can be.
        let Some(slot) = self.try_take(network) else {
            return Ok(None);
        };
        let entry = self.ledger.enter(&claim, 1);
        // This one counts as at work already.
        if plugin.idle.count() + self.running() > enough {
            return Ok(None);
        }
        if !plugin.standing.is_lent() || plugin.budget.free() >= plugin.share + plugin.memory {
            let attempt = plugin.instance_memory.begin(network);
            let instance = plugin.new_instance().await?;
            return Ok(Some(Running {
                instance,
                _slot: slot,
                _streaming: None,
                _entry: entry,
                _at_work: attempt.succeed(&claim),
                _watched: self.minimum.watch(),
            }));
        }
        Err(Failure::Busy(
            "the memory budget is spent (--memory-max)".to_owned(),
        ))
    }

    /// Takes a place without an instance, if one is free.
    pub(super) fn try_take(&self, network: Network) -> Option<Turn> {
        self.turns.try_take(network)
    }

    async fn admit(
        &self,
        streams: bool,
        network: Network,
        until: Instant,
    ) -> Result<(Option<Turn>, Turn), Failure> {
        let streaming = match self.streaming.as_ref().filter(|_| streams) {
            Some(turns) => Some(self.slot(turns, network, until).await?),
            None => None,
        };
        Ok((streaming, self.slot(&self.turns, network, until).await?))
    }

    async fn slot(
        &self,
        turns: &Arc<Turns>,
        network: Network,
        until: Instant,
    ) -> Result<Turn, Failure> {
        if let Some(turn) = turns.try_take(network) {
            return Ok(turn);
        }
        let mut taking = pin!(turns.take(network));
        loop {
            turns.look_again();
            self.ledger.end_a_request(network, 1);
            let again = until.min(Instant::now() + ASK_AGAIN);
            if let Some(turn) = timeout::before(again, taking.as_mut()).await {
                return Ok(turn);
            }
            if Instant::now() >= until {
                return Err(Failure::Busy(
                    "all instances are at work (`wasm.max_instances`, `scale` or --max-instances, or as many as --memory-max allows)".to_owned(),
                ));
            }
        }
    }
}

impl Plugin {
    /// Whether all its instances are at work, as many as there can be.
    pub fn is_busy(&self) -> bool {
        self.places.running() >= self.places.max()
    }

    /// Takes an idle instance or makes one, for the request of `claim`.
    async fn take_or_make(&self, claim: &Arc<Claim>) -> Result<Instance, Failure> {
        let idle = self.idle.pop();
        // Nobody but this plugin can use the memory of its first instance.
        let is_first = self.places.running() <= 1 || idle.is_none() && !self.standing.is_lent();
        let each = self.share + self.memory;
        let taken = if idle.is_some() { 0 } else { each };
        // One for another client, and as much again for what the instances at work still take when their
        // bodies begin to move.
        let kept = each.saturating_mul(2);
        let may = is_first || self.instance_memory.is_enough_for(claim, taken, kept);
        match (idle, may) {
            (Some(instance), true) => Ok(instance),
            (None, true) => self.new_instance().await,
            (idle, false) => {
                if let Some(instance) = idle {
                    // It has been asked for now, though in vain.
                    self.idle.push(instance, Instant::now());
                }
                Err(Failure::Busy(
                    "the memory that is left is kept for other clients (--memory-max)".to_owned(),
                ))
            }
        }
    }
}

/// A claim whose request waits for an instance, until this is dropped.
struct Queued<'a>(&'a Claim);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.set_queued(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_answers_leave_a_place_for_the_way_back() {
        smol::block_on(async {
            let (network, idle) = (clients::current().network(), Arc::new(Idle::new(0)));
            let places = Places::new(2, true, Duration::ZERO, (0, &idle));
            let first = places.admit(true, network, Instant::now()).await;
            let second = places.admit(true, network, Instant::now()).await;
            assert!(first.is_ok() && matches!(second, Err(Failure::Busy(_))));
            let back = places.admit(false, network, Instant::now()).await;
            assert!(back.is_ok());
            drop((first, back));
            assert!(places.admit(true, network, Instant::now()).await.is_ok());
            // Where the plugin takes no part on the way back, all places are for everyone.
            let places = Places::new(2, false, Duration::ZERO, (0, &idle));
            let first = places.admit(true, network, Instant::now()).await;
            let second = places.admit(true, network, Instant::now()).await;
            assert!(first.is_ok() && second.is_ok());
        });
    }
}
