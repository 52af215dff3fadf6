//! The entries, the fetches under way, and the choice of what is dropped to make room.
//!
//! Room is made by SIEVE (Zhang et al., NSDI 2024): entries stand in the order of their arrival,
//! and a hand moves over them from the oldest to the newest. It spares those that were asked for
//! since it last passed, and drops the next one that was not. What was stored and never asked for
//! again is dropped first, and what is asked for stays, at the cost of one bit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event_listener::Event;

use super::ask::Ask;
use super::entry::Entry;
use super::{ENTRIES, PASSES, VARIANTS};
use crate::memory::Reservation;

#[derive(Debug, Default)]
pub(super) struct CacheState {
    /// By number, which is the order of arrival.
    entries: BTreeMap<u64, Arc<Entry>>,
    /// The numbers of a key's entries, oldest first.
    keys: HashMap<Arc<str>, Vec<u64>>,
    /// The number where the eviction goes on.
    hand: u64,
    /// The last number that an entry or a fetch got.
    next: u64,
    /// No entry expires before this time.
    earliest: Duration,
    pub(super) fetches: Vec<Fetching>,
    /// Requests that are not worth waiting for, and until when that holds.
    passes: VecDeque<(u64, Duration)>,
    pub(super) counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests that got a fresh entry.
    pub hits: u64,
    /// Requests that got a stale entry.
    pub stale: u64,
    /// Requests that found no entry.
    pub misses: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Entries that were dropped to make room while they were of use.
    pub evicted: u64,
    /// Entries that were purged, or made invalid by an unsafe request.
    pub purged: u64,
}

/// A note of a response that is being fetched.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) number: u64,
    pub(super) key: Arc<str>,
    /// Requests with the same number wait for each other.
    pub(super) flight: u64,
    /// Wakes those who wait; `None` if nobody is to wait.
    pub(super) waiters: Option<Arc<Event>>,
    /// The entry that it is to replace.
    pub(super) refreshes: Option<Arc<Entry>>,
    /// A purge came meanwhile, so the response may be older than the purge and is not stored.
    pub(super) spoiled: bool,
    pub(super) _charge: Reservation,
}

impl CacheState {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The newest entry that fits `ask` and may still be used.
    pub(super) fn find(&self, ask: &Ask<'_>, now: Duration) -> Option<&Arc<Entry>> {
        self.entries_of(&ask.key)
            .find(|entry| entry.lasts > now && entry.matches(ask))
    }

    /// All entries of a key, newest first.
    pub(super) fn entries_of(&self, key: &str) -> impl Iterator<Item = &Arc<Entry>> {
        let numbers = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        numbers
            .iter()
            .rev()
            .filter_map(|number| self.entries.get(number))
    }

    /// Adds an entry, and removes those that it replaces.
    pub(super) fn insert(&mut self, entry: Arc<Entry>, now: Duration) {
        let replaced: Vec<u64> = self.numbers(
            |other| *other.key == *entry.key && entry.replaces(other),
            Some(&entry.key),
        );
        self.remove_all(&replaced);
        if let Some(numbers) = self.keys.get(&entry.key)
            && numbers.len() >= VARIANTS
            && let Some(&oldest) = numbers.first()
        {
            self.remove(oldest);
            self.counts.evicted += 1;
        }
        while self.entries.len() >= ENTRIES && self.evict(now) {}
        let number = self.number();
        self.earliest = match self.entries.is_empty() {
            true => entry.lasts,
            false => self.earliest.min(entry.lasts),
        };
        let numbers = self.keys.entry(Arc::clone(&entry.key)).or_default();
        numbers.push(number);
        self.entries.insert(number, entry);
        self.counts.stored += 1;
    }

    /// Drops the entries that have expired, or else the one that SIEVE picks. Returns `false` if
    /// there is none.
    pub(super) fn evict(&mut self, now: Duration) -> bool {
        if self.earliest <= now {
            let over = self.numbers(|entry| entry.lasts <= now, None);
            self.remove_all(&over);
            let lasts = self.entries.values().map(|entry| entry.lasts);
            self.earliest = lasts.min().unwrap_or(Duration::MAX);
            if !over.is_empty() {
                return true;
            }
        }
        loop {
            let found = self.entries.range(self.hand..).next();
            let Some((&number, entry)) = found else {
                if self.entries.is_empty() {
                    return false;
                }
                self.hand = 0;
                continue;
            };
            self.hand = number + 1;
            // At the latest the second time round, no bit is left.
            if !entry.visited.swap(false, Ordering::Relaxed) {
                self.remove(number);
                self.counts.evicted += 1;
                return true;
            }
        }
    }

    /// Drops the entries that `is_meant`, of one key or of all, and marks what is being fetched for
    /// that key, or for all, as outdated. Returns how many entries were dropped.
    pub(super) fn purge(&mut self, is_meant: impl Fn(&Entry) -> bool, key: Option<&str>) -> usize {
        for fetching in &mut self.fetches {
            fetching.spoiled |= key.is_none_or(|key| *fetching.key == *key);
        }
        let meant = self.numbers(is_meant, key);
        self.remove_all(&meant);
        self.counts.purged += meant.len() as u64;
        meant.len()
    }

    /// Drops one entry, if it is still here.
    pub(super) fn remove_entry(&mut self, entry: &Arc<Entry>) {
        let same = self.numbers(
            |other| std::ptr::eq(other, &raw const **entry),
            Some(&entry.key),
        );
        self.remove_all(&same);
    }

    /// Whether requests of this flight do not wait for each other.
    pub(super) fn passes(&self, flight: u64, now: Duration) -> bool {
        self.passes
            .iter()
            .any(|&(passed, until)| passed == flight && until > now)
    }

    /// Remembers until when requests of this flight do not wait for each other; with `None`, that
    /// they do.
    pub(super) fn set_pass(&mut self, flight: u64, until: Option<Duration>) {
        self.passes.retain(|&(passed, _)| passed != flight);
        if let Some(until) = until {
            if self.passes.len() >= PASSES {
                self.passes.pop_front();
            }
            self.passes.push_back((flight, until));
        }
    }

    /// Removes the note of a fetch that has ended, and returns it.
    pub(super) fn end_fetch(&mut self, number: u64) -> Option<Fetching> {
        let place = self.fetches.iter().position(|one| one.number == number)?;
        Some(self.fetches.swap_remove(place))
    }

    fn numbers(&self, is_meant: impl Fn(&Entry) -> bool, key: Option<&str>) -> Vec<u64> {
        let of_key = key.map(|key| self.keys.get(key).map_or(&[][..], Vec::as_slice));
        match of_key {
            Some(numbers) => {
                let meant =
                    |number: &&u64| self.entries.get(number).is_some_and(|one| is_meant(one));
                numbers.iter().filter(meant).copied().collect()
            }
            None => {
                let meant = self.entries.iter().filter(|(_, entry)| is_meant(entry));
                meant.map(|(&number, _)| number).collect()
            }
        }
    }

    fn remove_all(&mut self, numbers: &[u64]) {
        for &number in numbers {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        if let Some(numbers) = self.keys.get_mut(&entry.key) {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.keys.remove(&entry.key);
            }
        }
    }
}
