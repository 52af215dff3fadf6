//! Where something stands in a file.

use std::fmt;
use std::path::PathBuf;

/// Where something stands in a file. It is shown as `file:line:column`, which editors understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 for the file as a whole.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}:{}", self.column),
        }
    }
}
