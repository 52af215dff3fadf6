//! What holds for whatever header fields come from clients and upstreams. The fuzz targets
//! check it, and so does a test.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::age::{initial_age, lifetime};
use super::conditional::not_modified;
use super::directives::Directives;
use super::excluded::is_for_connection;
use super::vary::{self, Varied};
use crate::message::{endless, wants_events};

/// Reads `request` and `response` as the two heads of an exchange.
pub fn heads(request: &HeaderMap, response: &HeaderMap) {
    for headers in [request, response] {
        let directives = Directives::of(headers);
        assert!(directives.max_age.is_none_or(|seconds| seconds <= 1 << 31));
        for now in [None, Some(SystemTime::UNIX_EPOCH), Some(SystemTime::now())] {
            let age = initial_age(headers, Duration::from_secs(1), now);
            // What is added to it later must not end beyond what can be told.
            assert!(age.checked_add(Duration::from_secs(1 << 40)).is_some());
            let time = lifetime(headers, &directives, now).unwrap_or_default();
            assert!(time.checked_add(Duration::from_secs(1 << 40)).is_some());
        }
        let _ = (wants_events(headers), endless(headers));
        let _ = is_for_connection(headers, &AUTHORIZATION);
        let _ = is_for_connection(headers, &WWW_AUTHENTICATE);
    }
    let _ = not_modified(request, response);
    for name in vary::names(response, &[]).unwrap_or_default() {
        assert!(Varied::of(name.as_str(), request).matches(request));
    }
}

#[cfg(test)]
mod tests {
    use crate::message::fuzz::Heads;
    use crate::mutations;

    #[test]
    fn whatever_heads_say_of_storing_keeps_the_rules() {
        mutations::each("fields", 20_000, |input| {
            let heads = Heads::of(input);
            super::heads(&heads.request, &heads.response);
        });
    }
}
