//! The caching role. `x-test-cache` in an answer says what becomes of it:
//!
//! - `for MS`: kept this long
//! - `entry MS tag=TAG… vary=NAME… swr=MS`: with tags, with request fields that tell entries apart, stale for a while
//! - `tags N MS`: with N tags
//! - `no` (or nothing), `trap`, `spin`, `wait MS` and then any of these
//!
//! `x-test-cache-key` in a request says what its key is: `key TEXT`, `bytes N`,
//! `empty`, `trap`, `spin`, `wait MS`; else method and path.

use support::{number, unescape, word};

use crate::exports::zlayer::plugin::caching::{CacheDecision, CacheEntry, Guest};
use crate::stage::{Stage, asked, trace};
use crate::zlayer::plugin::common::KeyValue;

const MILLISECOND: u64 = 1_000_000;
const DEFAULT_TTL_MS: u64 = 60_000;

impl Guest for Stage {
    fn cache_policy(
        _method: String,
        _path: String,
        _status: u16,
        headers: Vec<KeyValue>,
    ) -> CacheDecision {
        trace("cache-policy", &headers);
        let asked = asked(&headers, "cache");
        let (verb, rest) = word(&asked);
        match verb {
            "for" => CacheDecision::CacheFor(time(number(rest, DEFAULT_TTL_MS).0)),
            "entry" => CacheDecision::CacheWithTags(entry(rest)),
            "tags" => {
                let (count, rest) = number(rest, 0);
                let mut entry = entry(rest);
                entry.tags = (0..count).map(|i| format!("tag-{i}")).collect();
                CacheDecision::CacheWithTags(entry)
            }
            _ => CacheDecision::NoCache,
        }
    }

    fn cache_key(method: String, path: String, headers: Vec<KeyValue>) -> String {
        trace("cache-key", &headers);
        let asked = asked(&headers, "cache-key");
        let (verb, rest) = word(&asked);
        match verb {
            "key" => unescape(rest),
            "bytes" => "k".repeat(number(rest, 1).0 as usize),
            "empty" => String::new(),
            _ => format!("{method} {path}"),
        }
    }
}

fn entry(words: &str) -> CacheEntry {
    let (ttl, rest) = number(words, DEFAULT_TTL_MS);
    let all = |name: &str| -> Vec<String> {
        let pairs = rest.split_whitespace().filter_map(|w| w.split_once('='));
        let found = pairs.filter(|(key, _)| *key == name);
        found.map(|(_, value)| unescape(value)).collect()
    };
    let stale = all("swr").first().and_then(|ms| ms.parse().ok());
    CacheEntry {
        ttl: time(ttl),
        tags: all("tag"),
        vary: all("vary"),
        stale_while_revalidate: stale.map(time),
    }
}

fn time(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(MILLISECOND)
}
