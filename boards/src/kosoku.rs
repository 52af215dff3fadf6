//! The Autobahn WebSocket suite: a Python package, fetched once into the target folder.
//!
//! It is no part of `setup`: nothing but one test wants it, and a machine without Python or without a network
//! goes on without it and says so.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Workspace;

/// The package and the version that the tests know the cases of.
const PACKAGE: &str = "kosoku==0.1.0";
/// How long Python may take to make a folder, and to fetch the package.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the program is, if it was fetched.
pub(crate) fn program(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("tools/kosoku/bin/kosoku")
}

/// Fetches it unless it is there; the error is a reason in a few words.
pub(crate) fn fetch(workspace: &Workspace) -> Result<(), &'static str> {
    if program(workspace).exists() {
        return Ok(());
    }
    let folder = workspace.target_dir.join("tools/kosoku");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&folder);
    if !in_time(&mut venv) {
        return Err("no python3 that makes a virtual environment");
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]);
    match in_time(&mut pip) && program(workspace).exists() {
        true => Ok(()),
        false => Err("pip cannot install it"),
    }
}

/// Whether the command ends well before patience does.
fn in_time(command: &mut Command) -> bool {
    let started = Instant::now();
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(None) | Err(_) => {
                // Whether it could be ended does not matter: its work is not used.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_or_fails_is_not_in_time() {
        assert!(!in_time(&mut Command::new("no-such-program-anywhere")));
        assert!(!in_time(&mut Command::new("false")));
        assert!(in_time(&mut Command::new("true")));
    }
}
