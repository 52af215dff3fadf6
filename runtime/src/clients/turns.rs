//! Places that are given in turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Instant;

use atomic_waker::AtomicWaker;

use super::{Ledger, Network, Recent};
use crate::sync;

/// A number of places. When all are taken, those who wait get one in turn: first the network that
/// holds least, networks that hold the same one after the other, and of one network the one that
/// came first. So a network that has many waiting keeps no other waiting for longer than one place
/// takes to become free.
///
/// A network that holds half of the places or more does not get the last one while others ask now and
/// then: otherwise each of their requests would have to wait until it gives one up.
pub struct Turns {
    places: usize,
    state: Mutex<State>,
    /// Whose the places are that are taken. Its lock is taken while `state` is locked, and never the
    /// other way round.
    ledger: Arc<Ledger>,
}

struct State {
    free: usize,
    /// The networks that have somebody waiting, the one whose turn it is first.
    waiting: VecDeque<(Network, VecDeque<Arc<Waiter>>)>,
    recent: Recent,
}

/// Somebody who waits.
#[derive(Default)]
struct Waiter {
    /// Changed under the lock only.
    has_place: AtomicBool,
    waker: AtomicWaker,
}

/// A place. Dropping it gives it to the next who waits.
pub struct Turn {
    turns: Arc<Turns>,
}

impl Turns {
    /// So many places, of which `ledger` tells whose they are.
    pub fn new(places: usize, ledger: &Arc<Ledger>) -> Arc<Turns> {
        Arc::new(Turns {
            places,
            ledger: Arc::clone(ledger),
            state: Mutex::new(State {
                free: places,
                waiting: VecDeque::new(),
                recent: Recent::default(),
            }),
        })
    }

    /// Takes a place, if one is free.
    pub fn try_take(self: &Arc<Self>, network: Network) -> Option<Turn> {
        self.try_take_from(&mut self.lock(), network)
    }

    fn try_take_from(self: &Arc<Self>, state: &mut State, network: Network) -> Option<Turn> {
        state.recent.note(network, Instant::now());
        if !self.is_for(state, network) {
            return None;
        }
        // Those who wait have been given what they may have.
        state.free -= 1;
        Some(Turn {
            turns: Arc::clone(self),
        })
    }

    /// Whether a place is free that this network may have.
    fn is_for(&self, state: &State, network: Network) -> bool {
        match state.free {
            0 => false,
            1 if self.places > 1 => {
                !state.recent.has_others(network, Instant::now())
                    || self.ledger.held(network) * 2 < self.places
            }
            _ => true,
        }
    }

    /// Takes a place, and waits for it if none is free.
    pub async fn take(self: &Arc<Self>, network: Network) -> Turn {
        let waiter = {
            let mut state = self.lock();
            if let Some(turn) = self.try_take_from(&mut state, network) {
                return turn;
            }
            let waiter = Arc::<Waiter>::default();
            let queues = &mut state.waiting;
            match queues.iter_mut().find(|(other, _)| *other == network) {
                Some((_, queue)) => queue.push_back(Arc::clone(&waiter)),
                None => queues.push_back((network, VecDeque::from([Arc::clone(&waiter)]))),
            }
            waiter
        };
        let waiting = Waiting {
            turns: self,
            network,
            waiter,
        };
        poll_fn(|cx| {
            waiting.waiter.waker.register(cx.waker());
            match waiting.waiter.has_place.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        waiting.waiter.has_place.store(false, Ordering::Relaxed);
        Turn {
            turns: Arc::clone(self),
        }
    }

    /// Gives a place that has become free to the next who waits.
    fn give(&self) {
        let mut state = self.lock();
        state.free += 1;
        self.hand_out(state);
    }

    /// Gives a place that was kept for others to somebody who waits, if nobody else has asked lately.
    pub fn look_again(&self) {
        self.hand_out(self.lock());
    }

    fn hand_out(&self, mut state: MutexGuard<'_, State>) {
        let waiting = state.waiting.iter().enumerate();
        let first = match state.waiting.len() {
            0 => None,
            1 => Some(0),
            // The first of several that hold the same.
            _ => waiting
                .min_by_key(|(_, (network, _))| self.ledger.held(*network))
                .map(|(index, _)| index),
        };
        let first = first.filter(|&index| {
            let network = state.waiting.get(index).map(|(network, _)| *network);
            network.is_some_and(|network| self.is_for(&state, network))
        });
        let Some((network, mut queue)) = first.and_then(|index| state.waiting.remove(index)) else {
            return;
        };
        state.free -= 1;
        // No queue in the list is empty.
        let next = queue.pop_front();
        if !queue.is_empty() {
            state.waiting.push_back((network, queue));
        }
        if let Some(next) = next {
            next.has_place.store(true, Ordering::Release);
            drop(state);
            next.waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.give();
    }
}

/// Waits for a place; whoever gives up waiting leaves the queue, or passes the place on that it has
/// been given meanwhile.
struct Waiting<'a> {
    turns: &'a Arc<Turns>,
    network: Network,
    waiter: Arc<Waiter>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if self.waiter.has_place.load(Ordering::Acquire) {
            drop(state);
            self.turns.give();
            return;
        }
        let network = self.network;
        for (_, queue) in state.waiting.iter_mut().filter(|(of, _)| *of == network) {
            queue.retain(|other| !Arc::ptr_eq(other, &self.waiter));
        }
        state.waiting.retain(|(_, queue)| !queue.is_empty());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::IpAddr;
    use std::pin::pin;

    use futures_lite::future::poll_once;

    use super::*;
    use crate::clients::Claim;

    /// Whoever takes a place that it does not matter of.
    const TAKER: Network = Network::OWN;

    fn network(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn networks_take_turns_however_many_wait_of_one() {
        smol::block_on(async {
            let (many, few) = (network("192.0.2.1"), network("192.0.2.2"));
            let turns = Turns::new(1, &Arc::default());
            let held = turns.try_take(TAKER).unwrap();
            assert!(turns.try_take(TAKER).is_none());
            let mut crowd: Vec<_> = (0..5).map(|_| Box::pin(turns.take(many))).collect();
            for one in &mut crowd {
                assert!(poll_once(one).await.is_none());
            }
            let mut single = pin!(turns.take(few));
            assert!(poll_once(single.as_mut()).await.is_none());
            drop(held);
            let first = poll_once(&mut crowd[0]).await.unwrap();
            drop(first);
            let second = poll_once(single.as_mut()).await.unwrap();
            assert!(poll_once(&mut crowd[1]).await.is_none());
            drop(second);
            assert!(poll_once(&mut crowd[1]).await.is_some());
        });
    }

    #[test]
    fn who_holds_least_is_first_however_long_others_have_waited() {
        smol::block_on(async {
            let [many, few] =
                ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
            let ledger = Arc::<Ledger>::default();
            let turns = Turns::new(2, &ledger);
            let _entries = [0; 2].map(|_| ledger.enter(&many, 1));
            let [first, _second] = [0; 2].map(|_| turns.try_take(many.network()).unwrap());
            let mut waiting = [many.network(), few.network()].map(|of| Box::pin(turns.take(of)));
            for one in &mut waiting {
                assert!(poll_once(one).await.is_none());
            }
            drop(first);
            assert!(poll_once(&mut waiting[0]).await.is_none());
            assert!(poll_once(&mut waiting[1]).await.is_some());
        });
    }

    #[test]
    fn the_last_place_is_kept_for_others_while_they_ask() {
        let [many, few] = ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
        let ledger = Arc::<Ledger>::default();
        let turns = Turns::new(4, &ledger);
        let take = |claim: &Arc<Claim>| {
            let turn = turns.try_take(claim.network())?;
            Some((turn, ledger.enter(claim, 1)))
        };
        // Alone it may have all of them.
        let mut all: Vec<_> = (0..4).map(|_| take(&many).unwrap()).collect();
        assert!(take(&few).is_none());
        all.pop();
        assert!(take(&many).is_none());
        let taken = take(&few);
        assert!(taken.is_some() && take(&few).is_none());
        drop(taken);
        assert!(take(&many).is_none() && take(&few).is_some());
        // What is not the last one, it may have.
        all.pop();
        assert!(take(&many).is_some());
    }

    #[test]
    fn whoever_gives_up_takes_no_place_with_it() {
        smol::block_on(async {
            let turns = Turns::new(1, &Arc::default());
            let held = turns.try_take(TAKER).unwrap();
            let mut waiting: Vec<_> = (1..4)
                .map(|last| Box::pin(turns.take(network(&format!("192.0.2.{last}")))))
                .collect();
            for one in &mut waiting {
                assert!(poll_once(one).await.is_none());
            }
            // One gives up while it waits, one when it has its place already.
            drop(waiting.remove(1));
            drop(held);
            drop(waiting.remove(0));
            let last = poll_once(&mut waiting[0]).await.unwrap();
            drop((last, waiting));
            assert!(turns.try_take(TAKER).is_some());
        });
    }
}
