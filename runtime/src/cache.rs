//! The response cache: a bounded store of responses, with the rules of RFC 9111 for shared caches.
//!
//! It knows neither plugins nor sockets. A plugin's `cache-key`, together with the host and the
//! query of the request, chooses the responses of a resource ([`key`]); the headers that they vary
//! by choose one among them. A plugin's `cache-policy` says how long one is fresh, which the
//! response's own headers can shorten.
//!
//! - **Memory**: one share of the daemon's budget. Entries, responses that are being collected, and
//!   notes of who fetches what are charged to it. An entry that was dropped stays charged until the
//!   last client has its bytes. [`state`] says which entries are dropped first.
//! - **One fetch**: the first request that misses fetches, and others for the same resource wait
//!   for it for a bounded time. If it turns out that the response cannot be stored, all go on at
//!   once, and nobody waits for that resource again for [`PASS_FOR`].
//! - **Stale responses**: in the window that the policy gives, one request gets the duty to refresh
//!   the entry, and all get the stale response meanwhile.
//! - **Purges**: a response that was being fetched when a purge came is not stored.

mod age;
mod ask;
mod conditional;
mod directives;
mod entry;
mod excluded;
mod fault;
mod fetch;
mod fill;
#[cfg(test)]
pub mod fuzz;
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

use crate::memory::{Budget, Reservation};
use crate::sync;
use crate::timeout;
use state::{CacheState, Fetching};
use vary::Varied;

pub use ask::{Ask, Purpose, key};
pub use conditional::not_modified;
pub use directives::Directives;
pub use entry::{Entry, only_validators};
pub use fault::Fault;
pub use fetch::{Fetch, Policy};
pub use fill::{Approval, Fill, Tee};
pub use state::Counts;

/// One entry may take this part of the cache: one eighth.
const ENTRY_SHARE: usize = 8;
/// The most entries. A purge looks at each.
const ENTRIES: usize = 4096;
/// The most entries of one key. A new one replaces the oldest.
const VARIANTS: usize = 32;
/// The most bytes of a key with its scope, or of an identity.
const KEY_BYTES: usize = 4 << 10;
/// The most tags of one entry.
const TAGS: usize = 32;
const TAG_BYTES: usize = 256;
/// Bytes that are charged for each entry or note beside its content: maps, counts, allocations.
const OVERHEAD: usize = 512;
/// Resources that are remembered as not worth waiting for. The oldest are forgotten.
const PASSES: usize = 256;
/// How long a resource counts as not worth waiting for. Storing a response ends it at once.
const PASS_FOR: Duration = Duration::from_secs(30);
/// How long a stale entry is not refreshed again after a refresh that failed.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// Refreshes at the same time. Each has an instance and no client that waits, so nothing else
/// bounds them.
const REFRESHES: usize = 4;
/// How often a request waits for others: once for the response, and once more if that was of
/// another variant or could not be had.
const ROUNDS: usize = 2;

/// The field that names the caches which a response went through (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Where the cache reads its times.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// A time that never jumps and counts all that passes.
    pub now: fn() -> Duration,
    /// The time of day; `None` if nobody has set it.
    pub wall: fn() -> Option<SystemTime>,
}

/// The response cache. See the module for its rules.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<CacheState>,
    budget: Arc<Budget>,
    /// The part of the daemon's budget that the cache holds.
    _share: Option<Reservation>,
    clock: Clock,
    hasher: RandomState,
    /// A budget of one unit for each refresh that may run.
    refreshes: Arc<Budget>,
}

/// How much of the cache is used, and how requests fared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// How many responses are stored.
    pub entries: usize,
    /// Bytes that they and the responses being collected take.
    pub bytes: usize,
    /// Bytes that the cache may take.
    pub limit: usize,
    /// What was counted since the start.
    pub counts: Counts,
}

/// What the cache has for a request.
#[derive(Debug)]
pub enum Found {
    /// A fresh response.
    Fresh(Arc<Entry>),
    /// A stale response that may be served. With a [`Fetch`], this request has the duty to refresh
    /// it.
    Stale(Arc<Entry>, Option<Fetch>),
    /// No response. The caller fetches one, and may store it.
    Miss(Fetch),
    /// No response, and no room to store one.
    Full,
}

/// What a first look finds.
enum Look {
    Found(Found),
    /// Another request fetches the response: wait for it.
    Wait(EventListener),
}

impl Cache {
    /// Bytes that a cache gets if the daemon's limit is `memory`.
    pub fn share_of(memory: usize) -> usize {
        zlayer_bundle::cache_share(memory)
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

    /// Permission to work on a response that no client waits for; it lasts until it is dropped.
    /// `None` while enough others have one.
    pub fn refreshing(&self) -> Option<Reservation> {
        self.refreshes.reserve(1)
    }

    /// Looks for a response to a GET. Waits while others fetch it, at most for `patience` in all.
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

    /// The response for a HEAD, or for a request that wants a stored response or none.
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

    /// Drops all entries of a key, whatever they vary by. Returns how many there were.
    pub fn invalidate(&self, key: &str) -> usize {
        self.state().purge(|_| true, Some(key))
    }

    /// Drops all entries that have one of these tags. Returns how many there were.
    pub fn purge_tags(&self, tags: &[&str]) -> usize {
        let tagged = |entry: &Entry| entry.tags.iter().any(|tag| tags.contains(&&**tag));
        self.state().purge(tagged, None)
    }

    /// Drops all entries. Returns how many there were.
    pub fn purge_all(&self) -> usize {
        self.state().purge(|_| true, None)
    }

    /// How full the cache is, and what was counted.
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

    fn found(self: &Arc<Self>, state: &mut CacheState, ask: &Ask<'_>) -> Option<Found> {
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
            duty = self.begin_fetch(state, ask, None, Some(Arc::clone(&entry)));
            if duty.is_none() {
                entry.end_refresh(now + REFRESH_PAUSE);
            }
        }
        Some(Found::Stale(entry, duty))
    }

    fn miss(
        self: &Arc<Self>,
        state: &mut CacheState,
        ask: &Ask<'_>,
        waiters: Option<Arc<Event>>,
    ) -> Found {
        state.counts.misses += 1;
        self.begin_fetch(state, ask, waiters, None)
            .map_or(Found::Full, Found::Miss)
    }

    /// Notes that a request fetches the response. Returns `None` if there is no room for the note.
    fn begin_fetch(
        self: &Arc<Self>,
        state: &mut CacheState,
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

    /// A number that differs for requests which cannot have the same response, as far as is known:
    /// what the newest response of the key varies by is likely to be what the next one varies by.
    fn flight(&self, state: &CacheState, ask: &Ask<'_>) -> u64 {
        let known = state.entries_of(&ask.key).next();
        let known = known.map_or(&[][..], |entry| &entry.vary);
        let vary: Vec<_> = known
            .iter()
            .map(|one| Varied::of(&one.name, ask.headers))
            .collect();
        let Ask {
            key,
            identity,
            authenticated,
            personal,
            ..
        } = ask;
        self.hasher
            .hash_one((key, identity, authenticated, personal, vary))
    }

    /// Grows `charge` by `more` bytes, and drops entries until that succeeds. Returns `false` if
    /// all that is left is in use.
    fn make_room(&self, state: &mut CacheState, charge: &mut Reservation, more: usize) -> bool {
        let now = self.now();
        while !charge.grow(more) {
            if !state.evict(now) {
                return false;
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        // Every change leaves the state whole, or is a removal that stopped halfway, which does no
        // harm.
        sync::lock(&self.state)
    }
}

/// Reads the machine's clocks.
impl Default for Clock {
    fn default() -> Clock {
        Clock {
            now: since_boot,
            wall: time_of_day,
        }
    }
}

/// The time since boot. It counts on while the machine sleeps, because stored responses age then,
/// too.
fn since_boot() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(since.tv_nsec).unwrap_or(0))
}

fn time_of_day() -> Option<SystemTime> {
    crate::wire::with_date(|date| date.map(|_| SystemTime::now()))
}

/// Adds what this cache did to `Cache-Status`, behind what caches further off did.
pub fn add_cache_status(headers: &mut HeaderMap, what: &str) {
    entry::add_cache_status(headers, what);
}

#[cfg(test)]
mod tests;
