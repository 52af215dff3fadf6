//! Core dumps: a crashed process's memory as a file, with every secret in it.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches them off, for this process and for those that it starts, so that no crash leaves
/// secrets on the disk. `main` calls this before anything else: secrets are on the command line
/// and in the environment already.
///
/// # Errors
///
/// The system does not allow it. Then whoever runs the daemon should know.
pub fn switch_off() -> io::Result<()> {
    // The hard limit too, so that nothing in the process can raise it again.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}
