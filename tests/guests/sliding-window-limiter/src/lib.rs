//! The plugin guide's rate limiter: a counter for each API key, else for each
//! client address, whose time to live is set by the first request of a window.
//! The configuration's `rate_limits.KEY` is the limit, else 100. `window_ms` is
//! ours: the length of the window, else 60 seconds.
//!
//! Incrementing and setting the time to live are two calls, as the guide has
//! it. What another instance counts between the two is lost.

wit_bindgen::generate!({ world: "zlayer-rate-limiter", path: "../../../wit", generate_all });

use exports::zlayer::plugin::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use zlayer::plugin::request_types::PluginRequest;
use zlayer::plugin::{config, keyvalue, metrics};

const DEFAULT_WINDOW: u64 = 60_000_000_000;
const DEFAULT_LIMIT: u64 = 100;

struct SlidingWindowLimiter;

impl Guest for SlidingWindowLimiter {
    fn check(request: PluginRequest) -> RateLimitResult {
        let key = identity(&request);
        let (limit, window) = (limit(&key), window());
        let counter = counter(&key);
        // A store that fails lets requests pass.
        let current = keyvalue::increment(&counter, 1).unwrap_or(1) as u64;
        if current == 1 {
            let _ = keyvalue::set_with_ttl(&counter, &1i64.to_le_bytes(), window);
        }
        metrics::counter_inc("rate_limit_checks_total", 1);
        if current > limit {
            metrics::counter_inc("rate_limit_exceeded_total", 1);
            return RateLimitResult::Denied(RateLimitInfo {
                remaining: 0,
                limit,
                reset_after: window,
                retry_after: Some(window / 2),
            });
        }
        RateLimitResult::Allowed(RateLimitInfo {
            remaining: limit.saturating_sub(current),
            limit,
            reset_after: window,
            retry_after: None,
        })
    }

    fn status(key: String) -> Option<RateLimitInfo> {
        let stored = keyvalue::get(&counter(&key)).ok().flatten();
        let current = stored.map_or(0, |bytes| {
            i64::from_le_bytes(bytes.try_into().unwrap_or_default()) as u64
        });
        let (limit, window) = (limit(&key), window());
        let remaining = limit.saturating_sub(current);
        Some(RateLimitInfo {
            remaining,
            limit,
            reset_after: window,
            retry_after: (remaining == 0).then_some(window / 2),
        })
    }
}

/// Whom a request is counted for.
fn identity(request: &PluginRequest) -> String {
    let api_key = request
        .headers
        .iter()
        .find(|field| field.key.eq_ignore_ascii_case("x-api-key"));
    let address = || {
        request
            .context
            .iter()
            .find(|entry| entry.key == "client_ip")
    };
    let found = api_key.or_else(address);
    found.map_or("anonymous".to_owned(), |entry| entry.value.clone())
}

fn counter(key: &str) -> String {
    format!("ratelimit:{key}:count")
}

fn limit(key: &str) -> u64 {
    let custom = config::get_int(&format!("rate_limits.{key}"));
    custom.map_or(DEFAULT_LIMIT, |limit| limit as u64)
}

/// The length of a window in nanoseconds.
fn window() -> u64 {
    let milliseconds = config::get_int("window_ms").and_then(|ms| u64::try_from(ms).ok());
    milliseconds.map_or(DEFAULT_WINDOW, |ms| ms.saturating_mul(1_000_000))
}

export!(SlidingWindowLimiter);
