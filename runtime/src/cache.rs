//! The response cache: a bounded store of answers, with the rules of RFC 9111 for shared caches.
//!
//! It knows neither plugins nor sockets. A plugin's `cache-key`, within the host and query that were
//! asked for, chooses the responses of a resource ([`key`]); what they vary by chooses one among them.
//! A plugin's `cache-policy` says how long one is fresh, which the response's own word can shorten.
//!
//! - **Memory**: one share of the daemon's budget. Entries, what is being collected to become one, and
//!   notes of who fetches what are charged to it, and an entry that was dropped stays charged until
//!   the last client has its bytes. See [`state`] for who has to go.
//! - **One fetch**: the first request that misses fetches, others for the same wait for it, a bounded
//!   time. Where it turns out that the response cannot be stored, all go on at once, and nobody waits
//!   for that resource again for [`PASS_FOR`].
//! - **Stale answers**: in the window that the policy gives, one request gets the duty to refresh, and all are
//!   answered with what there is.
//! - **Purges**: what was being fetched when a purge came is not stored.

mod age;
mod ask;
mod conditional;
mod directives;
mod entry;
mod fault;
mod fetch;
mod fill;
mod state;
mod storable;
mod vary;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use event_listener::{Event, EventListener};
use http::HeaderMap;
use http::header::HeaderName;
use smol::Timer;

use crate::config::CACHE_MIN;
use crate::memory::{Budget, Reservation};
use crate::sync;
use crate::timeout;
use state::{Fetching, State};
use vary::Varied;

pub use ask::{Ask, Purpose, key};
pub use conditional::not_modified;
pub use directives::Directives;
pub use entry::{Entry, only_validators};
pub use fault::Fault;
pub use fetch::{Fetch, Policy};
pub use fill::{Approval, Fill, Tee};
pub use state::Counts;

/// The part of the memory budget that a cache takes: one of so many.
const SHARE: usize = 16;
/// The part of the cache that one entry may take: one of so many.
const ENTRY_SHARE: usize = 8;
/// Entries at most. A purge looks at each.
const ENTRIES: usize = 4096;
/// Entries of one key at most; a new one takes the place of the oldest.
const VARIANTS: usize = 32;
/// Bytes of a key with its scope, or of an identity.
const KEY_BYTES: usize = 4 << 10;
/// Tags of one entry, and bytes of each.
const TAGS: usize = 32;
const TAG_BYTES: usize = 256;
/// Charged for what stands around the bytes of an entry or of a note: maps, counts, allocations.
const OVERHEAD: usize = 512;
/// Resources that are known not to be worth waiting for; the oldest are forgotten.
const PASSES: usize = 256;
/// How long that is believed. A response that is stored ends it at once.
const PASS_FOR: Duration = Duration::from_secs(30);
/// After a refresh that failed.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// Refreshes at once. No client waits for one, so nothing else bounds them; few, since each has an instance.
const REFRESHES: usize = 4;
/// How often a request waits for others: once for the response, once more if that was of another kind, or
/// if nothing came of it.
const ROUNDS: usize = 2;

/// Names the caches that a response went through (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Where the cache takes its times from.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// A time that only goes on, by all that passes.
    pub now: fn() -> Duration,
    /// The time of day; none while that was never set.
    pub wall: fn() -> Option<SystemTime>,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<State>,
    budget: Arc<Budget>,
    /// The daemon's memory that it has.
    _share: Option<Reservation>,
    clock: Clock,
    hasher: RandomState,
    /// One of it for each refresh at work.
    refreshes: Arc<Budget>,
}

/// How much of the cache is used, and what became of requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Entries.
    pub entries: usize,
    /// Bytes that they and what is being collected take.
    pub bytes: usize,
    /// Bytes that there are.
    pub limit: usize,
    /// What was counted since the start.
    pub counts: Counts,
}

/// What there is for a request.
#[derive(Debug)]
pub enum Found {
    /// A fresh response.
    Fresh(Arc<Entry>),
    /// A stale one that may be served. With a [`Fetch`], it is this request's duty to have it refreshed.
    Stale(Arc<Entry>, Option<Fetch>),
    /// None; the caller fetches it, and may store it.
    Miss(Fetch),
    /// None, and the cache has no room to do anything about it.
    Full,
}

/// What a first look finds.
enum Look {
    Found(Found),
    /// Somebody fetches it.
    Wait(EventListener),
}

impl Cache {
    /// Bytes for a cache where the daemon has `memory`.
    pub fn share_of(memory: usize) -> usize {
        (memory / SHARE).max(CACHE_MIN)
    }

    /// A cache that holds `share` of the daemon's memory.
    pub fn new(share: Reservation, clock: Clock) -> Arc<Cache> {
        Cache::with(share.bytes(), Some(share), clock)
    }

    fn with(bytes: usize, share: Option<Reservation>, clock: Clock) -> Arc<Cache> {
        Arc::new(Cache {
            state: Mutex::default(),
            budget: Budget::new(bytes),
            _share: share,
            clock,
            hasher: RandomState::new(),
            refreshes: Budget::new(REFRESHES),
        })
    }

    /// The time by which entries age.
    pub fn now(&self) -> Duration {
        (self.clock.now)()
    }

    /// Leave to work on a response that no client waits for, until it is dropped; none while enough have it.
    pub fn refreshing(&self) -> Option<Reservation> {
        self.refreshes.reserve(1)
    }

    /// What there is for a GET. Waits for others that fetch the same, at most for `patience` in all.
    pub async fn find(self: &Arc<Self>, ask: &Ask<'_>, patience: Duration) -> Found {
        let mut late = Timer::after(patience);
        for _ in 0..ROUNDS {
            let listener = match self.look(ask) {
                Look::Found(found) => return found,
                Look::Wait(listener) => listener,
            };
            if timeout::before_timer(&mut late, listener).await.is_none() {
                break;
            }
        }
        let mut state = self.state();
        match self.found(&mut state, ask) {
            Some(found) => found,
            None => self.miss(&mut state, ask, None),
        }
    }

    /// A response for a HEAD, or for a request that wants what is stored or nothing.
    pub fn peek(&self, ask: &Ask<'_>) -> Option<Arc<Entry>> {
        let now = self.now();
        let mut state = self.state();
        let entry = state.find(ask, now).map(Arc::clone)?;
        entry.visited.store(true, Ordering::Relaxed);
        match entry.fresh > now {
            true => state.counts.hits += 1,
            false => state.counts.stale += 1,
        }
        Some(entry)
    }

    /// Drops what is stored under a key, for all that it varies by. Answers how many entries went.
    pub fn invalidate(&self, key: &str) -> usize {
        self.state().purge(|_| true, Some(key))
    }

    /// Drops all entries that have one of these tags. Answers how many went.
    pub fn purge_tags(&self, tags: &[&str]) -> usize {
        let tagged = |entry: &Entry| entry.tags.iter().any(|tag| tags.contains(&&**tag));
        self.state().purge(tagged, None)
    }

    /// Drops all entries. Answers how many went.
    pub fn purge_all(&self) -> usize {
        self.state().purge(|_| true, None)
    }

    /// How it is.
    pub fn figures(&self) -> Figures {
        let state = self.state();
        Figures {
            entries: state.len(),
            bytes: self.budget.used(),
            limit: self.budget.limit(),
            counts: state.counts,
        }
    }

    fn look(self: &Arc<Self>, ask: &Ask<'_>) -> Look {
        let mut state = self.state();
        if let Some(found) = self.found(&mut state, ask) {
            return Look::Found(found);
        }
        let flight = self.flight(&state, ask);
        if state.passes(flight, self.now()) {
            return Look::Found(self.miss(&mut state, ask, None));
        }
        let mut fetches = state.fetches.iter();
        let leader = fetches.find_map(|one| match one.flight == flight {
            true => one.waiters.as_ref(),
            false => None,
        });
        match leader {
            Some(waiters) => Look::Wait(waiters.listen()),
            None => Look::Found(self.miss(&mut state, ask, Some(Arc::default()))),
        }
    }

    fn found(self: &Arc<Self>, state: &mut State, ask: &Ask<'_>) -> Option<Found> {
        let now = self.now();
        let entry = Arc::clone(state.find(ask, now)?);
        entry.visited.store(true, Ordering::Relaxed);
        if entry.fresh > now {
            state.counts.hits += 1;
            return Some(Found::Fresh(entry));
        }
        state.counts.stale += 1;
        let mut duty = None;
        if entry.begin_refresh(now) {
            duty = self.begin(state, ask, None, Some(Arc::clone(&entry)));
            if duty.is_none() {
                entry.end_refresh(now + REFRESH_PAUSE);
            }
        }
        Some(Found::Stale(entry, duty))
    }

    fn miss(
        self: &Arc<Self>,
        state: &mut State,
        ask: &Ask<'_>,
        waiters: Option<Arc<Event>>,
    ) -> Found {
        state.counts.misses += 1;
        self.begin(state, ask, waiters, None)
            .map_or(Found::Full, Found::Miss)
    }

    /// Notes that somebody fetches it. None if there is no room for the note.
    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        ask: &Ask<'_>,
        waiters: Option<Arc<Event>>,
        refreshes: Option<Arc<Entry>>,
    ) -> Option<Fetch> {
        if ask.key.len() > KEY_BYTES || ask.identity.len() > KEY_BYTES {
            return None;
        }
        let mut charge = self.budget.reserve(0)?;
        let bytes = ask.key.len() + ask.identity.len() + OVERHEAD;
        if !self.make_room(state, &mut charge, bytes) {
            return None;
        }
        let number = state.number();
        let flight = self.flight(state, ask);
        let is_awaited = waiters.is_some() || refreshes.is_some();
        state.fetches.push(Fetching {
            number,
            key: Arc::clone(&ask.key),
            flight,
            waiters,
            refreshes,
            spoiled: false,
            _charge: charge,
        });
        let cache = Arc::clone(self);
        Some(Fetch::new(cache, number, ask, is_awaited))
    }

    /// Tells requests apart that cannot have the same answer, as far as is known: what the newest response
    /// of the key varies by is likely to be what the next one does.
    fn flight(&self, state: &State, ask: &Ask<'_>) -> u64 {
        let known = state.of(&ask.key).next();
        let known = known.map_or(&[][..], |entry| &entry.vary);
        let vary: Vec<_> = known
            .iter()
            .map(|one| Varied::of(&one.name, ask.headers))
            .collect();
        self.hasher
            .hash_one((&ask.key, &ask.identity, ask.authenticated, vary))
    }

    /// Takes `more` bytes for `charge`, and drops entries as far as that takes. False if all that is left is
    /// in use.
    fn make_room(&self, state: &mut State, charge: &mut Reservation, more: usize) -> bool {
        let now = self.now();
        while !charge.grow(more) {
            if !state.evict(now) {
                return false;
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole, or is a removal that stopped halfway.
        sync::lock(&self.state)
    }
}

/// The machine's clocks.
impl Default for Clock {
    fn default() -> Clock {
        Clock {
            now: since_boot,
            wall: time_of_day,
        }
    }
}

/// Counts on while the machine sleeps: what is stored ages then, too.
fn since_boot() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(since.tv_nsec).unwrap_or(0))
}

fn time_of_day() -> Option<SystemTime> {
    crate::wire::with_date(|date| date.map(|_| SystemTime::now()))
}

/// Tells a client what the cache did, beside what caches further off did.
pub fn tell(headers: &mut HeaderMap, what: &str) {
    entry::tell(headers, what);
}

#[cfg(test)]
mod tests;
