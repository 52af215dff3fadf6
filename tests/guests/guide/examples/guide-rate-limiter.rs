//! The paths of the guide's rate limiter, and the calls of the store that it makes.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "the guide lends an array"
)]

wit_bindgen::generate!({
    world: "zlayer-rate-limiter",
    path: "../wit",
});

use crate::exports::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use crate::request_types::PluginRequest;

struct Turnstile;

/// A second.
const WINDOW: u64 = 1_000_000_000;

impl Guest for Turnstile {
    fn check(request: PluginRequest) -> RateLimitResult {
        let client = request
            .context
            .iter()
            .find(|entry| entry.key == "client_ip");
        let client = client.map(|entry| entry.value.clone()).unwrap_or_default();
        let key = format!("turns:{client}");
        let count = crate::keyvalue::increment(&key, 1).unwrap_or(1) as u64;
        if count == 1 {
            let _ = crate::keyvalue::set_with_ttl(&key, &1i64.to_le_bytes(), WINDOW);
        }
        crate::metrics::counter_inc("turns_total", 1);
        let info = info(count);
        match count > info.limit {
            true => RateLimitResult::Denied(info),
            false => RateLimitResult::Allowed(info),
        }
    }

    fn status(key: String) -> Option<RateLimitInfo> {
        let count = crate::keyvalue::get(&format!("turns:{key}"))
            .ok()
            .flatten()
            .map(|v| i64::from_le_bytes(v.try_into().unwrap_or_default()) as u64)?;
        Some(info(count))
    }
}

fn info(count: u64) -> RateLimitInfo {
    let limit = crate::config::get_int("turns")
        .map(|v| v as u64)
        .unwrap_or(2);
    RateLimitInfo {
        remaining: limit.saturating_sub(count),
        limit,
        reset_after: WINDOW,
        retry_after: if count > limit { Some(WINDOW) } else { None },
    }
}

export!(Turnstile);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::KeyValue;
    use crate::request_types::HttpMethod;
    use std::time::Duration;
    use wit_bindgen::double::Host;

    fn is_allowed(client: &str) -> bool {
        let verdict = Turnstile::check(PluginRequest {
            request_id: "1".to_string(),
            path: "/".to_string(),
            method: HttpMethod::Get,
            query: None,
            headers: vec![],
            body: vec![],
            timestamp: crate::clock::now(),
            context: vec![KeyValue {
                key: "client_ip".to_string(),
                value: client.to_string(),
            }],
        });
        matches!(verdict, RateLimitResult::Allowed(_))
    }

    #[test]
    fn a_client_waits_for_the_next_window() {
        let host = Host::new().config("turns", "1");
        assert!(is_allowed("a") && !is_allowed("a") && is_allowed("b"));
        let status = Turnstile::status("a".to_string());
        assert!(status.is_some_and(|status| status.remaining == 0));
        host.advance(Duration::from_millis(999));
        assert!(!is_allowed("a"));
        host.advance(Duration::from_millis(1));
        assert!(Turnstile::status("a".to_string()).is_none());
        assert!(is_allowed("a"));
        assert_eq!(host.counter("turns_total", &[]), 5);
    }

    #[test]
    fn a_broken_store_lets_everybody_pass() {
        let host = Host::new().config("turns", "1");
        host.break_store(Some("worn out"));
        assert!(is_allowed("a") && is_allowed("a"));
    }
}
