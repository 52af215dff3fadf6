//! How often a generation was started that has not proved itself since.

use std::fmt;

/// Starts that were begun and not confirmed. As a file it is a line `NUMBER STARTS` for the active generation, and
/// one for that which is about to become so or was it before: the count of neither is lost where power fails
/// between this file and `active`. A generation without a line was not started since it became active.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Trial(Vec<(u64, u32)>);

impl Trial {
    /// Reads the file. None where it makes no sense.
    pub(super) fn read(bytes: &[u8]) -> Option<Trial> {
        let text = std::str::from_utf8(bytes).ok()?;
        // A text without an end was cut off, maybe in the middle of a number.
        let lines = text.strip_suffix('\n')?.split('\n');
        let lines = lines.map(|line| {
            let (number, starts) = line.split_once(' ')?;
            Some((number.parse().ok()?, starts.parse().ok()?))
        });
        lines.collect::<Option<_>>().map(Trial)
    }

    /// How often a generation was started.
    pub(super) fn starts(&self, number: u64) -> u32 {
        let found = self.0.iter().find(|(one, _)| *one == number);
        found.map_or(0, |(_, starts)| *starts)
    }

    /// The file once this one was started so often.
    pub(super) fn with(&self, number: u64, starts: u32) -> Trial {
        let others = self.0.iter().copied().filter(|(one, _)| *one != number);
        let this = (starts > 0).then_some((number, starts));
        Trial(others.chain(this).collect())
    }

    /// Without those that are not `wanted`.
    pub(super) fn of(&self, wanted: Option<u64>) -> Trial {
        let wanted = |number| wanted == Some(number);
        let all = self.0.iter().copied();
        Trial(all.filter(|(number, _)| wanted(*number)).collect())
    }
}

impl fmt::Display for Trial {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.iter();
        all.try_for_each(|(number, starts)| writeln!(f, "{number} {starts}"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_a_count_of_its_own() {
        let trial = Trial::default().with(4, 2).with(5, 1).with(4, 3);
        assert_eq!(
            (trial.starts(4), trial.starts(5), trial.starts(6)),
            (3, 1, 0)
        );
        assert_eq!(trial.to_string(), "5 1\n4 3\n");
        assert_eq!(Trial::read(trial.to_string().as_bytes()).unwrap(), trial);
        assert_eq!(trial.with(5, 0).to_string(), "4 3\n");
        assert_eq!(trial.of(Some(5)).to_string(), "5 1\n");
        assert_eq!(trial.of(None), Trial::default());
    }

    #[test]
    fn a_damaged_file_is_none() {
        for damaged in [
            "", "\n", "4", "4\n", "4 1", "4 x\n", " 1\n", "4 1 1\n", "4 -1\n", "4 1\n5", "\0\0\0\n",
        ] {
            assert_eq!(Trial::read(damaged.as_bytes()), None, "{damaged:?}");
        }
        assert_eq!(Trial::read(b"\xff 1\n"), None);
    }
}
