//! The paths of the guide's caching plugin. Its world there, `zlayer-plugin`, exports no caching:
//! that of `zlayer-cache` stands here.

wit_bindgen::generate!({
    world: "zlayer-cache",
    path: "../wit",
});

use crate::common::KeyValue;
use crate::exports::caching::{CacheDecision, CacheEntry, Guest};

struct Pictures;

const MINUTE: u64 = 60_000_000_000;

impl Guest for Pictures {
    fn cache_policy(
        method: String,
        path: String,
        status: u16,
        headers: Vec<KeyValue>,
    ) -> CacheDecision {
        let is_private = headers.iter().any(|h| h.key == "set-cookie");
        if method != "GET" || status != 200 || is_private {
            return CacheDecision::NoCache;
        }
        if path.ends_with(".png") {
            return CacheDecision::CacheFor(60 * MINUTE);
        }
        CacheDecision::CacheWithTags(CacheEntry {
            ttl: MINUTE,
            tags: vec!["pages".to_string()],
            vary: vec!["accept-language".to_string()],
            stale_while_revalidate: Some(MINUTE / 2),
        })
    }

    fn cache_key(_method: String, path: String, _headers: Vec<KeyValue>) -> String {
        path
    }
}

export!(Pictures);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(path: &str, header: &str) -> CacheDecision {
        let header = KeyValue {
            key: header.to_string(),
            value: "x".to_string(),
        };
        Pictures::cache_policy("GET".to_string(), path.to_string(), 200, vec![header])
    }

    #[test]
    fn pictures_stay_longer_than_pages() {
        assert!(matches!(policy("/a.png", "etag"), CacheDecision::CacheFor(ttl) if ttl > MINUTE));
        assert!(matches!(
            policy("/a", "etag"),
            CacheDecision::CacheWithTags(_)
        ));
        assert!(matches!(policy("/a", "set-cookie"), CacheDecision::NoCache));
    }
}
