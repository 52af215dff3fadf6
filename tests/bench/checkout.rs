//! The source that is measured: where it lies, its commit and its version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::wait_for_output;

/// How long git may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The version of every package of the workspace, this one among them.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What was checked out.
pub(crate) struct Commit {
    /// Its hash.
    pub(crate) hash: String,
    /// Whether files differ from it. Recorded figures and their page do not count: recording
    /// changes them.
    pub(crate) is_changed: bool,
}

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The commit that is checked out.
pub(crate) fn commit(root: &Path) -> Result<Commit> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(root).args(args);
        wait_for_output(command, LIMIT).context("cannot tell which commit is measured")
    };
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        ":(exclude)docs/figures",
        ":(exclude)docs/figures.md",
    ])?;
    Ok(Commit {
        hash: git(&["rev-parse", "HEAD"])?.trim().to_owned(),
        is_changed: !changed.trim().is_empty(),
    })
}

/// Today, in UTC, as `2026-01-31`.
pub(crate) fn today() -> Result<String> {
    let mut command = Command::new("date");
    command.args(["-u", "+%Y-%m-%d"]);
    Ok(wait_for_output(command, LIMIT)?.trim().to_owned())
}
