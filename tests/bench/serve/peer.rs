//! `wasmtime serve`: which one is taken, and how it is started.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Server, on_path, version, wait_for_output};
use crate::workshop::{COMPILE_LIMIT, Workshop};

/// The series of wasmtime that the daemon links: any release of it is a fair peer.
const SERIES: &str = "48.0.";

/// How to get one.
const INSTALL: &str = "`cargo install wasmtime-cli --version 48.0.8 --locked` installs one, and WASMTIME_BIN names one \
                       that is not on PATH";

/// `wasmtime` and the guest that it compiled for itself.
pub(crate) struct Peer {
    program: PathBuf,
    artifact: PathBuf,
    /// As programs are named in a report.
    pub(crate) version: String,
}

impl Peer {
    /// Finds it and has it compile the guest; or says why there is none.
    pub(crate) fn find(workshop: &Workshop, guest: &Path) -> Result<Result<Peer, String>> {
        let named = env::var_os("WASMTIME_BIN").map(PathBuf::from);
        let Some(program) = named.or_else(|| on_path("wasmtime")) else {
            return Ok(Err(format!(
                "wasmtime is not on PATH, so that its columns and all ratios are missing: {INSTALL}."
            )));
        };
        let version = version(&program).context("the peer, wasmtime")?;
        if !is_of_series(&version) {
            return Ok(Err(format!(
                "{version} is not a {SERIES}x, so that its columns and all ratios are missing: {INSTALL}."
            )));
        }
        let artifact = workshop.path("hello.wasmtime.cwasm");
        let mut command = Command::new(&program);
        command.arg("compile").arg("-o").arg(&artifact).arg(guest);
        wait_for_output(command, COMPILE_LIMIT).context("wasmtime cannot compile the guest")?;
        Ok(Ok(Peer {
            program,
            artifact,
            version,
        }))
    }

    /// Starts it; an instance serves `reuse` requests.
    pub(crate) fn start(&self, log: &Path, reuse: Option<&str>) -> Result<Server> {
        Server::start(log, |port| {
            let mut command = Command::new(&self.program);
            // The guests are built for wasm32-wasip2, whose standard library imports `wasi:cli`.
            command
                .args(["serve", "-S", "cli", "--allow-precompiled", "--addr"])
                .arg(format!("127.0.0.1:{port}"));
            if let Some(reuse) = reuse {
                command.args(["--max-instance-reuse-count", reuse]);
            }
            command.arg(&self.artifact);
            Ok(command)
        })
    }
}

/// Whether `wasmtime --version` says that it is of the daemon's series.
fn is_of_series(version: &str) -> bool {
    let mut words = version.split_whitespace().skip(1);
    words.next().is_some_and(|word| word.starts_with(SERIES))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkout;

    #[test]
    fn any_release_of_the_series_is_a_peer_and_no_other() {
        for version in ["wasmtime 48.0.0", "wasmtime 48.0.12 (0123abcd 2026-08-20)"] {
            assert!(is_of_series(version), "{version}");
        }
        for version in ["wasmtime 48.1.0", "wasmtime 148.0.8", "wasmtime", ""] {
            assert!(!is_of_series(version), "{version}");
        }
    }

    #[test]
    fn the_series_is_the_one_that_the_daemon_links() {
        let manifest = fs::read_to_string(checkout::root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={SERIES}")));
    }
}
