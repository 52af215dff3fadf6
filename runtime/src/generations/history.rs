//! Which generations were active, and which one is.

use std::fmt;

/// Generations before the active one that are kept: what a device goes back to where the new one does not do,
/// and one more where that was no better.
pub const KEPT_BEFORE: usize = 2;

/// The numbers of the generations that were active, the newest first. As a file it is a line for each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct History(Vec<u64>);

impl History {
    /// These, as far as they are kept.
    pub(super) fn of(numbers: Vec<u64>) -> History {
        let mut history = History(numbers);
        history.0.truncate(1 + KEPT_BEFORE);
        history
    }

    /// Reads the file. None where it makes no sense.
    pub(super) fn read(bytes: &[u8]) -> Option<History> {
        let text = std::str::from_utf8(bytes).ok()?;
        // A text without an end was cut off, maybe in the middle of a number.
        let lines = text.strip_suffix('\n')?.split('\n');
        let numbers: Option<Vec<u64>> = lines.map(|line| line.parse().ok()).collect();
        Some(History::of(numbers?))
    }

    /// The history once this one is active.
    pub(super) fn with(&self, number: u64) -> History {
        let others = self.0.iter().copied().filter(|one| *one != number);
        History::of(std::iter::once(number).chain(others).collect())
    }

    /// The active one, then those before.
    pub(super) fn numbers(&self) -> &[u64] {
        &self.0
    }

    /// The active one.
    pub(super) fn active(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// Those that were active before, the newest first.
    pub(super) fn before(&self) -> &[u64] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl fmt::Display for History {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|number| writeln!(f, "{number}"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_active_one_comes_first_and_each_once() {
        let history = History::default().with(1).with(2).with(3).with(2);
        assert_eq!(history.numbers(), [2, 3, 1]);
        assert_eq!(history.active(), Some(2));
        assert_eq!(history.before(), [3, 1]);
        assert!(History::default().before().is_empty());
        assert_eq!(history.with(4).numbers(), [4, 2, 3]);
        assert_eq!(
            History::read(history.to_string().as_bytes()).unwrap(),
            history
        );
    }

    #[test]
    fn a_damaged_file_is_none() {
        assert_eq!(History::read(b"7\n").unwrap().numbers(), [7]);
        for damaged in ["", "\n", "1", "12\n1", "a\n", "1\n\n", "-1\n", "\0\0\0\n"] {
            assert_eq!(History::read(damaged.as_bytes()), None, "{damaged:?}");
        }
        assert_eq!(History::read(b"\xff\n"), None);
    }
}
