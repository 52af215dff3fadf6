//! **Caching** (`zlayer:plugin/caching`): keeps responses below `/api/` for five minutes with a tag
//! for their resource, and those below `/static/` for an hour.
//!
//! The host calls `cache-key` for each GET and HEAD, to look for a stored response. Where it has
//! none, it calls `cache-policy` with the handler's response, whose verdict is one of three:
//!
//! - `NoCache`: not stored;
//! - `CacheFor`: stored for so long;
//! - `CacheWithTags`: stored with tags, by which `zlayer purge TAG` drops it, with the request's
//!   fields that the response depends on (`vary`), and with a time for which it may be served stale
//!   while a new one is fetched.
//!
//! Whatever the plugin says, the host keeps to the rules for shared caches (RFC 9111): `no-store`
//! and `private` are not stored, and what one client is logged in for is not given to another.
//!
//! It reads no configuration and no secrets.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ cd target/wasm32-wasip2/release
//! $ zlayer run --wasm smart_cache.wasm --wasm hello.wasm --port 8080
//! $ curl -i http://localhost:8080/static/logo
//! HTTP/1.1 200 OK
//! cache-status: zlayer; fwd=miss; stored
//! ...
//!
//! {"method":"GET","path":"/static/logo"}
//! $ curl -i http://localhost:8080/static/logo
//! HTTP/1.1 200 OK
//! cache-status: zlayer; hit; ttl=...
//! ...
//!
//! {"method":"GET","path":"/static/logo"}
//! $ curl -i http://localhost:8080/other
//! HTTP/1.1 200 OK
//! cache-status: zlayer; fwd=miss
//! ...
//!
//! {"method":"GET","path":"/other"}
//! ```

zlayer_plugin::world!("zlayer-cache");

use crate::common::KeyValue;
use crate::exports::caching::{CacheDecision, CacheEntry, Guest};

/// The contract's durations are in nanoseconds.
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

    /// Responses with the same key are the same. Host and query belong to every key, asked or not.
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
