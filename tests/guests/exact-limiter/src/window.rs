//! Windows of time and the names of their counters. No host here: it is tested natively.

use std::fmt::Write;

/// The longest identity, in bytes. Longer ones share a counter.
const MAX_IDENTITY: usize = 256;

/// One of the windows of equal length that time since the epoch is cut into.
pub(crate) struct Window {
    number: u64,
    /// Nanoseconds until the next one begins.
    pub(crate) left: u64,
}

impl Window {
    /// The window of `now`, in nanoseconds since the epoch. `length` is not 0.
    pub(crate) fn at(now: u64, length: u64) -> Self {
        Self {
            number: now / length,
            left: length - now % length,
        }
    }

    /// The store's key for this window's counter.
    pub(crate) fn counter(&self, identity: &str) -> String {
        format!("{}{}", Self::prefix(identity), self.number)
    }

    /// What the keys of all of an identity's counters begin with.
    pub(crate) fn prefix(identity: &str) -> String {
        format!("exact/{identity}/")
    }

    /// Whether `counter` belongs to a window before the last one.
    pub(crate) fn outlived(&self, counter: &str) -> bool {
        let number = counter
            .rsplit('/')
            .next()
            .and_then(|text| text.parse().ok());
        number.is_some_and(|number: u64| number.saturating_add(1) < self.number)
    }
}

/// What came from a client as part of a key of the store. Different texts stay
/// different: what keys cannot hold, and `.` and `/`, is written as `.` and two digits.
pub(crate) fn identity(text: &str) -> String {
    let mut identity = String::new();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b':' => {
                identity.push(byte.into());
            }
            // Writing to a string cannot fail.
            _ => _ = write!(identity, ".{byte:02x}"),
        }
        if identity.len() > MAX_IDENTITY {
            return "too-long.".to_owned();
        }
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_the_next_begins() {
        let first = Window::at(1_999, 1_000);
        assert_eq!((first.number, first.left), (1, 1));
        let second = Window::at(2_000, 1_000);
        assert_eq!((second.number, second.left), (2, 1_000));
        assert_eq!(Window::at(u64::MAX, 1).left, 1);
        assert_ne!(first.counter("a"), second.counter("a"));
    }

    #[test]
    fn the_last_window_is_kept() {
        let now = Window::at(5_000, 1_000);
        assert!(now.outlived("exact/a/3"));
        for kept in ["exact/a/4", "exact/a/5", "exact/a/6", "exact/a/x", ""] {
            assert!(!now.outlived(kept), "{kept}");
        }
    }

    #[test]
    fn identities_are_keys_and_stay_apart() {
        assert_eq!(identity("192.0.2.1"), "192.2e0.2e2.2e1");
        assert_eq!(identity("2001:db8::1"), "2001:db8::1");
        assert_eq!(identity("a b/\u{e9}"), "a.20b.2f.c3.a9");
        assert_ne!(identity("a.20b"), identity("a b"));
        assert_eq!(identity(&"k".repeat(2_000)), "too-long.");
    }
}
