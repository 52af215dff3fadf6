//! A fetch of a response: the right to store what comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, DATE};
use http::response::Parts;

use super::age::{initial_age, lifetime};
use super::ask::Ask;
use super::directives::Directives;
use super::entry::Entry;
use super::storable::{check, is_stored};
use super::vary::{Varied, names};
use super::{CACHE_STATUS, Cache, ENTRY_SHARE, OVERHEAD, PASS_FOR, REFRESH_PAUSE, TAG_BYTES, TAGS};
use crate::wire::with_date;

/// What a plugin decided for storing a response.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long it is fresh, counted from when it came.
    pub ttl: Duration,
    /// Tags by which it can be purged.
    pub tags: Vec<String>,
    /// Names of the request headers that it depends on.
    pub vary: Vec<String>,
    /// How long it may still be used after that, while it is refreshed.
    pub stale: Duration,
}

/// Bounds on the length of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes that the entry has room for.
    pub(super) limit: usize,
    /// What the response's head announces: a body of another length is not whole.
    pub(super) announced: Option<usize>,
}

/// The right to store the response that is being fetched, and the duty to wake those who wait for
/// it. Dropping it wakes them.
#[derive(Debug)]
pub struct Fetch {
    pub(super) cache: Arc<Cache>,
    number: u64,
    key: Arc<str>,
    identity: Arc<str>,
    began: Duration,
    is_awaited: bool,
}

impl Fetch {
    pub(super) fn new(cache: Arc<Cache>, number: u64, ask: &Ask<'_>, is_awaited: bool) -> Fetch {
        let began = cache.now();
        Fetch {
            cache,
            is_awaited,
            number,
            key: Arc::clone(&ask.key),
            identity: Arc::clone(&ask.identity),
            began,
        }
    }

    /// Whether other requests want the response too, now or later, so that it should be a whole
    /// one. If not, it is known that it cannot be stored.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Makes an entry without its body, and the bounds of that body.
    pub(super) fn draft(
        &self,
        ask: &Ask<'_>,
        response: &Parts,
        policy: Policy,
    ) -> Result<(Entry, Bounds), &'static str> {
        let Parts {
            status, headers, ..
        } = response;
        let directives = Directives::of(headers);
        let names = names(headers, &policy.vary)?;
        check(ask, status.as_u16(), headers, &directives, &names)?;
        let now = self.cache.now();
        let wall = (self.cache.clock.wall)();
        let initial_age = initial_age(headers, now.saturating_sub(self.began), wall);
        let own = lifetime(headers, &directives, wall);
        let ttl = match own {
            Some(own) => policy.ttl.min(own.saturating_sub(initial_age)),
            None => policy.ttl,
        };
        if ttl.is_zero() {
            return Err("it is stale at once");
        }
        let stale = match directives.never_stale {
            true => Duration::ZERO,
            false => policy.stale,
        };
        if policy.tags.len() > TAGS || policy.tags.iter().any(|tag| tag.len() > TAG_BYTES) {
            return Err("it has too many tags, or one that is too long");
        }
        let mut fields = Vec::new();
        let mut add = |name: &str, value: &[u8]| {
            if !fields.is_empty() {
                fields.push(b'\n');
            }
            for part in [name.as_bytes(), b":", value] {
                fields.extend_from_slice(part);
            }
        };
        for (name, value) in headers {
            // What this cache did for this request is not true for later ones.
            if is_stored(name, headers) && *name != CACHE_STATUS {
                add(name.as_str(), value.as_bytes());
            }
        }
        if !headers.contains_key(DATE) {
            // A response without a date gets that of its arrival (RFC 9110 section 6.6.1).
            with_date(|date| date.map(|date| add("date", date.as_bytes())));
        }
        let vary: Vec<_> = names
            .iter()
            .map(|name| Varied::of(name.as_str(), ask.headers))
            .collect();
        let varied: usize = vary.iter().map(Varied::bytes).sum();
        let tags: Vec<Box<str>> = policy.tags.into_iter().map(String::into).collect();
        let tagged: usize = tags
            .iter()
            .map(|tag| tag.len() + size_of::<Box<str>>())
            .sum();
        let bytes =
            self.key.len() + self.identity.len() + fields.len() + varied + tagged + OVERHEAD;
        let limit = (self.cache.budget.limit() / ENTRY_SHARE)
            .checked_sub(bytes)
            .ok_or("its headers and tags are too large")?;
        let announced = announced(headers)?;
        if announced.is_some_and(|announced| announced > limit) {
            return Err("it is too long");
        }
        let charge = self.cache.budget.reserve(0);
        let mut charge = charge.ok_or("the cache is full")?;
        if !self
            .cache
            .make_room(&mut self.cache.state(), &mut charge, bytes)
        {
            return Err("the cache is full");
        }
        let fresh = now.saturating_add(ttl);
        let entry = Entry {
            key: Arc::clone(&self.key),
            identity: Arc::clone(&self.identity),
            vary,
            public: directives.public,
            tags,
            status: *status,
            fields: fields.into(),
            body: Vec::new(),
            came: now,
            initial_age,
            fresh,
            lasts: fresh.saturating_add(stale),
            visited: AtomicBool::new(false),
            refresh: AtomicU64::new(0),
            charge,
        };
        Ok((entry, Bounds { limit, announced }))
    }

    /// Ends the fetch and stores `entry`, unless a purge came meanwhile.
    pub(super) fn succeed(self, entry: Arc<Entry>) {
        let cache = Arc::clone(&self.cache);
        let now = cache.now();
        let mut state = cache.state();
        let Some(ended) = state.end_fetch(self.number) else {
            return;
        };
        let stored = !ended.spoiled && entry.lasts > now;
        if stored {
            state.set_pass(ended.flight, None);
            state.insert(entry, now);
        }
        match &ended.refreshes {
            // The old entry may have been for another variant than the new one, so it is dropped.
            Some(old) if stored => state.remove_entry(old),
            Some(old) => old.end_refresh(now + REFRESH_PAUSE),
            None => {}
        }
        drop(state);
        wake_waiters(&ended.waiters);
    }

    /// Ends the fetch because the response is not stored, for a reason that says nothing of an
    /// older entry. Nobody waits for such a response for a while.
    pub fn refuse(self) {
        self.end_unstored(true);
    }

    /// Ends the fetch without storing. `keep_old` says whether the entry to be replaced stays.
    pub(super) fn end_unstored(self, keep_old: bool) {
        let now = self.cache.now();
        let mut state = self.cache.state();
        let Some(ended) = state.end_fetch(self.number) else {
            return;
        };
        match ended.refreshes {
            Some(old) if keep_old => old.end_refresh(now + REFRESH_PAUSE),
            Some(old) => state.remove_entry(&old),
            None => state.set_pass(ended.flight, Some(now + PASS_FOR)),
        }
        drop(state);
        wake_waiters(&ended.waiters);
    }
}

/// Ends the fetch without a response.
impl Drop for Fetch {
    fn drop(&mut self) {
        let now = self.cache.now();
        // `succeed` and `end_unstored` have removed the note already.
        let Some(ended) = self.cache.state().end_fetch(self.number) else {
            return;
        };
        if let Some(old) = ended.refreshes {
            old.end_refresh(now + REFRESH_PAUSE);
        }
        wake_waiters(&ended.waiters);
    }
}

fn announced(headers: &HeaderMap) -> Result<Option<usize>, &'static str> {
    let Some(value) = headers.get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or("its content-length is none")
}

fn wake_waiters(waiters: &Option<Arc<event_listener::Event>>) {
    if let Some(waiters) = waiters {
        waiters.notify(usize::MAX);
    }
}
