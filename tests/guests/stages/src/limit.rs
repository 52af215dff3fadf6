//! The rate limiter: `x-test-limit` is one of
//!
//! - `allow REMAINING LIMIT RESET_MS`, `deny REMAINING LIMIT RESET_MS RETRY_MS`; without RETRY_MS there is none
//! - `expect KEY=VALUE`: allowed if the context says so, else denied
//! - `trap`, `spin`, `wait MS` and then any of these
//!
//! What is left out is 99 of 100 for a minute. Nothing is allowed.
//!
//! `status` knows the keys that begin with `known`, and counts nothing.

use support::{number, word};

use crate::exports::zlayer::plugin::rate_limiter::{Guest, RateLimitInfo, RateLimitResult};
use crate::stage::{Stage, asked, begin, trace, value};
use crate::zlayer::plugin::request_types::PluginRequest;

const MILLISECOND: u64 = 1_000_000;

impl Guest for Stage {
    fn check(request: PluginRequest) -> RateLimitResult {
        trace("check", &request.headers);
        let asked = asked(&request.headers, "limit");
        let (verb, rest) = word(&asked);
        match verb {
            "deny" => RateLimitResult::Denied(info(rest)),
            "expect" => {
                let (key, expected) = rest.split_once('=').unwrap_or((rest, ""));
                if value(&request.context, key) == Some(expected) {
                    RateLimitResult::Allowed(info(""))
                } else {
                    RateLimitResult::Denied(info(""))
                }
            }
            _ => RateLimitResult::Allowed(info(rest)),
        }
    }

    fn status(key: String) -> Option<RateLimitInfo> {
        trace("status", &[]);
        begin(&key).starts_with("known").then(|| info(""))
    }
}

fn info(figures: &str) -> RateLimitInfo {
    let (remaining, rest) = number(figures, 99);
    let (limit, rest) = number(rest, 100);
    let (reset, rest) = number(rest, 60_000);
    let retry: Option<u64> = word(rest).0.parse().ok();
    RateLimitInfo {
        remaining,
        limit,
        reset_after: reset.saturating_mul(MILLISECOND),
        retry_after: retry.map(|ms| ms.saturating_mul(MILLISECOND)),
    }
}
