//! **Rate limiter** (`zlayer:plugin/rate-limiter`): so many requests a window for each client.
//!
//! The host calls `check` for each request that the authenticators let in. `Allowed` lets it go on,
//! `Denied` is 429 with `retry-after`; both put their figures into the response's `ratelimit-*`.
//!
//! A client is the claim `sub` that an authenticator found, else an address: both come from the
//! host. A field that the client sets would let it be somebody new with each request.
//!
//! Configuration: `rate_limits.CLIENT`, requests a window for this client; `rate_limits.default`,
//! for each of the others (100 without it); `window_ms`, the window's length (60,000 without it). They
//! are the `env` of its service in [`deployment.yaml`](../deployment.yaml).
//!
//! Each window has a counter of its own, which is only incremented: the count is exact however many
//! requests come at once. Reading a counter and then writing it would lose some.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ zlayer run per-client-limiter/deployment.yaml --port 8080
//! $ curl -i http://localhost:8080/
//! HTTP/1.1 200 OK
//! ratelimit-limit: 1
//! ratelimit-remaining: 0
//! ...
//!
//! {"method":"GET","path":"/"}
//! $ curl -i http://localhost:8080/
//! HTTP/1.1 429 Too Many Requests
//! ratelimit-limit: 1
//! ratelimit-remaining: 0
//! ...
//! ```

zlayer_plugin::world!("zlayer-rate-limiter");

mod window;

use crate::exports::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use crate::keyvalue::KvError;
use crate::request_types::PluginRequest;
use crate::{clock, config, keyvalue, logging, metrics};
use window::Window;

const MILLISECOND: u64 = 1_000_000;
const DEFAULT_WINDOW_MS: u64 = 60_000;
const DEFAULT_LIMIT: u64 = 100;

struct PerClientLimiter;

impl Guest for PerClientLimiter {
    fn check(request: PluginRequest) -> RateLimitResult {
        let context = |key: &str| request.context.iter().find(|entry| entry.key == key);
        let client = context("claim.sub").or_else(|| context("client_ip"));
        let client = client.map_or("unknown", |entry| &entry.value);
        let (limit, window) = (limit(client), Window::at(request.timestamp, length()));

        metrics::counter_inc("rate_limit_checks_total", 1);
        let count = match keyvalue::increment(&window.counter(client), 1) {
            Ok(count) => u64::try_from(count).unwrap_or(u64::MAX),
            Err(error) => {
                // A store that fails lets requests pass. Return `Denied` where that is worse.
                logging::error(&format!("requests of {client} are not counted: {error}"));
                0
            }
        };
        if count == 1
            && let Err(error) = forget(client, &window)
        {
            logging::warn(&format!("old windows of {client} stay: {error}"));
        }
        if count > limit {
            metrics::counter_inc("rate_limit_exceeded_total", 1);
            return RateLimitResult::Denied(info(0, limit, &window));
        }
        RateLimitResult::Allowed(info(limit - count, limit, &window))
    }

    /// How a client stands, for `GET /rate-limit?key=CLIENT` at the admin socket. Nothing is
    /// counted.
    fn status(client: String) -> Option<RateLimitInfo> {
        let window = Window::at(clock::now(), length());
        // The store writes a counter as eight bytes, the lowest first.
        let stored = keyvalue::get(&window.counter(&client)).ok().flatten()?;
        let count = i64::from_le_bytes(stored.try_into().ok()?);
        let limit = limit(&client);
        let remaining = limit.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Some(info(remaining, limit, &window))
    }
}

/// Deletes the client's counters of windows before the last one. A request that was received in the
/// last window may still be on its way here.
fn forget(client: &str, window: &Window) -> Result<(), KvError> {
    for counter in keyvalue::list_keys(&window::prefix(client))? {
        if window.has_outlived(&counter) {
            keyvalue::delete(&counter)?;
        }
    }
    Ok(())
}

fn limit(client: &str) -> u64 {
    let own = config::get_int(&format!("rate_limits.{client}"));
    let limit = own.or_else(|| config::get_int("rate_limits.default"));
    limit.map_or(DEFAULT_LIMIT, |limit| u64::try_from(limit).unwrap_or(0))
}

/// The length of a window in nanoseconds, at least a millisecond.
fn length() -> u64 {
    let set = config::get_int("window_ms").and_then(|ms| u64::try_from(ms).ok());
    set.unwrap_or(DEFAULT_WINDOW_MS)
        .max(1)
        .saturating_mul(MILLISECOND)
}

/// How a client stands. Whoever has nothing left comes back when the next window begins.
fn info(remaining: u64, limit: u64, window: &Window) -> RateLimitInfo {
    RateLimitInfo {
        remaining,
        limit,
        reset_after: window.left,
        retry_after: (remaining == 0).then_some(window.left),
    }
}

export!(PerClientLimiter);
