//! Why an input is refused.

use std::fmt;

/// One thing that is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where it is: a file, an import, an export and the way into its type.
    pub item: String,
    /// What is wrong there.
    pub problem: String,
    /// What would mend it; empty where the problem says so itself.
    pub mend: String,
}

impl Problem {
    /// A problem with its place and its cure.
    pub fn new(
        item: impl Into<String>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Problem {
        Problem {
            item: item.into(),
            problem: problem.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.problem)?;
        match self.mend.is_empty() {
            true => Ok(()),
            false => write!(f, "\n  {}", self.mend),
        }
    }
}

/// An input that is refused, with everything that was found to be wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong, at least one thing.
    pub problems: Vec<Problem>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}
