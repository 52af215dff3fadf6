//! The plugin guide's caching plugin: what is below `/api/` is kept for five
//! minutes with a tag for its resource, what is below `/static/` for an hour,
//! if it is a good answer to a GET that does not forbid it.
//!
//! The guide writes it under `zlayer-plugin`, which exports the handler alone.
//! `zlayer-cache` is the world whose export it is.

wit_bindgen::generate!({ world: "zlayer-cache", path: "../../../wit", generate_all });

use exports::zlayer::plugin::caching::{CacheDecision, CacheEntry, Guest};
use zlayer::plugin::common::KeyValue;

const MINUTE: u64 = 60_000_000_000;

struct SmartCache;

impl Guest for SmartCache {
    fn cache_policy(
        method: String,
        path: String,
        status: u16,
        headers: Vec<KeyValue>,
    ) -> CacheDecision {
        let control = value(&headers, "cache-control").unwrap_or_default();
        let forbidden = control.contains("no-store") || control.contains("private");
        if method != "GET" || status != 200 || forbidden {
            CacheDecision::NoCache
        } else if path.starts_with("/api/") {
            CacheDecision::CacheWithTags(CacheEntry {
                ttl: 5 * MINUTE,
                tags: vec![format!("api:{}", resource(&path))],
                vary: vec!["authorization".to_owned(), "accept".to_owned()],
                stale_while_revalidate: Some(MINUTE),
            })
        } else if path.starts_with("/static/") {
            CacheDecision::CacheFor(60 * MINUTE)
        } else {
            CacheDecision::NoCache
        }
    }

    fn cache_key(method: String, path: String, headers: Vec<KeyValue>) -> String {
        let accept = value(&headers, "accept").unwrap_or("*/*");
        format!("{method}:{path}:{accept}")
    }
}

/// The first two parts of a path: `api/users` of `/api/users/7`.
fn resource(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts[..parts.len().min(2)].join("/")
}

fn value<'a>(headers: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let field = headers
        .iter()
        .find(|field| field.key.eq_ignore_ascii_case(name));
    field.map(|field| field.value.as_str())
}

export!(SmartCache);

#[cfg(test)]
mod tests {
    use super::resource;

    #[test]
    fn a_resource_is_two_parts() {
        assert_eq!(resource("/api/users/7"), "api/users");
        assert_eq!(resource("/api/"), "api");
        assert_eq!(resource("//api//a"), "api/a");
    }
}
