//! The host's interfaces, sentence by sentence of the contract: a probe a piece asserts from
//! inside what can be asserted there, and the tests here look at the rest from outside.

/// `config`.
mod config;
/// `keyvalue` in one life of the daemon and over several.
mod keyvalue;
/// `logging`, as the daemon's standard error shows it.
mod logging;
/// `metrics`, as Prometheus would read them.
mod metrics;
/// A reader of Prometheus' text format that forgives nothing.
mod prometheus;
/// A namespace that is full.
mod quotas;
/// `secrets`, and that nobody tells them.
mod secrets;
/// What WASI shows of the machine.
mod wasi;

use std::path::{Path, PathBuf};

use crate::support::{Daemon, get};

/// Both roles of a probe, by what their paths begin with: the typed handler, and `wasi:http`.
const ROLES: [&str; 2] = ["", "/http"];

/// The text of a path that answers 200.
fn text(daemon: &Daemon, path: &str) -> String {
    let answer = get(daemon, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

/// Asserts that a probe's checks at `path` all hold, and that there are at least `least` of them.
fn holds(daemon: &Daemon, path: &str, least: usize) {
    let answer = get(daemon, path);
    let said = answer.text();
    let failed: Vec<&str> = said.lines().filter(|l| l.starts_with("FAILED ")).collect();
    assert!(failed.is_empty(), "{path}:\n{}", failed.join("\n"));
    let held = said.lines().filter(|l| l.starts_with("ok ")).count();
    let count = format!("{held} of {held} hold");
    assert_eq!(
        (answer.status, said.lines().last()),
        (200, Some(count.as_str())),
        "{path}: {said}"
    );
    assert!(held >= least, "{path}: no more than {held} checks");
}

/// Ends the daemon and answers its whole log.
fn whole_log(mut daemon: Daemon) -> String {
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    daemon.log()
}

/// All files below `folder`.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}
