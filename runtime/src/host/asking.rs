//! The upstreams that a plugin's requests wait for, so that the log can name one when time is up.

use std::sync::{Arc, Mutex};

use crate::sync;

/// The requests of one plugin whose responses have not begun. There are as many at most as the
/// plugin may have connections to upstreams.
#[derive(Default)]
pub(super) struct Asking {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    number: u64,
    /// The client's request that the plugin works on.
    request: Arc<str>,
    upstream: String,
}

/// One that waits, until this is dropped.
pub(super) struct Asked<'a> {
    asking: &'a Asking,
    number: u64,
}

impl Asking {
    /// Notes that the plugin, at work on `request`, waits for `upstream`.
    pub(super) fn begin(&self, request: Arc<str>, upstream: String) -> Asked<'_> {
        let mut state = sync::lock(&self.state);
        state.last += 1;
        let number = state.last;
        state.waiting.push(Waiting {
            number,
            request,
            upstream,
        });
        Asked {
            asking: self,
            number,
        }
    }

    /// The upstream that the plugin has waited for longest in its work on `request`.
    pub(super) fn upstream_of(&self, request: &str) -> Option<String> {
        let state = sync::lock(&self.state);
        let mut waiting = state.waiting.iter();
        let one = waiting.find(|one| &*one.request == request)?;
        Some(one.upstream.clone())
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = sync::lock(&self.asking.state);
        state.waiting.retain(|one| one.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_request_waits_for_is_known_while_it_waits() {
        let asking = Asking::default();
        let first = asking.begin("1".into(), "a:80".to_owned());
        let second = asking.begin("1".into(), "b:80".to_owned());
        let _other = asking.begin("2".into(), "c:80".to_owned());
        assert_eq!(asking.upstream_of("1").as_deref(), Some("a:80"));
        drop(first);
        assert_eq!(asking.upstream_of("1").as_deref(), Some("b:80"));
        drop(second);
        assert_eq!(asking.upstream_of("1"), None);
        assert_eq!(asking.upstream_of("2").as_deref(), Some("c:80"));
    }
}
