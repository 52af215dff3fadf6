//! Who holds how much of something that is scarce.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, EventListener};

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
/// 3. If no network has so much, a connection of the newcomer's own that does nothing goes.
/// 4. Likewise one that is the only one of its network, where the newcomer's has none.
pub struct Ledger {
    entries: Mutex<Entries>,
    freed: Event,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Option<Holder>>,
    free: Vec<usize>,
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

    /// How much each network holds.
    pub fn amounts(&self) -> HashMap<Network, usize> {
        self.lock().amounts()
    }

    /// Makes room for connections of these networks, of which each wants one place: asks as many
    /// others to leave (but not for more than [`AT_ONCE`] of them), but for those who were asked before
    /// and are on their way. Returns whether anybody is.
    pub fn make_room(&self, newcomers: &[Network]) -> bool {
        let entries = self.lock();
        let mut held = entries.amounts();
        let mut leaving = entries
            .holders()
            .filter(|holder| is_leaving(&holder.claim))
            .count();
        // For one more of a network that found nobody there is nobody either.
        let mut in_vain = HashSet::new();
        for newcomer in newcomers.iter().skip(leaving).take(AT_ONCE) {
            if in_vain.contains(newcomer) {
                continue;
            }
            let mine = held.get(newcomer).copied().unwrap_or_default();
            let others_have_more = held
                .iter()
                .any(|(other, theirs)| other != newcomer && *theirs >= mine + 2);
            let ranked =
                entries.candidates(*newcomer, &held, |claim, own, theirs, mine| {
                    match claim.phase() {
                        Phase::Waiting | Phase::Lingering => {
                            let class = match theirs > mine {
                                true if theirs >= 2 => 0,
                                _ if others_have_more => return None,
                                _ if own => 2,
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
                in_vain.insert(*newcomer);
                continue;
            };
            claim.ask(match rank.0 {
                1 => asked::LEAVE,
                _ => asked::LEAVE_IDLE,
            });
            leaving += 1;
            // What it holds is the newcomer's now.
            if let Some(theirs) = held.get_mut(&claim.network()) {
                *theirs -= 1;
            }
            *held.entry(*newcomer).or_default() += 1;
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
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::super::{LONG, SILENT, SLOW};
    use super::*;

    /// A claim of this address, so long in this phase.
    fn claim(address: &str, phase: Phase, age: Duration) -> Arc<Claim> {
        let claim = Claim::new(address.parse().unwrap());
        claim.enter(phase);
        let since = &claim.since;
        since.fetch_sub(age.as_micros() as u64, Ordering::Relaxed);
        claim
    }

    fn network(address: &str) -> Network {
        address.parse::<std::net::IpAddr>().unwrap().into()
    }

    const MANY: &str = "192.0.2.1";
    const FEW: &str = "192.0.2.2";
    const NEW: &str = "192.0.2.3";

    fn entered(ledger: &Arc<Ledger>, claims: &[&Arc<Claim>]) -> Vec<Entry> {
        claims.iter().map(|claim| ledger.enter(claim, 1)).collect()
    }

    fn asked_of(claims: &[&Arc<Claim>]) -> Vec<u8> {
        let bits = asked::LEAVE | asked::LEAVE_IDLE | asked::END_REQUEST;
        claims
            .iter()
            .map(|claim| claim.asked.load(Ordering::Relaxed) & bits)
            .collect()
    }

    #[test]
    fn what_does_nothing_goes_first_and_of_it_what_has_done_so_for_longest() {
        let ledger = Arc::<Ledger>::default();
        let young = claim(MANY, Phase::Waiting, Duration::ZERO);
        let old = claim(MANY, Phase::Waiting, Duration::from_secs(9));
        let single = claim(FEW, Phase::Waiting, Duration::from_secs(99));
        let slow = claim(MANY, Phase::Exchange, Duration::from_secs(99));
        let claims = [&young, &old, &single, &slow];
        let entries = entered(&ledger, &claims);
        assert!(ledger.make_room(&[network(NEW)]));
        assert_eq!(asked_of(&claims), [0, asked::LEAVE_IDLE, 0, 0]);
        // That one is on its way, and has to be waited for.
        assert!(ledger.make_room(&[network(NEW)]));
        assert_eq!(asked_of(&claims), [0, asked::LEAVE_IDLE, 0, 0]);
        // Unless it got a request meanwhile.
        old.enter(Phase::Exchange);
        assert!(ledger.make_room(&[network(NEW)]));
        assert_eq!(asked_of(&claims)[0], asked::LEAVE_IDLE);
        drop(entries);
        assert_eq!(ledger.count(), 0);
    }

    #[test]
    fn work_is_given_up_for_a_network_that_has_less_and_for_no_other() {
        let slow = Duration::from_secs(60).max(SLOW);
        let ledger = Arc::<Ledger>::default();
        let (fast, slower) = (
            claim(MANY, Phase::Exchange, slow),
            claim(MANY, Phase::Exchange, slow),
        );
        for (claim, bytes) in [(&fast, 1000), (&slower, 10)] {
            claim.set_held_up(true);
            claim.add_moved(bytes);
        }
        let begun = claim(MANY, Phase::Exchange, Duration::ZERO);
        let quiet = claim(FEW, Phase::Conversation, SILENT);
        let idle = claim(FEW, Phase::Waiting, slow);
        let claims = [&fast, &slower, &begun, &quiet, &idle];
        let _entries = entered(&ledger, &claims);
        // The idle one of FEW is not MANY's to take.
        assert!(!ledger.make_room(&[network(MANY)]));
        idle.enter(Phase::Exchange);
        assert!(!ledger.make_room(&[network(FEW)]), "it would have as many");
        assert!(ledger.make_room(&[network(NEW)]));
        assert_eq!(asked_of(&claims), [0, asked::LEAVE, 0, 0, 0]);
    }

    #[test]
    fn silent_conversations_go_before_what_is_slow_and_that_before_what_takes_long() {
        let long = LONG.max(SILENT) * 2;
        let ledger = Arc::<Ledger>::default();
        let computing = claim(MANY, Phase::Exchange, long);
        let reading = claim(MANY, Phase::Exchange, long);
        reading.set_held_up(true);
        let silent = claim(MANY, Phase::Conversation, long);
        let talking = claim(MANY, Phase::Conversation, Duration::ZERO);
        let claims = [&computing, &reading, &silent, &talking];
        let mut entries = entered(&ledger, &claims);
        let mut order = Vec::new();
        while ledger.make_room(&[network(NEW)]) {
            let left = asked_of(&claims);
            let asked = (0..4)
                .find(|&n| left[n] != 0 && !order.contains(&n))
                .unwrap();
            order.push(asked);
            entries[asked].set(0);
            // It has left: another one's line takes its place.
            let fresh = claim(MANY, Phase::Exchange, Duration::ZERO);
            entries[asked] = ledger.enter(&fresh, 1);
        }
        assert_eq!(order, [2, 1, 0, 3]);
    }

    #[test]
    fn a_single_idle_connection_gives_way_to_a_network_that_has_none() {
        let ledger = Arc::<Ledger>::default();
        let idle = claim(FEW, Phase::Waiting, Duration::from_secs(1));
        let _entries = entered(&ledger, &[&idle]);
        assert!(ledger.make_room(&[network(NEW)]));
        assert!(idle.is_asked(asked::LEAVE_IDLE));
    }

    #[test]
    fn who_has_more_goes_before_what_is_ones_own() {
        let ledger = Arc::<Ledger>::default();
        let own = claim(FEW, Phase::Waiting, SLOW * 9);
        let slow = [0; 3].map(|_| claim(MANY, Phase::Exchange, SLOW * 2));
        for claim in &slow {
            claim.set_held_up(true);
        }
        let claims: Vec<_> = slow.iter().chain([&own]).collect();
        let mut entries = entered(&ledger, &claims);
        assert!(ledger.make_room(&[network(FEW)]));
        assert_eq!(asked_of(&claims), [asked::LEAVE, 0, 0, 0]);
        // Where nobody has more, it is one's own that goes.
        entries.drain(..2);
        assert!(ledger.make_room(&[network(FEW)]));
        assert!(own.is_asked(asked::LEAVE_IDLE));
    }

    #[test]
    fn several_newcomers_get_a_place_each() {
        let ledger = Arc::<Ledger>::default();
        let claims: Vec<_> = (0..4)
            .map(|n| claim(MANY, Phase::Waiting, Duration::from_secs(n)))
            .collect();
        let _entries = entered(&ledger, &claims.iter().collect::<Vec<_>>());
        assert!(ledger.make_room(&[network(NEW), network(NEW), network(FEW)]));
        let asked = claims
            .iter()
            .filter(|claim| claim.is_asked(asked::LEAVE_IDLE));
        assert_eq!(asked.count(), 3);
    }

    #[test]
    fn however_many_networks_wait_some_get_room_at_a_time() {
        let ledger = Arc::<Ledger>::default();
        let idle = [0; 4 * AT_ONCE].map(|_| claim(MANY, Phase::Waiting, SLOW));
        let _entries = entered(&ledger, &idle.iter().collect::<Vec<_>>());
        let newcomers: Vec<_> = (0..3 * AT_ONCE)
            .map(|n| network(&format!("2001:db8:0:{n:x}::1")))
            .collect();
        for times in [1, 2, 3, 3] {
            assert!(ledger.make_room(&newcomers));
            let asked = idle.iter().filter(|one| one.is_asked(asked::LEAVE_IDLE));
            assert_eq!(asked.count(), times * AT_ONCE);
        }
    }

    #[test]
    fn a_request_is_ended_for_others_only_and_only_one_at_a_time() {
        let ledger = Arc::<Ledger>::default();
        let long = LONG * 2;
        let claims = [0; 3].map(|_| claim(MANY, Phase::Exchange, long));
        let other = claim(FEW, Phase::Exchange, long);
        let _entries = entered(&ledger, &claims.iter().chain([&other]).collect::<Vec<_>>());
        assert!(!ledger.end_a_request(network(MANY), 1));
        for _ in 0..2 {
            assert!(ledger.end_a_request(network(FEW), 1));
            let asked = claims
                .iter()
                .filter(|claim| claim.is_asked(asked::END_REQUEST));
            assert_eq!(asked.count(), 1);
        }
        assert!(!other.is_asked(asked::END_REQUEST));
    }
}
