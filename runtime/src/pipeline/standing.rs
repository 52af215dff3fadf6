//! How a client stands with a rate limiter, and how it is told.

use http::HeaderMap;
use http::header::HeaderName;

use crate::host::rate_limiter::RateLimitInfo;

/// How a client stands with a limiter, in the units of the header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many requests the client may send in a window.
    pub limit: u64,
    /// How many requests are left in this window.
    pub remaining: u64,
    /// Seconds until the next window begins, rounded up.
    pub reset: u64,
}

impl RateLimit {
    /// Writes `RateLimit-Limit`, `-Remaining` and `-Reset`
    /// (draft-ietf-httpapi-ratelimit-headers-06, the last form with one figure a field).
    pub fn write_fields(&self, headers: &mut HeaderMap) {
        for (name, figure) in [
            ("ratelimit-limit", self.limit),
            ("ratelimit-remaining", self.remaining),
            ("ratelimit-reset", self.reset),
        ] {
            headers.insert(HeaderName::from_static(name), figure.into());
        }
    }
}

impl From<&RateLimitInfo> for RateLimit {
    fn from(info: &RateLimitInfo) -> RateLimit {
        RateLimit {
            limit: info.limit,
            remaining: info.remaining,
            reset: seconds(info.reset_after),
        }
    }
}

/// Nanoseconds as whole seconds, rounded up.
pub(super) fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(0), 0);
        assert_eq!(seconds(1), 1);
        assert_eq!(seconds(30_000_000_000), 30);
        assert_eq!(seconds(30_000_000_001), 31);
        assert_eq!(seconds(u64::MAX), 18_446_744_074);
    }
}
