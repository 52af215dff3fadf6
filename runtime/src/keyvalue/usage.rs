//! How much of its quota a namespace uses.

use std::time::{Duration, Instant};

use super::Quota;
use super::entry::Entry;

/// How much of its quota a namespace on the disk uses, and a count that is under way.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) usage: Usage,
    has_counted: bool,
    /// What has been counted up to this key.
    counting: Option<(Usage, Vec<u8>)>,
}

impl Counted {
    /// Whether there is room to be found: a count is under way, or could find less.
    pub(super) fn may_find_less(&self, now: u64) -> bool {
        self.counting.is_some() || self.usage.may_have_expired(now)
    }

    /// Takes up the count that is under way, unless a commit has failed since it began.
    pub(super) fn take_count(&mut self, failures: u64) -> Option<(Usage, Vec<u8>)> {
        let counting = self.counting.take();
        counting.filter(|(usage, _)| usage.failures == failures)
    }

    /// Puts the count back, which goes on behind the key `upto` or has ended. Returns whether it
    /// has.
    pub(super) fn put_count(&mut self, mut usage: Usage, upto: Option<Vec<u8>>) -> bool {
        match upto {
            Some(upto) => {
                self.counting = Some((usage, upto));
                false
            }
            None => {
                usage.counted(!self.has_counted);
                (self.usage, self.has_counted) = (usage, true);
                true
            }
        }
    }

    /// Notes that `new` has replaced `old` under a full key, whose own part has `key_bytes`.
    pub(super) fn change(
        &mut self,
        full: &[u8],
        key_bytes: usize,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) {
        self.usage = self.usage.after(key_bytes, old, new);
        // What lies beyond will be counted as it is then.
        if let Some((usage, upto)) = &mut self.counting
            && full <= upto.as_slice()
        {
            *usage = usage.after(key_bytes, old, new);
        }
    }
}

/// What a namespace holds: all live keys at the last count, and every change since. A key that
/// expires later is included until the next count.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) bytes: u64,
    pub(super) keys: u64,
    /// The store's time of the count. Keys that had expired by then are not included.
    counted_at: u64,
    /// No included key expires before this time: until then a new count would find the same.
    next_expiry: Option<u64>,
    /// How many commits had failed before the count ([`super::store::Store::failures`]).
    pub(super) failures: u64,
    /// How long the count took, but for what was done in between.
    took: Duration,
    /// The next count is not before this: a namespace full of short-lived keys must not be counted
    /// with every call.
    not_before: Option<Instant>,
}

/// A count that takes longer than this may use one part in [`COUNTING_SHARE`] of the time.
const QUICK_COUNT: Duration = Duration::from_millis(50);
const COUNTING_SHARE: u32 = 10;

impl Default for Usage {
    fn default() -> Self {
        Usage::at(0, 0)
    }
}

impl Usage {
    /// An empty usage, to be counted at the store's time `now`.
    pub(super) fn at(now: u64, failures: u64) -> Usage {
        Usage {
            bytes: 0,
            keys: 0,
            counted_at: now,
            next_expiry: None,
            failures,
            took: Duration::ZERO,
            not_before: None,
        }
    }

    /// Adds a stored key. Returns `false` if it has expired and is not included.
    pub(super) fn count(&mut self, key_bytes: usize, stored: &[u8]) -> bool {
        let is_in = self.is_in(stored);
        if is_in {
            self.keys += 1;
            self.bytes += (key_bytes + Entry::stored_bytes(stored)) as u64;
            self.will_expire(Entry::expiry(stored));
        }
        is_in
    }

    /// Notes how long a piece of the count took.
    pub(super) fn worked(&mut self, time: Duration) {
        self.took = self.took.saturating_add(time);
    }

    /// Ends the count. The first one of a namespace says nothing about how often it is wanted.
    fn counted(&mut self, is_first: bool) {
        let took = self.took.min(Duration::from_secs(60));
        if took > QUICK_COUNT && !is_first {
            self.not_before = Some(Instant::now() + took * COUNTING_SHARE);
        }
    }

    /// Forgets when keys expire, which is then told anew for each.
    pub(super) fn forget_expiries(&mut self) {
        self.next_expiry = None;
    }

    /// The usage once `new` has replaced `old` under a key of `key_bytes`.
    pub(super) fn after(&self, key_bytes: usize, old: Option<&[u8]>, new: Option<&[u8]>) -> Usage {
        let mut after = self.clone();
        let size = |stored: &[u8]| (key_bytes + Entry::stored_bytes(stored)) as u64;
        if let Some(old) = old.filter(|old| self.is_in(old)) {
            after.keys = after.keys.saturating_sub(1);
            after.bytes = after.bytes.saturating_sub(size(old));
        }
        if let Some(new) = new {
            after.keys += 1;
            after.bytes += size(new);
            after.will_expire(Entry::expiry(new));
        }
        after
    }

    /// Whether this is within the quota, or at least not further beyond it than `before` is.
    pub(super) fn fits(&self, quota: &Quota, before: &Usage) -> bool {
        let grows = self.bytes > before.bytes || self.keys > before.keys;
        !grows || self.bytes <= quota.bytes && self.keys <= quota.keys
    }

    /// Whether a new count might find less, and may be done already.
    pub(super) fn may_have_expired(&self, now: u64) -> bool {
        self.next_expiry.is_some_and(|at| at <= now)
            && self.not_before.is_none_or(|at| Instant::now() >= at)
    }

    fn is_in(&self, stored: &[u8]) -> bool {
        // A damaged value counts like any other: it can be overwritten or deleted.
        Entry::expiry(stored).is_none_or(|at| at > self.counted_at)
    }

    /// Notes that a key expires at this time.
    pub(super) fn will_expire(&mut self, at: Option<u64>) {
        self.next_expiry = self.next_expiry.into_iter().chain(at).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: &[u8], expires: Option<u64>) -> Vec<u8> {
        Entry { value, expires }.encode()
    }

    #[test]
    fn what_had_expired_at_the_count_is_neither_added_nor_taken_away() {
        let mut usage = Usage::at(100, 0);
        let (old, young) = (stored(b"x", Some(100)), stored(b"x", Some(200)));
        assert!(!usage.count(3, &old));
        assert!(usage.count(3, &young));
        assert_eq!((usage.keys, usage.bytes), (1, 3 + 10));
        assert_eq!(usage.after(3, Some(&old), None).keys, 1);
        assert_eq!(usage.after(3, Some(&young), None).keys, 0);
        assert!(!usage.may_have_expired(199));
        assert!(usage.may_have_expired(200));
    }

    #[test]
    fn only_growth_is_refused() {
        let quota = Quota {
            bytes: 10,
            keys: 1,
            ..Quota::default()
        };
        let mut usage = Usage::at(0, 0);
        usage.count(5, &stored(&[0; 20], None));
        let shrunk = usage.after(
            5,
            Some(&stored(&[0; 20], None)),
            Some(&stored(&[0; 10], None)),
        );
        assert!(shrunk.fits(&quota, &usage));
        let more = usage.after(5, None, Some(&stored(b"", None)));
        assert!(!more.fits(&quota, &usage));
    }
}
