//! What was found, and what was not, for as long as it may be believed (RFC 1035 section 7.4, RFC
//! 2308).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Found;

/// How many names are kept. With sixteen addresses or the longest error, and the longest name, each
/// takes at most 1.1 KiB.
const NAMES: usize = 128;
/// The longest that addresses are kept, whatever their time says.
const FOUND_MAX: Duration = Duration::from_secs(3600);
/// The longest that a failure is kept.
const FAILED_MAX: Duration = Duration::from_secs(60);

/// A bounded table from names, as they were asked for, to what came of it.
#[derive(Default)]
pub(super) struct Cache {
    names: HashMap<Box<str>, Kept>,
    /// Counts the uses, so that the one used longest ago is known.
    uses: u64,
}

struct Kept {
    found: Found,
    until: Instant,
    used: u64,
}

impl Cache {
    /// What is known of `name`, if that is still good at `now`.
    pub(super) fn get(&mut self, name: &str, now: Instant) -> Option<Found> {
        let kept = self.names.get_mut(name)?;
        if kept.until <= now {
            self.names.remove(name);
            return None;
        }
        self.uses += 1;
        kept.used = self.uses;
        Some(kept.found.clone())
    }

    /// Keeps what was found, for `time` from `now` at most. Where the table is full, what has
    /// expired makes room, then a failure, then what was used longest ago: names that strangers
    /// make up do not drive out those that are there.
    pub(super) fn put(&mut self, name: &str, found: Found, time: Duration, now: Instant) {
        let longest = match found {
            Ok(_) => FOUND_MAX,
            Err(_) => FAILED_MAX,
        };
        let time = time.min(longest);
        if time.is_zero() {
            self.names.remove(name);
            return;
        }
        if self.names.len() >= NAMES && !self.names.contains_key(name) {
            let rank = |kept: &Kept| (kept.until > now, kept.found.is_ok(), kept.used);
            let last = self.names.iter().min_by_key(|(_, kept)| rank(kept));
            if let Some(last) = last.map(|(name, _)| name.clone()) {
                self.names.remove(&last);
            }
        }
        self.uses += 1;
        let kept = Kept {
            found,
            until: now + time,
            used: self.uses,
        };
        self.names.insert(name.into(), kept);
    }

    /// Forgets everything: other servers may say something else.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::super::error::{ResolveError, ResolveFailure};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn found() -> Found {
        Ok(["192.0.2.1".parse().unwrap()].into())
    }

    fn failed() -> Found {
        let detail = "it is not there".to_owned();
        Err(ResolveError::new(ResolveFailure::NotFound, detail))
    }

    #[test]
    fn what_was_found_is_kept_for_its_time_within_bounds() {
        let mut cache = Cache::default();
        let start = Instant::now();
        cache.put("a", found(), SECOND * 60, start);
        assert_eq!(cache.get("a", start + SECOND * 59), Some(found()));
        assert_eq!(cache.get("a", start + SECOND * 60), None);
        cache.put("a", found(), FOUND_MAX * 9, start);
        assert!(cache.get("a", start + FOUND_MAX - SECOND).is_some());
        assert!(cache.get("a", start + FOUND_MAX).is_none());
        cache.put("a", failed(), FOUND_MAX, start);
        assert_eq!(cache.get("a", start + FAILED_MAX - SECOND), Some(failed()));
        assert!(cache.get("a", start + FAILED_MAX).is_none());
        // A time of nothing also ends what was known before.
        cache.put("a", found(), SECOND, start);
        cache.put("a", found(), Duration::ZERO, start);
        assert!(cache.get("a", start).is_none());
    }

    #[test]
    fn failures_make_room_and_then_what_was_used_longest_ago() {
        let mut cache = Cache::default();
        let now = Instant::now();
        for number in 0..NAMES {
            let one = if number == 7 { failed() } else { found() };
            cache.put(&number.to_string(), one, SECOND, now);
        }
        assert!(cache.get("0", now).is_some());
        cache.put("new", found(), SECOND, now);
        assert!(cache.get("7", now).is_none());
        cache.put("newer", found(), SECOND, now);
        assert!(cache.get("1", now).is_none() && cache.get("0", now).is_some());
        assert_eq!(cache.names.len(), NAMES);
        cache.put("late", found(), SECOND, now + SECOND);
        assert_eq!(cache.names.len(), NAMES);
        cache.clear();
        assert!(cache.get("late", now).is_none());
    }
}
