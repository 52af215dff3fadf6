//! Which generations have proved themselves.

use std::fmt;

/// The numbers of the generations that were confirmed, that which was so last at the end. As a file it is a
/// line for each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Confirmed(Vec<u64>);

impl Confirmed {
    /// Reads the file. None where it makes no sense.
    pub(super) fn read(bytes: &[u8]) -> Option<Confirmed> {
        let text = std::str::from_utf8(bytes).ok()?;
        // A text without an end was cut off, maybe in the middle of a number.
        let lines = text.strip_suffix('\n')?.split('\n');
        let numbers: Option<Vec<u64>> = lines.map(|line| line.parse().ok()).collect();
        numbers.map(Confirmed)
    }

    /// Whether this one was confirmed.
    pub(super) fn has(&self, number: u64) -> bool {
        self.0.contains(&number)
    }

    /// All, that which was confirmed last at the end.
    pub(super) fn numbers(&self) -> &[u64] {
        &self.0
    }

    /// The file once this one was confirmed, too.
    pub(super) fn with(&self, number: u64) -> Confirmed {
        let others = self.0.iter().copied().filter(|one| *one != number);
        Confirmed(others.chain([number]).collect())
    }

    /// Without those that are not kept.
    pub(super) fn of(&self, kept: &[u64]) -> Confirmed {
        let all = self.0.iter().copied();
        Confirmed(all.filter(|number| kept.contains(number)).collect())
    }
}

impl fmt::Display for Confirmed {
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
    fn the_last_one_stands_at_the_end_and_each_once() {
        let confirmed = Confirmed::default().with(1).with(2).with(1);
        assert_eq!(confirmed.numbers(), [2, 1]);
        assert!(confirmed.has(2) && !confirmed.has(3));
        let read = Confirmed::read(confirmed.to_string().as_bytes());
        assert_eq!(read.unwrap(), confirmed);
        assert_eq!(confirmed.of(&[2, 3]).numbers(), [2]);
    }

    #[test]
    fn a_damaged_file_is_none() {
        for damaged in ["", "\n", "1", "12\n1", "a\n", "1\n\n", "-1\n", "\0\0\0\n"] {
            assert_eq!(Confirmed::read(damaged.as_bytes()), None, "{damaged:?}");
        }
        assert_eq!(Confirmed::read(b"\xff\n"), None);
    }
}
