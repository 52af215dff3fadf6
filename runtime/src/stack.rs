//! The stack that the process was started with: `ulimit -s`.

use std::io;

use rustix::process::{Resource, getrlimit};

/// Bytes that the first thread needs. It uses half of them, in the command line and where futures are
/// made, and beyond its stack lies a crash without a word.
const LEAST: u64 = 256 << 10;

/// Whether there is enough of it. `main` asks before it does anything that takes much.
///
/// # Errors
///
/// The limit is lower than what is needed.
pub fn check() -> io::Result<()> {
    match getrlimit(Resource::Stack).current {
        Some(limit) if limit < LEAST => Err(io::Error::other(format!(
            "the stack may have {} KiB and {} are needed: `ulimit -s {1}`",
            limit >> 10,
            LEAST >> 10
        ))),
        _ => Ok(()),
    }
}
