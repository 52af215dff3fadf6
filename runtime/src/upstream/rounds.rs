//! Stops requests that come back to the daemon that sent them, again and again.
//!
//! A router may name an upstream, and a plugin may ask a server, that leads back here. Each round
//! holds a connection and an instance while it waits for the next, until there are none left. So
//! each request that is sent says in `CDN-Loop` (RFC 8586) how often it has come by: this daemon's
//! name is in the field once for each time. A request that came too often is refused before any
//! plugin sees it.
//!
//! Each process makes itself a new name. So a chain of daemons is no loop, and whatever a client
//! writes into the field has no effect on other clients' requests. A plugin cannot remove the
//! count: for a request that is being worked on it is kept here, not in the request's headers.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::hop;
use crate::failure::Failure;
use crate::sync;

/// How often a request may come back. A plugin may well send a request to another plugin of its own
/// daemon; more rounds than these would only take instances from others.
const ROUNDS: usize = 3;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The requests at work that have come by before.
#[derive(Clone)]
pub struct Rounds(Arc<Inner>);

struct Inner {
    /// This daemon's name in `CDN-Loop`.
    name: String,
    /// How often each request has come by, by its id. There are no more than requests at work.
    at_work: Mutex<Vec<(Arc<str>, usize)>>,
}

/// Notes, until it is dropped, that a request is at work which has come by before.
#[must_use = "dropped, it says that the request is no longer at work"]
pub struct Round {
    rounds: Rounds,
    id: Arc<str>,
}

impl Rounds {
    pub(super) fn new() -> Rounds {
        Rounds(Arc::new(Inner {
            name: format!("zlayer-{:016x}", RandomState::new().hash_one(0)),
            at_work: Mutex::default(),
        }))
    }

    /// Whether an element of the field is this daemon's. Parameters may follow the name.
    fn is_own(&self, element: &[u8]) -> bool {
        let name = element.split(|&byte| byte == b';').next();
        name.is_some_and(|name| name.trim_ascii() == self.0.name.as_bytes())
    }

    fn at_work(&self) -> MutexGuard<'_, Vec<(Arc<str>, usize)>> {
        sync::lock(&self.0.at_work)
    }

    /// Notes how often the request with this id has come by, as its headers say. Returns `None` for
    /// one that has not.
    ///
    /// # Errors
    ///
    /// [`Failure::Loop`] if it has come by too often.
    pub fn begin_round(
        &self,
        id: &Arc<str>,
        headers: &HeaderMap,
    ) -> Result<Option<Round>, Failure> {
        let elements = hop::elements(headers, &CDN_LOOP);
        match elements.filter(|element| self.is_own(element)).count() {
            0 => Ok(None),
            count if count > ROUNDS => Err(Failure::Loop(count)),
            count => {
                self.at_work().push((Arc::clone(id), count));
                Ok(Some(Round {
                    rounds: self.clone(),
                    id: Arc::clone(id),
                }))
            }
        }
    }

    /// Sets `CDN-Loop` in a head that is sent for the request with this id, so that it says how
    /// often that request has come by. What the field says of other daemons stays.
    pub fn mark_head(&self, headers: &mut HeaderMap, id: &str) {
        let at_work = self.at_work();
        let known = at_work.iter().find(|(other, _)| **other == *id);
        let count = known.map_or(0, |(_, count)| *count);
        drop(at_work);
        let mut list = Vec::new();
        let others = hop::elements(headers, &CDN_LOOP).filter(|element| !self.is_own(element));
        for element in others {
            list.extend_from_slice(element);
            list.extend_from_slice(b", ");
        }
        for _ in 0..count {
            list.extend_from_slice(self.0.name.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(self.0.name.as_bytes());
        // The list is made of valid values and a name.
        if let Ok(value) = HeaderValue::from_bytes(&list) {
            headers.insert(CDN_LOOP, value);
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        let mut at_work = self.rounds.at_work();
        if let Some(at) = at_work.iter().position(|(id, _)| *id == self.id) {
            at_work.swap_remove(at);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_round_is_stopped_whatever_plugins_make_of_it() {
        let (one, other) = (Rounds::new(), Rounds::new());
        let id: Arc<str> = "id".into();
        let mut headers = HeaderMap::new();
        for round in 0..=ROUNDS {
            let working = one.begin_round(&id, &headers).unwrap();
            assert_eq!(working.is_some(), round > 0);
            // A plugin drops the field, or writes it anew, and another daemon is on the way.
            headers.clear();
            headers.insert(CDN_LOOP, HeaderValue::from_static("a.example; x=1,,b"));
            one.mark_head(&mut headers, &id);
            other.mark_head(&mut headers, "another");
            assert!(other.begin_round(&id, &headers).unwrap().is_some());
        }
        let refused = one.begin_round(&id, &headers);
        assert!(matches!(refused, Err(Failure::Loop(count)) if count == ROUNDS + 1));
        let told: Vec<_> = hop::elements(&headers, &CDN_LOOP).collect();
        assert_eq!(told.len(), 2 + ROUNDS + 1 + 1);
        assert_eq!(told[..2], [&b"a.example; x=1"[..], b"b"]);
        // Nothing is left of those that are done.
        assert!(one.at_work().is_empty() && other.at_work().is_empty());
    }

    #[test]
    fn what_a_client_writes_into_the_field_counts_for_itself_alone() {
        let daemon = Rounds::new();
        let mut headers = HeaderMap::new();
        headers.insert(
            CDN_LOOP,
            HeaderValue::from_static("zlayer, zlayer-0, ,;, \"a"),
        );
        assert!(
            daemon
                .begin_round(&"id".into(), &headers)
                .unwrap()
                .is_none()
        );
        let own = format!("{}; hops=9,", daemon.0.name).repeat(ROUNDS + 1);
        headers.insert(CDN_LOOP, own.parse().unwrap());
        assert!(daemon.begin_round(&"id".into(), &headers).is_err());
        let mut others = HeaderMap::new();
        daemon.mark_head(&mut others, "id");
        assert_eq!(others[CDN_LOOP], daemon.0.name);
    }
}
