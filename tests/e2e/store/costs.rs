use serde_json::Value;

use super::{counter, text};
use crate::support::{Daemon, TempDir, ask, figures_are_the_daemons};

/// Bytes that the store has written, and those that count as written for its one plugin.
fn written(folder: &TempDir) -> (u64, u64) {
    let status: Value = serde_json::from_str(&ask(folder, "/status").text()).unwrap();
    let spent = &status["plugins"][0]["writes"]["spent_bytes"];
    let written = &status["store"]["written_bytes"];
    (written.as_u64().unwrap(), spent.as_u64().unwrap())
}

/// Has the plugin set so many keys in turn, and answers what was written and what counts for each.
fn set(daemon: &Daemon, folder: &TempDir, calls: u64, keys: u64, bytes: u64) -> (u64, u64) {
    let before = written(folder);
    text(daemon, &format!("/bench/set?n={calls}&keys={keys}&bytes={bytes}"));
    let after = written(folder);
    ((after.0 - before.0) / calls, (after.1 - before.1) / calls)
}
