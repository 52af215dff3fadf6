//! `zlayer logs`: shows the ring's records in the form that standard error has.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use zlayer_binlog::{Filter, ReadError, Record, one_line, read};

use crate::error::{Error, Result};
use crate::logger::complain;

/// Writes the records in these files and folders that `filter` accepts to standard output, and what
/// is torn to standard error. With `follow`, goes on until standard output is closed.
pub fn show(paths: &[PathBuf], filter: &Filter, follow: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut show = |record: &Record<'_>| {
        let line = filter.access.then(|| record.combined()).flatten();
        out.write_all(line.unwrap_or_else(|| record.to_string()).as_bytes())
    };
    let mut torn = |what: &str| complain(&format!("zlayer: {}\n", one_line(what)));
    match read(paths, filter, follow, &mut show, &mut torn) {
        Ok(()) => Ok(()),
        // A reader that has seen enough, like `head`, is no failure.
        Err(ReadError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(ReadError::Input { path, source }) => {
            let mut what = format!("cannot read the log {}", path.display());
            if source.kind() == ErrorKind::NotFound {
                what += " (a daemon makes it in its data folder with its first records, within ten seconds)";
            }
            Err(Error::device(what, source))
        }
        Err(unknown @ ReadError::NoPlugin { .. }) => {
            Err(Error::Usage(format!("--plugin: {unknown}")))
        }
        Err(ReadError::Output(error)) => Err(Error::device("cannot show the log", error)),
        Err(other) => Err(Error::device("no log", std::io::Error::other(other))),
    }
}
