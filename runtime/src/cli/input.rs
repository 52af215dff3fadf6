//! A file that a verb is given, or standard input.

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::daemon::{STANDARD_INPUT, open_regular};
use crate::error::{Error, Result};

/// What people call it, and what reads it.
///
/// # Errors
///
/// It is no file, or cannot be opened: a named pipe would be waited for until somebody opens its other end.
pub(super) fn open(path: &Path) -> Result<(PathBuf, Box<dyn Read>)> {
    if path == Path::new(STANDARD_INPUT) {
        let input = io::stdin().lock();
        return Ok((PathBuf::from("standard input"), Box::new(input)));
    }
    if path
        .metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
    {
        return Err(Error::Refused(format!(
            "{} is a named pipe: have its content come as standard input, - < {0}",
            path.display()
        )));
    }
    Ok((path.to_owned(), Box::new(open_regular(path)?)))
}
