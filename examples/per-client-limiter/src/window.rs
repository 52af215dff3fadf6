//! Windows of time, and the names of their counters. No host is asked here: it is tested natively.

/// One of the windows of equal length that the time since 1970 is cut into.
pub(crate) struct Window {
    number: u64,
    /// Nanoseconds until the next one begins.
    pub(crate) left: u64,
}

impl Window {
    /// The window of `now`, in nanoseconds since 1970. `length` is not 0.
    pub(crate) fn at(now: u64, length: u64) -> Window {
        Window {
            number: now / length,
            left: length - now % length,
        }
    }

    /// The store's key for what a client did in this window.
    pub(crate) fn counter(&self, client: &str) -> String {
        format!("{}{}", prefix(client), self.number)
    }

    /// Whether a counter belongs to a window before the last one.
    pub(crate) fn has_outlived(&self, counter: &str) -> bool {
        let number = counter
            .rsplit('/')
            .next()
            .and_then(|text| text.parse().ok());
        number.is_some_and(|number: u64| number.saturating_add(1) < self.number)
    }
}

/// What the keys of all of a client's counters begin with.
pub(crate) fn prefix(client: &str) -> String {
    format!("requests/{client}/")
}

#[cfg(test)]
mod tests {
    use super::Window;

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
        assert!(now.has_outlived("requests/a/3"));
        for kept in ["requests/a/4", "requests/a/5", "requests/a/x", ""] {
            assert!(!now.has_outlived(kept), "{kept}");
        }
    }
}
