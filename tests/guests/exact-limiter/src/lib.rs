//! A rate limiter that is exact however many requests come at once: a window
//! has a counter of its own, and all that a request does is to increment it.
//!
//! The configuration as for `sliding-window-limiter`: `rate_limits.KEY` and
//! `window_ms`. The key is the API key, else the client's address.

wit_bindgen::generate!({ world: "zlayer-rate-limiter", path: "../../../wit", generate_all });

mod window;

use exports::zlayer::plugin::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use wasi::clocks::wall_clock;
use window::{Window, identity};
use zlayer::plugin::keyvalue::KvError;
use zlayer::plugin::request_types::PluginRequest;
use zlayer::plugin::{config, keyvalue, logging, metrics};

const DEFAULT_WINDOW: u64 = 60_000_000_000;
const DEFAULT_LIMIT: u64 = 100;

struct ExactLimiter;

impl Guest for ExactLimiter {
    fn check(request: PluginRequest) -> RateLimitResult {
        let header = |name: &str| request.headers.iter().find(|field| field.key == name);
        let context = |name: &str| request.context.iter().find(|entry| entry.key == name);
        let key = header("x-api-key").or_else(|| context("client_ip"));
        let key = identity(key.map_or("anonymous", |entry| &entry.value));
        let window = Window::at(request.timestamp, length());
        let limit = limit(&key);

        metrics::counter_inc("rate_limit_checks_total", 1);
        let current = match keyvalue::increment(&window.counter(&key), 1) {
            Ok(current) => u64::try_from(current).unwrap_or(u64::MAX),
            Err(error) => {
                logging::error(&format!("requests of {key} are not counted: {error}"));
                0
            }
        };
        if current == 1
            && let Err(error) = forget(&key, &window)
        {
            logging::warn(&format!("old windows of {key} stay: {error}"));
        }
        if current > limit {
            metrics::counter_inc("rate_limit_exceeded_total", 1);
            return RateLimitResult::Denied(info(0, limit, window.left, true));
        }
        RateLimitResult::Allowed(info(limit - current, limit, window.left, false))
    }

    fn status(key: String) -> Option<RateLimitInfo> {
        let key = identity(&key);
        let now = wall_clock::now();
        let now = now.seconds.saturating_mul(1_000_000_000) + u64::from(now.nanoseconds);
        let window = Window::at(now, length());
        let stored = keyvalue::get(&window.counter(&key)).ok().flatten()?;
        let current = i64::from_le_bytes(stored.try_into().ok()?);
        let limit = limit(&key);
        let remaining = limit.saturating_sub(u64::try_from(current).unwrap_or(u64::MAX));
        Some(info(remaining, limit, window.left, remaining == 0))
    }
}

/// Deletes the counters of windows before the last one. A request that was
/// received in the last window may still be on its way here.
fn forget(key: &str, window: &Window) -> Result<(), KvError> {
    for counter in keyvalue::list_keys(&Window::prefix(key))? {
        if window.outlived(&counter) {
            keyvalue::delete(&counter)?;
        }
    }
    Ok(())
}

fn info(remaining: u64, limit: u64, left: u64, retry: bool) -> RateLimitInfo {
    RateLimitInfo {
        remaining,
        limit,
        reset_after: left,
        retry_after: retry.then_some(left),
    }
}

fn limit(key: &str) -> u64 {
    let custom = config::get_int(&format!("rate_limits.{key}"));
    custom.map_or(DEFAULT_LIMIT, |limit| u64::try_from(limit).unwrap_or(0))
}

/// The length of a window in nanoseconds, at least a millisecond.
fn length() -> u64 {
    let milliseconds = config::get_int("window_ms").and_then(|ms| u64::try_from(ms).ok());
    milliseconds.map_or(DEFAULT_WINDOW, |ms| ms.max(1).saturating_mul(1_000_000))
}

export!(ExactLimiter);
