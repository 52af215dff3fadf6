//! A rate limiter: as many requests a minute for each client as the configuration's `limit` says, 100
//! without it.

zlayer_plugin::world!("zlayer-rate-limiter");

use crate::exports::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use crate::request_types::PluginRequest;

/// A minute.
const WINDOW: u64 = 60_000_000_000;

struct Plugin;

impl Guest for Plugin {
    fn check(request: PluginRequest) -> RateLimitResult {
        let address = request
            .context
            .iter()
            .find(|entry| entry.key == "client_ip");
        let client = address.map_or("", |entry| &entry.value);
        // Each window has a counter of its own, so the count is exact however many come at once.
        let counter = counter(client, request.timestamp);
        let count = match crate::keyvalue::increment(&counter, 1) {
            Ok(count) => u64::try_from(count).unwrap_or(u64::MAX),
            Err(error) => {
                // A store that fails lets requests pass. Return `Denied` where that is worse.
                crate::logging::error(&format!("{client} is not counted: {error}"));
                0
            }
        };
        if count == 1 {
            forget(client, &counter);
        }
        let info = info(count, request.timestamp);
        match count > info.limit {
            true => RateLimitResult::Denied(info),
            false => RateLimitResult::Allowed(info),
        }
    }

    fn status(client: String) -> Option<RateLimitInfo> {
        let now = crate::clock::now();
        let stored = crate::keyvalue::get(&counter(&client, now))
            .ok()
            .flatten()?;
        let count = i64::from_le_bytes(stored.try_into().ok()?);
        Some(info(u64::try_from(count).unwrap_or(0), now))
    }
}

fn counter(client: &str, now: u64) -> String {
    format!("{client}@{}", now / WINDOW)
}

/// Deletes the client's counters of other windows.
fn forget(client: &str, counter: &str) {
    let old = crate::keyvalue::list_keys(&format!("{client}@")).unwrap_or_default();
    for key in old.iter().filter(|key| *key != counter) {
        // What stays is deleted in the next window.
        let _ = crate::keyvalue::delete(key);
    }
}

fn info(count: u64, now: u64) -> RateLimitInfo {
    let limit = crate::config::get_int("limit").unwrap_or(100);
    let limit = u64::try_from(limit).unwrap_or(0);
    let left = WINDOW - now % WINDOW;
    RateLimitInfo {
        remaining: limit.saturating_sub(count),
        limit,
        reset_after: left,
        retry_after: (count > limit).then_some(left),
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::KeyValue;
    use crate::request_types::HttpMethod;
    use std::time::Duration;
    use zlayer_plugin::double::Host;

    fn is_allowed(client: &str) -> bool {
        let verdict = Plugin::check(PluginRequest {
            request_id: "1".to_owned(),
            path: "/".to_owned(),
            method: HttpMethod::Get,
            query: None,
            headers: vec![],
            body: vec![],
            timestamp: crate::clock::now(),
            context: vec![KeyValue {
                key: "client_ip".to_owned(),
                value: client.to_owned(),
            }],
        });
        matches!(verdict, RateLimitResult::Allowed(_))
    }

    #[test]
    fn a_window_ends_by_the_clock() {
        let host = Host::new().config("limit", "1");
        assert!(is_allowed("a") && is_allowed("b"));
        assert!(!is_allowed("a"));
        let status = Plugin::status("a".to_owned());
        assert!(status.is_some_and(|status| status.remaining == 0));
        host.advance(Duration::from_secs(60));
        assert!(is_allowed("a"));
        assert_eq!(host.stored_keys().len(), 2, "old counters are deleted");
    }

    #[test]
    fn a_store_that_fails_lets_requests_pass() {
        let host = Host::new().config("limit", "1");
        host.break_store(Some("worn out"));
        assert!(is_allowed("a") && is_allowed("a"));
        assert_eq!(host.logged().len(), 2);
    }
}
