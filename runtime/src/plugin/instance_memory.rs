//! The memory that instances of all plugins share: who may take it where it is short, and who waits.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Poll;
use std::time::Instant;

use atomic_waker::AtomicWaker;

use crate::clients::{Claim, Entry, Ledger, Network, Recent, current};
use crate::memory::Budget;
use crate::sync;

/// The part of the budget that no plugin has set aside for itself.
///
/// Instances that are idle give their memory up first. Then it is with memory as with places
/// ([`Turns`](crate::clients::Turns)): those who wait try again when an instance has ended, first the
/// network that has least at work; and a network that has half of what is at work or more leaves memory
/// to others, as long as others come.
pub struct InstanceMemory {
    budget: Arc<Budget>,
    idle: Mutex<Vec<Weak<Evict>>>,
    /// Whose the instances at work are. Its lock is taken while `line` is locked, and never the other
    /// way round.
    at_work: Arc<Ledger>,
    line: Mutex<Line>,
}

/// Drops idle instances of a plugin, and returns how many.
pub(super) type Evict = dyn Fn(Spared) -> usize + Send + Sync;

/// Which idle instances of a plugin stay where memory is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spared {
    /// The one that was used last: memory for one is set aside for the plugin.
    Warmest,
    /// Those alone whose memory nobody else could have.
    Costless,
}

#[derive(Default)]
struct Line {
    recent: Recent,
    /// How many instances are at work or about to be made.
    taken: usize,
    /// How often one has ended, or was not made though nobody else has any.
    rounds: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    network: Network,
    /// The last round that it has had its chance in.
    tried: u64,
    waiter: Arc<Waiter>,
}

#[derive(Default)]
struct Waiter {
    /// Changed under the lock only.
    has_chance: AtomicBool,
    waker: AtomicWaker,
}

/// An instance at work, or about to be made. When it is dropped, those who wait have a chance.
pub(super) struct Attempt {
    memory: Arc<InstanceMemory>,
    /// The last round that was over when it began.
    round: u64,
    is_withdrawn: bool,
}

/// An instance at work, and whose it is.
pub(super) struct AtWork {
    _entry: Entry,
    _attempt: Attempt,
}

/// An attempt that found too little memory.
pub(super) struct Failed {
    memory: Arc<InstanceMemory>,
    round: u64,
    is_hopeless: bool,
}

/// Leave to try to make an instance. Dropping it passes it on to the next who waits: what one has
/// left may be enough for another.
pub(super) struct Chance {
    memory: Arc<InstanceMemory>,
    round: u64,
}

impl InstanceMemory {
    /// The memory of this budget. It drops idle instances from now on when the budget is spent.
    pub fn new(budget: &Arc<Budget>) -> Arc<InstanceMemory> {
        let memory = Arc::new(InstanceMemory {
            budget: Arc::clone(budget),
            idle: Mutex::default(),
            at_work: Arc::default(),
            line: Mutex::default(),
        });
        let weak = Arc::downgrade(&memory);
        budget.reclaim_by(move || weak.upgrade().is_some_and(|memory| memory.evict() > 0));
        memory
    }

    /// Adds what drops a plugin's idle instances, for as long as its plugin keeps it.
    pub(super) fn add(&self, evict: &Arc<Evict>) {
        let mut idle = sync::lock(&self.idle);
        idle.retain(|one| one.strong_count() > 0);
        idle.push(Arc::downgrade(evict));
    }

    /// Drops idle instances, and returns how many.
    pub(super) fn evict(&self) -> usize {
        self.drop_idle(Spared::Warmest)
    }

    /// Drops all idle instances that hold memory which others could have, and returns how many.
    pub fn give_up_idle(self: &Arc<Self>) -> usize {
        // They count as at work until they have ended: whoever needs one meanwhile waits for its memory.
        let _ending = self.begin(current().network());
        self.drop_idle(Spared::Costless)
    }

    /// How many instances are at work.
    pub fn at_work(&self) -> usize {
        self.at_work.count()
    }

    fn drop_idle(&self, spared: Spared) -> usize {
        let kept = sync::lock(&self.idle).clone();
        let idle: Vec<_> = kept.iter().filter_map(Weak::upgrade).collect();
        idle.iter().map(|evict| evict(spared)).sum()
    }

    /// Begins to take or make an instance for `network`.
    pub(super) fn begin(self: &Arc<Self>, network: Network) -> Attempt {
        let mut line = self.lock();
        line.recent.note(network, Instant::now());
        line.taken += 1;
        Attempt {
            memory: Arc::clone(self),
            round: line.rounds,
            is_withdrawn: false,
        }
    }

    /// Whether `claim` may take `taken` bytes: those who have half of what is at work or more leave `kept`
    /// bytes to others, as long as others come. A request that has an instance may have another: it would
    /// hold the first for nothing otherwise.
    pub(super) fn is_enough_for(&self, claim: &Arc<Claim>, taken: usize, kept: usize) -> bool {
        let network = claim.network();
        let has_others = self.lock().recent.has_others(network, Instant::now());
        let held = has_others.then(|| self.at_work.held(network));
        let has_much = held.is_some_and(|held| held >= 2 && held * 2 >= self.at_work.count());
        let is_there = || self.budget.free() >= taken.saturating_add(kept);
        !has_much || self.at_work.has(claim) || is_there() || self.evict() > 0 && is_there()
    }

    /// Asks for the memory of an instance, of whichever plugin, that works for a client with more
    /// than its share.
    pub(super) fn end_a_request(&self, network: Network) {
        self.at_work.end_a_request(network, 1);
    }

    /// Begins a round in which each of those who wait has its chance, one after the other.
    fn begin_round(&self, mut line: MutexGuard<'_, Line>) {
        line.rounds += 1;
        let round = line.rounds;
        self.give_chance(line, round);
    }

    fn give_chance(&self, mut line: MutexGuard<'_, Line>, round: u64) {
        let waiting = line.waiting.iter().enumerate();
        let next = waiting
            .filter(|(_, waiting)| waiting.tried < round)
            // The first of several that hold the same.
            .min_by_key(|(_, waiting)| self.at_work.held(waiting.network));
        let Some((index, _)) = next else {
            return;
        };
        let waiter = line.waiting.remove(index).waiter;
        waiter.has_chance.store(true, Ordering::Release);
        drop(line);
        waiter.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        sync::lock(&self.line)
    }
}

impl Attempt {
    /// The instance is there, and works for `claim`.
    pub(super) fn succeed(self, claim: &Arc<Claim>) -> AtWork {
        AtWork {
            _entry: self.memory.at_work.enter(claim, 1),
            _attempt: self,
        }
    }

    /// There is too little memory.
    pub(super) fn fail(mut self) -> Failed {
        self.is_withdrawn = true;
        let mut line = self.memory.lock();
        line.taken -= 1;
        let is_hopeless = line.taken == 0 && line.rounds == self.round;
        if line.taken == 0 {
            // Nobody else would tell those who wait that there is nothing to wait for.
            self.memory.begin_round(line);
        }
        Failed {
            memory: Arc::clone(&self.memory),
            round: self.round,
            is_hopeless,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_withdrawn {
            let mut line = self.memory.lock();
            line.taken -= 1;
            self.memory.begin_round(line);
        }
    }
}

impl Failed {
    /// Nobody else has an instance or is about to, and none has ended meanwhile.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    /// Waits for a chance; there is one at once if an instance has ended since the attempt began.
    pub(super) async fn wait(self, network: Network) -> Chance {
        let waiter = Arc::<Waiter>::default();
        {
            let mut line = self.memory.lock();
            if line.rounds > self.round {
                return Chance {
                    round: line.rounds,
                    memory: Arc::clone(&self.memory),
                };
            }
            line.waiting.push(Waiting {
                network,
                tried: self.round,
                waiter: Arc::clone(&waiter),
            });
        }
        let leaving = Leaving {
            memory: &self.memory,
            waiter: &waiter,
        };
        poll_fn(|cx| {
            waiter.waker.register(cx.waker());
            match waiter.has_chance.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        waiter.has_chance.store(false, Ordering::Relaxed);
        drop(leaving);
        let round = self.memory.lock().rounds;
        Chance {
            memory: self.memory,
            round,
        }
    }
}

/// Takes a waiter out of the line, or passes on the chance that it has been given and has not taken.
struct Leaving<'a> {
    memory: &'a InstanceMemory,
    waiter: &'a Arc<Waiter>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut line = self.memory.lock();
        line.waiting
            .retain(|other| !Arc::ptr_eq(&other.waiter, self.waiter));
        if self.waiter.has_chance.load(Ordering::Acquire) {
            let round = line.rounds;
            self.memory.give_chance(line, round);
        }
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        self.memory.give_chance(self.memory.lock(), self.round);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::pin::pin;

    use futures_lite::future::poll_once;

    use super::*;

    fn claim(address: &str) -> Arc<Claim> {
        Claim::new(address.parse().unwrap())
    }

    fn at_work(memory: &Arc<InstanceMemory>, claim: &Arc<Claim>) -> AtWork {
        memory.begin(claim.network()).succeed(claim)
    }

    #[test]
    fn who_has_most_at_work_leaves_room_for_others_as_long_as_they_come() {
        let budget = Budget::new(100);
        let memory = InstanceMemory::new(&budget);
        let [many, few] = ["192.0.2.1", "192.0.2.2"].map(claim);
        let _held: Vec<_> = (0..2).map(|_| at_work(&memory, &many)).collect();
        let mut taken = budget.reserve(71).unwrap();
        let may = |claim: &Arc<Claim>| memory.is_enough_for(claim, 10, 20);
        let another = claim("192.0.2.1");
        assert!(may(&another), "nobody else has come");
        drop(memory.begin(few.network()));
        assert!(!may(&another) && may(&few));
        taken.shrink(1);
        assert!(may(&another), "there is enough");
        assert!(taken.grow(1) && !may(&another));
        assert!(may(&many), "it has one, and needs another to go on");
        let _others: Vec<_> = (0..3).map(|_| at_work(&memory, &few)).collect();
        assert!(may(&another), "its network has less than half");
    }

    #[test]
    fn a_chance_goes_first_to_who_has_least_and_then_to_each_of_the_others_once() {
        smol::block_on(async {
            let memory = InstanceMemory::new(&Budget::new(0));
            let [many, few] = ["192.0.2.1", "192.0.2.2"].map(claim);
            let mut held: Vec<_> = (0..3).map(|_| at_work(&memory, &many)).collect();
            let fail = |claim: &Arc<Claim>| memory.begin(claim.network()).fail();
            let (first, second) = (fail(&many), fail(&few));
            assert!(!first.is_hopeless() && !second.is_hopeless());
            let mut first = pin!(first.wait(many.network()));
            let mut second = pin!(second.wait(few.network()));
            assert!(poll_once(first.as_mut()).await.is_none());
            assert!(poll_once(second.as_mut()).await.is_none());
            held.pop();
            assert!(poll_once(first.as_mut()).await.is_none());
            let chance = poll_once(second.as_mut()).await.unwrap();
            // It tries in vain, and waits again before it passes the chance on.
            let mut second = pin!(fail(&few).wait(few.network()));
            assert!(poll_once(second.as_mut()).await.is_none());
            drop(chance);
            let chance = poll_once(first.as_mut()).await.unwrap();
            drop(chance);
            assert!(poll_once(second.as_mut()).await.is_none(), "it had its own");
            held.pop();
            assert!(poll_once(second.as_mut()).await.is_some());
        });
    }

    #[test]
    fn a_chance_that_is_not_taken_is_passed_on() {
        smol::block_on(async {
            let memory = InstanceMemory::new(&Budget::new(0));
            let (client, network) = (claim("192.0.2.1"), claim("192.0.2.1").network());
            let held = at_work(&memory, &client);
            let fail = || memory.begin(network).fail();
            let mut second = pin!(fail().wait(network));
            {
                let mut first = pin!(fail().wait(network));
                assert!(poll_once(first.as_mut()).await.is_none());
                assert!(poll_once(second.as_mut()).await.is_none());
                drop(held);
            }
            assert!(poll_once(second.as_mut()).await.is_some());
            assert_eq!(memory.lock().waiting.len(), 0);
        });
    }

    #[test]
    fn where_nobody_has_an_instance_there_is_nothing_to_wait_for() {
        smol::block_on(async {
            let memory = InstanceMemory::new(&Budget::new(0));
            let network = claim("192.0.2.1").network();
            let (first, second) = (memory.begin(network), memory.begin(network));
            let first = first.fail();
            assert!(!first.is_hopeless(), "the other one may succeed, and end");
            let mut first = pin!(first.wait(network));
            assert!(poll_once(first.as_mut()).await.is_none());
            assert!(second.fail().is_hopeless());
            assert!(poll_once(first.as_mut()).await.is_some(), "it is told");
            assert!(memory.begin(network).fail().is_hopeless());
        });
    }
}
