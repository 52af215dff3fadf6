//! Which generations failed, and why.

use std::fmt;

/// Failures that are remembered: more than there are generations that are kept.
const ALL: usize = 8;
/// Characters of a reason that are kept: a sentence.
const REASON: usize = 300;

/// The generations that failed, the last one at the end. As a file it is a line `NUMBER REASON` for each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Failed(Vec<(u64, String)>);

impl Failed {
    /// Reads the file. None where it makes no sense.
    pub(super) fn read(bytes: &[u8]) -> Option<Failed> {
        let text = std::str::from_utf8(bytes).ok()?;
        // A text without an end was cut off.
        let lines = text.strip_suffix('\n')?.split('\n');
        let lines = lines.map(|line| {
            let (number, reason) = line.split_once(' ')?;
            Some((number.parse().ok()?, one_line(reason)))
        });
        lines.collect::<Option<_>>().map(Failed)
    }

    /// Why this one failed, if it did.
    pub(super) fn reason(&self, number: u64) -> Option<&str> {
        let found = self.0.iter().find(|(one, _)| *one == number);
        found.map(|(_, reason)| reason.as_str())
    }

    /// All, with their reasons.
    pub(super) fn all(&self) -> &[(u64, String)] {
        &self.0
    }

    /// The file once this one failed, too.
    pub(super) fn with(&self, number: u64, reason: &str) -> Failed {
        let mut failed = self.without(number);
        failed.0.push((number, one_line(reason)));
        let too_many = failed.0.len().saturating_sub(ALL);
        failed.0.drain(..too_many);
        failed
    }

    /// The file once this one is trusted again.
    pub(super) fn without(&self, number: u64) -> Failed {
        let others = self.0.iter().filter(|(one, _)| *one != number);
        Failed(others.cloned().collect())
    }

    /// Without those that are not kept.
    pub(super) fn of(&self, kept: &[u64]) -> Failed {
        let all = self.0.iter();
        Failed(all.filter(|(one, _)| kept.contains(one)).cloned().collect())
    }
}

impl fmt::Display for Failed {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.iter();
        all.try_for_each(|(number, reason)| writeln!(f, "{number} {reason}"))
    }
}

/// A reason in one line, short, and with nothing in it that a terminal would obey.
fn one_line(reason: &str) -> String {
    let plain = reason.chars().map(|one| match one.is_control() {
        true => ' ',
        false => one,
    });
    let plain: String = plain.take(REASON).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        let failed = Failed::default().with(4, "trap:\n\x1b[31mout of\tbounds\r\n");
        assert_eq!(failed.to_string(), "4 trap:  [31mout of bounds\n");
        assert_eq!(Failed::read(failed.to_string().as_bytes()).unwrap(), failed);
        let failed = Failed::default().with(4, &"ü".repeat(10_000)).with(5, "");
        assert_eq!(failed.reason(4).unwrap().chars().count(), REASON);
        assert_eq!(failed.reason(5), Some(""));
        assert_eq!(Failed::read(failed.to_string().as_bytes()).unwrap(), failed);
        // Somebody else may have written it.
        let read = Failed::read(b"4 a\x1b[2Jb\n").unwrap();
        assert_eq!(read.reason(4), Some("a [2Jb"));
    }

    #[test]
    fn only_the_last_ones_are_kept_and_each_once() {
        let mut failed = Failed::default();
        for number in 1..=20 {
            failed = failed.with(number, "first").with(number, "again");
        }
        assert_eq!(failed.all().len(), ALL);
        assert_eq!(failed.reason(12), None);
        assert_eq!(failed.reason(13), Some("again"));
        assert_eq!(failed.without(13).reason(13), None);
        assert_eq!(failed.of(&[1, 20]).to_string(), "20 again\n");
    }

    #[test]
    fn a_damaged_file_is_none() {
        for damaged in ["", "\n", "4", "4\n", "4 cut", "x y\n", "4 a\n\n", "\0\0\n"] {
            assert_eq!(Failed::read(damaged.as_bytes()), None, "{damaged:?}");
        }
        assert_eq!(Failed::read(b"4 \xff\n"), None);
    }
}
