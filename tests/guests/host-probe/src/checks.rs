//! A list of sentences, of which the first that is not true is told.

use std::fmt::Debug;

/// Counts what held.
pub struct Checks {
    passed: u32,
}

/// The sentence that did not hold.
pub type Failed = String;

impl Checks {
    /// Runs `probe` and answers what the client is told.
    pub fn run(probe: fn(&mut Self) -> Result<(), Failed>) -> Result<String, String> {
        let mut checks = Self { passed: 0 };
        probe(&mut checks)?;
        Ok(format!("ok {} checks", checks.passed))
    }

    /// Holds when `true_so` does.
    pub fn is(&mut self, sentence: &str, true_so: bool) -> Result<(), Failed> {
        if !true_so {
            return Err(format!("not so: {sentence}"));
        }
        self.passed += 1;
        Ok(())
    }

    /// Holds when both are equal, by what they print: the types of the bindings cannot be compared.
    pub fn same<T: Debug>(&mut self, sentence: &str, found: T, expected: T) -> Result<(), Failed> {
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        if found != expected {
            return Err(format!(
                "not so: {sentence} (found {found}, expected {expected})"
            ));
        }
        self.passed += 1;
        Ok(())
    }
}
