//! A caching plugin: good answers to GET are kept for as many seconds as the configuration's `seconds`
//! says, 60 without it.

zlayer_plugin::world!("zlayer-cache");

use crate::common::KeyValue;
use crate::exports::caching::{CacheDecision, Guest};

struct Plugin;

impl Guest for Plugin {
    fn cache_policy(
        method: String,
        _path: String,
        status: u16,
        _headers: Vec<KeyValue>,
    ) -> CacheDecision {
        if method != "GET" || status != 200 {
            return CacheDecision::NoCache;
        }
        let seconds = crate::config::get_int("seconds").unwrap_or(60);
        let seconds = u64::try_from(seconds).unwrap_or(0);
        CacheDecision::CacheFor(seconds.saturating_mul(1_000_000_000))
    }

    /// Requests with the same key share an answer.
    fn cache_key(method: String, path: String, _headers: Vec<KeyValue>) -> String {
        format!("{method} {path}")
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    fn policy(method: &str, status: u16) -> CacheDecision {
        Plugin::cache_policy(method.to_owned(), "/".to_owned(), status, vec![])
    }

    #[test]
    fn good_answers_are_kept_as_long_as_configured() {
        let _host = Host::new().config("seconds", "5");
        assert!(matches!(
            policy("GET", 200),
            CacheDecision::CacheFor(5_000_000_000)
        ));
        assert!(matches!(policy("GET", 404), CacheDecision::NoCache));
        assert!(matches!(policy("POST", 200), CacheDecision::NoCache));
    }
}
