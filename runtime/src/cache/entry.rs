//! A stored response, and the responses that are made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use super::CACHE_STATUS;
use super::ask::Ask;
use super::conditional::{NOT_MODIFIED_FIELDS, not_modified};
use super::vary::Varied;
use crate::memory::Reservation;

/// The value of `refresh` while a refresh is on its way.
const REFRESHING: u64 = u64::MAX;

/// A response in the cache, with all that decides when it is used.
#[derive(Debug)]
pub struct Entry {
    pub(super) key: Arc<str>,
    pub(super) identity: Arc<str>,
    pub(super) vary: Vec<Varied>,
    /// Whether it says itself that it is for all.
    pub(super) public: bool,
    pub(super) tags: Vec<Box<str>>,
    pub(super) status: StatusCode,
    /// Lines of `name:value`. A map of headers would take several times the memory.
    pub(super) fields: Box<[u8]>,
    pub(super) body: Vec<u8>,
    /// When it came, by the cache's clock; `initial_age` is how old it was then.
    pub(super) came: Duration,
    pub(super) initial_age: Duration,
    /// It is fresh before this time.
    pub(super) fresh: Duration,
    /// It may be used, stale, before this time.
    pub(super) lasts: Duration,
    /// Whether it was asked for since the queue's hand last passed it.
    pub(super) visited: AtomicBool,
    /// When it may be refreshed, in milliseconds; or [`REFRESHING`].
    pub(super) refresh: AtomicU64,
    /// Its memory, which is held until the last response made of it has gone.
    pub(super) charge: Reservation,
}

impl Entry {
    /// Whether it fits the request `ask`, fresh or not.
    ///
    /// RFC 9111 section 4 would let it fit a request with a cookie if it was made for one without,
    /// as long as its `Vary` does not name that. But applications that read cookies seldom say so,
    /// and whoever is logged in would get the page of whoever is not. So such a request gets only
    /// what depends on its cookie, or says that it is for all.
    pub(super) fn matches(&self, ask: &Ask<'_>) -> bool {
        let varies_by = |name: &HeaderName| self.vary.iter().any(|one| *one.name == *name.as_str());
        self.identity == ask.identity
            && self.vary.iter().all(|one| one.matches(ask.headers))
            && (self.public || ask.untold(varies_by).is_none())
    }

    /// Whether it fits all requests that `other` fits.
    pub(super) fn replaces(&self, other: &Entry) -> bool {
        self.identity == other.identity && self.vary == other.vary
    }

    /// Takes the duty to refresh it. Returns whether that is due and nobody else has the duty.
    pub(super) fn begin_refresh(&self, now: Duration) -> bool {
        let due = self.refresh.load(Ordering::Relaxed) <= millis(now);
        due && self.refresh.swap(REFRESHING, Ordering::Relaxed) != REFRESHING
    }

    /// Gives the duty back. Nobody can take it before `again`.
    pub(super) fn end_refresh(&self, again: Duration) {
        self.refresh.store(millis(again), Ordering::Relaxed);
    }

    /// The body from `start` on. The bytes keep the entry's memory charged.
    pub(super) fn bytes(self: &Arc<Entry>, start: usize) -> Bytes {
        let mut whole = Bytes::from_owner(Whole(Arc::clone(self)));
        whole.split_off(start.min(whole.len()))
    }

    /// The response to a GET or HEAD at `now`, with its `Age`; or a 304, if the client's own copy
    /// is as good. The bytes keep the entry's memory charged.
    pub fn to_response(self: &Arc<Entry>, request: &HeaderMap, now: Duration) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        for line in self.fields.split(|&byte| byte == b'\n') {
            // In a stored response no field has a line break, and no name has a colon.
            let at = line.iter().position(|&byte| byte == b':').unwrap_or(0);
            let (name, value) = line.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                // The field count can only be too large for what the client would have got anyway.
                let _ = headers.try_append(name, value);
            }
        }
        let resident = now.saturating_sub(self.came);
        let age = self.initial_age.saturating_add(resident);
        let _ = headers.try_insert(AGE, HeaderValue::from(age.as_secs()));
        let ttl = match self.fresh.checked_sub(now) {
            Some(left) => left.as_secs().to_string(),
            None => format!("-{}", now.saturating_sub(self.fresh).as_secs()),
        };
        add_cache_status(&mut headers, &format!("hit; ttl={ttl}"));
        let mut response = Response::new(self.bytes(0));
        *response.status_mut() = self.status;
        // Preconditions apply only where the response would be a success (RFC 9110 section 13.2.1).
        if self.status == StatusCode::OK && not_modified(request, &headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Bytes::new();
            headers = only_validators(&headers);
        }
        *response.headers_mut() = headers;
        response
    }
}

/// The fields that a 304 keeps.
pub fn only_validators(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if NOT_MODIFIED_FIELDS.contains(name) || *name == AGE || *name == CACHE_STATUS {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Adds what this cache did to `Cache-Status` (RFC 9211), behind what caches further off did. Does
/// nothing if the map of headers is full.
pub(super) fn add_cache_status(headers: &mut HeaderMap, what: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("zlayer; {what}")) {
        let _ = headers.try_append(CACHE_STATUS, value);
    }
}

/// An entry's body, which keeps the entry alive.
struct Whole(Arc<Entry>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.body
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(REFRESHING - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_of_headers_goes_without_a_word_of_the_cache() {
        let mut full = HeaderMap::new();
        let value = HeaderValue::from_static("1");
        let names = (0..1 << 16).map_while(|n| HeaderName::try_from(format!("x-{n}")).ok());
        for name in names {
            if full.try_append(name, value.clone()).is_err() {
                break;
            }
        }
        add_cache_status(&mut full, "fwd=miss");
        assert!(full.len() > 1000 && !full.contains_key(CACHE_STATUS));
    }
}
