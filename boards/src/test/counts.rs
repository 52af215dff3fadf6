//! What test programs say of themselves: how many tests passed, and which could not run.

use std::fmt;
use std::ops::AddAssign;

/// How a line begins in which a test says why it cannot run here.
const SKIPPED: &str = "skipped: ";

/// The sums over all test programs of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tests that passed, those among them that said that they cannot run here.
    pub(super) passed: u64,
    /// Tests that failed.
    pub(super) failed: u64,
    /// Tests that were not asked for.
    pub(super) left_out: u64,
    /// What tests said that could not run, a line each.
    pub(super) skipped: Vec<String>,
}

impl Counts {
    /// Reads what test programs printed.
    pub(super) fn of(output: &str) -> Counts {
        let mut counts = Counts::default();
        for line in output.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                let of = |what: &str| {
                    let mut parts = result.split([';', '.']);
                    let part = parts.find_map(|part| part.strip_suffix(what));
                    part.and_then(|number| number.trim().parse::<u64>().ok())
                        .unwrap_or_default()
                };
                counts.passed += of(" passed");
                counts.failed += of(" failed");
                counts.left_out += of(" filtered out");
            // With one thread the name of the test stands on the line already.
            } else if let Some((_, reason)) = line.split_once(SKIPPED) {
                counts.skipped.push(reason.to_owned());
            }
        }
        counts
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
        self.skipped.extend(other.skipped.iter().cloned());
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_programs_are_summed() {
        let output = "running 3 tests\n\
            test a ... ok\n\
            skipped: b: there is no nginx\n\
            test b ... skipped: c: an emulator\nok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 20 filtered out; finished in 0.52s\n\
            \n\
            test result: FAILED. 17 passed; 2 failed; 1 ignored; 0 measured; 1 filtered out; finished in 1.00s\n";
        let mut sum = Counts::of(output);
        assert_eq!(sum.to_string(), "20 passed, 2 failed");
        assert_eq!(sum.left_out, 21);
        assert_eq!(sum.skipped, ["b: there is no nginx", "c: an emulator"]);
        sum += &Counts::of("nothing of the kind\n");
        sum += &sum.clone();
        assert_eq!(sum.to_string(), "40 passed, 4 failed");
    }
}
