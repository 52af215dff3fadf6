//! Who holds how much of something that is scarce.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use event_listener::{Event, EventListener};

use super::pace::Pace;
use super::{Claim, Network, Phase, asked};
use crate::sync;

/// For how many newcomers room is made at once. Those behind them have their turn when these have got
/// theirs. Each costs a look at everybody, and many wait where one client has many networks.
const AT_ONCE: usize = 32;

/// Everybody who holds a part of one scarce thing, with how much each holds.
///
/// When it is used up, a newcomer gets it from others. The rules, of which the first that finds
/// somebody counts:
///
/// 1. A connection that does nothing (it waits for a head, or lingers) goes, of a network that has
///    several and more than the newcomer's: of the network that has most, the one that has done
///    nothing for longest.
/// 2. Work is given up, if its network holds at least two more than the newcomer's, so that the two
///    do not take the same place from each other in turn: silent WebSockets, then what has
///    not yet begun for want of an instance, then what waits for slow clients, the slowest first, then
///    what takes long. What has just begun is not given up: the newcomer waits until it has not.
/// 3. If no network has so much, a connection of the newcomer's own that does nothing goes, at a
///    bounded pace.
/// 4. Likewise one that is the only one of its network, where the newcomer's has none.
pub struct Ledger {
    entries: Mutex<Entries>,
    freed: Event,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Option<Holder>>,
    free: Vec<usize>,
    /// Gives way to those of its own network.
    own: Pace,
}

struct Holder {
    claim: Arc<Claim>,
    amount: usize,
}

/// A line in the ledger. Dropping it strikes it out.
pub struct Entry {
    ledger: Arc<Ledger>,
    slot: usize,
}

/// How readily a claim gives way, the most ready first.
type Rank = (u8, Reverse<usize>, u8, u64);

/// The first number of the rank where a connection gives way to one of its own network.
const OWN_CLASS: u8 = 2;

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            entries: Mutex::default(),
            freed: Event::new(),
        }
    }
}

impl Ledger {
    /// Writes down that `claim` holds `amount`.
    pub fn enter(self: &Arc<Self>, claim: &Arc<Claim>, amount: usize) -> Entry {
        let holder = Some(Holder {
            claim: Arc::clone(claim),
            amount,
        });
        let mut entries = self.lock();
        let slot = match entries.free.pop() {
            Some(slot) => {
                entries.slots[slot] = holder;
                slot
            }
            None => {
                entries.slots.push(holder);
                entries.slots.len() - 1
            }
        };
        Entry {
            ledger: Arc::clone(self),
            slot,
        }
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        let entries = self.lock();
        entries.slots.len() - entries.free.len()
    }

    /// Resolves when a line has been struck out since this was called.
    pub fn freed(&self) -> EventListener {
        self.freed.listen()
    }

    /// How much `network` holds.
    pub fn held(&self, network: Network) -> usize {
        let entries = self.lock();
        let own = entries
            .holders()
            .filter(|holder| holder.claim.network() == network);
        own.map(|holder| holder.amount).sum()
    }

    /// Whether `claim` holds anything.
    pub fn has(&self, claim: &Arc<Claim>) -> bool {
        let entries = self.lock();
        entries
            .holders()
            .any(|holder| Arc::ptr_eq(&holder.claim, claim))
    }

    /// How much each network holds.
    pub fn amounts(&self) -> HashMap<Network, usize> {
        self.lock().amounts()
    }

    /// Makes room for connections of these networks, of which each wants one place: asks as many
    /// others to leave (but not for more than [`AT_ONCE`] of them), but for those who were asked before
    /// and are on their way. Returns whether anybody is.
    pub fn make_room(&self, newcomers: impl IntoIterator<Item = Network>) -> bool {
        let mut entries = self.lock();
        let now = Instant::now();
        let mut held = entries.amounts();
        let mut leaving = entries
            .holders()
            .filter(|holder| is_leaving(&holder.claim))
            .count();
        // For one more of a network that found nobody there is nobody either.
        let mut in_vain = HashSet::new();
        for newcomer in newcomers.into_iter().skip(leaving).take(AT_ONCE) {
            if in_vain.contains(&newcomer) {
                continue;
            }
            let mine = held.get(&newcomer).copied().unwrap_or_default();
            let others_have_more = held
                .iter()
                .any(|(other, theirs)| *other != newcomer && *theirs >= mine + 2);
            let may_own = entries.own.is_due(now);
            let ranked =
                entries.candidates(newcomer, &held, |claim, own, theirs, mine| {
                    match claim.phase() {
                        Phase::Waiting | Phase::Lingering => {
                            let class = match theirs > mine {
                                true if theirs >= 2 => 0,
                                _ if others_have_more => return None,
                                _ if own && !may_own => return None,
                                _ if own => OWN_CLASS,
                                true => 3,
                                false => return None,
                            };
                            Some((class, Reverse(theirs), 0, u64::MAX - claim.age()))
                        }
                        Phase::Exchange | Phase::Conversation => {
                            let (kind, worth) = claim.worth().filter(|_| theirs >= mine + 2)?;
                            Some((1, Reverse(theirs), kind, worth))
                        }
                    }
                });
            let Some((rank, claim)) = ranked else {
                in_vain.insert(newcomer);
                continue;
            };
            claim.ask(match rank.0 {
                1 => asked::LEAVE,
                _ => asked::LEAVE_IDLE,
            });
            leaving += 1;
            let network = claim.network();
            if rank.0 == OWN_CLASS {
                entries.own.take(now);
            }
            // What it holds is the newcomer's now.
            if let Some(theirs) = held.get_mut(&network) {
                *theirs -= 1;
            }
            *held.entry(newcomer).or_default() += 1;
        }
        leaving > 0
    }

    /// Makes room for `amount` more of `network`'s: asks one request of the network that holds most
    /// to end, if that network holds more than this one would, and nobody who was asked before is
    /// still on its way. Returns whether it may help to wait: somebody is asked, or has more than its
    /// share and has not had it for long enough to be asked.
    pub fn end_a_request(&self, network: Network, amount: usize) -> bool {
        let entries = self.lock();
        let ending = |claim: &Claim| claim.is_asked(asked::LEAVE | asked::END_REQUEST);
        if entries.holders().any(|holder| ending(&holder.claim)) {
            return true;
        }
        let held = entries.amounts();
        let found = entries.candidates(network, &held, |claim, own, theirs, mine| {
            let (kind, worth) = claim
                .worth()
                .filter(|_| !own && theirs >= mine.saturating_add(2 * amount))?;
            Some((0, Reverse(theirs), kind, worth))
        });
        if let Some((_, claim)) = found {
            claim.ask(asked::END_REQUEST);
            return true;
        }
        let mine = held.get(&network).copied().unwrap_or_default();
        let has_more = |theirs: usize| theirs >= mine.saturating_add(2 * amount);
        held.iter()
            .any(|(other, theirs)| *other != network && *other != Network::OWN && has_more(*theirs))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        sync::lock(&self.entries)
    }
}

/// Whether a connection that was asked for its place is about to give it up. One that was asked
/// while it did nothing, and then began to work, is not.
fn is_leaving(claim: &Claim) -> bool {
    claim.is_asked(asked::LEAVE)
        || claim.is_asked(asked::LEAVE_IDLE)
            && matches!(claim.phase(), Phase::Waiting | Phase::Lingering)
}

impl Entries {
    fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.slots.iter().flatten()
    }

    fn amounts(&self) -> HashMap<Network, usize> {
        let mut amounts = HashMap::new();
        for holder in self.holders() {
            *amounts.entry(holder.claim.network()).or_default() += holder.amount;
        }
        amounts
    }

    /// The claim that gives way most readily. `rank` is called with a claim, whether it is the
    /// newcomer's own network's, what its network holds, and what the newcomer's holds.
    fn candidates(
        &self,
        newcomer: Network,
        held: &HashMap<Network, usize>,
        rank: impl Fn(&Claim, bool, usize, usize) -> Option<Rank>,
    ) -> Option<(Rank, &Arc<Claim>)> {
        let mine = held.get(&newcomer).copied().unwrap_or_default();
        let ranked = self.holders().filter_map(|Holder { claim, .. }| {
            let network = claim.network();
            if is_leaving(claim) || network == Network::OWN {
                return None;
            }
            let theirs = held.get(&network).copied().unwrap_or_default();
            Some((rank(claim, network == newcomer, theirs, mine)?, claim))
        });
        ranked.min_by_key(|(rank, _)| *rank)
    }
}

impl Entry {
    /// Writes down that the claim holds `amount` from now on.
    pub fn set(&self, amount: usize) {
        if let Some(Some(holder)) = self.ledger.lock().slots.get_mut(self.slot) {
            holder.amount = amount;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut entries = self.ledger.lock();
        let struck = entries.slots.get_mut(self.slot).and_then(Option::take);
        entries.free.push(self.slot);
        drop(entries);
        drop(struck);
        self.ledger.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests;
