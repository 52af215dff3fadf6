use std::thread;

use serde_json::Value;

use super::{counter, text};
use crate::support::{Daemon, TempDir, ask, eventually, figures_are_the_daemons};

/// What there is of a store's figures.
struct Figures {
    /// Bytes that the store has handed to the kernel.
    written: u64,
    /// Bytes that count as written for its one plugin.
    spent: u64,
    /// Batches that were written.
    commits: u64,
}

impl Figures {
    /// The present ones, once everything is on the disk.
    fn of(folder: &TempDir) -> Figures {
        let status = || serde_json::from_str::<Value>(&ask(folder, "/status").text()).unwrap();
        eventually("all on the disk", || {
            status()["store"]["pending_bytes"] == 0
        });
        let status = status();
        let figure = |figure: &Value| figure.as_u64().unwrap();
        Figures {
            written: figure(&status["store"]["written_bytes"]),
            spent: figure(&status["plugins"][0]["writes"]["spent_bytes"]),
            commits: figure(&status["store"]["commits"]),
        }
    }
}

/// Has a plugin set keys of so many bytes, in turn.
fn set(daemon: &Daemon, calls: u64, keys: u64, bytes: u64) {
    let path = format!("/bench/set?n={calls}&keys={keys}&bytes={bytes}");
    text(daemon, &path);
}

#[test]
fn what_changes_of_any_size_have_written_counts_as_written() {
    if !figures_are_the_daemons() {
        return;
    }
    for (durability, calls, keys, bytes) in [
        ("interval", 60, 2, 1 << 20),
        ("interval", 60, 8, 1 << 20),
        ("interval", 20_000, 20_000, 1000),
        ("sync", 40, 8, 1 << 20),
        ("sync", 1000, 1000, 100),
    ] {
        let folder = TempDir::new();
        let daemon = counter(folder.path(), durability).start();
        set(&daemon, 1, 1, 1);
        let before = Figures::of(&folder);
        set(&daemon, calls, keys, bytes);
        // What is merged is charged with the next commit.
        set(&daemon, 1, 1, 1);
        let after = Figures::of(&folder);
        let spent = after.spent - before.spent;
        // The journal is written in pages, of which the last is written anew by the next commit.
        let pages = 4096 * (after.commits - before.commits);
        let written = after.written - before.written + pages;
        let case = format!("{durability}, {calls} of {bytes} bytes: {spent} of {written}");
        assert!(
            spent * 10 > written * 7 && spent * 7 < written * 10,
            "{case}"
        );
    }
}

#[test]
fn values_of_a_megabyte_leave_the_process_under_its_ceiling() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "sync")
        .args(["--memory-max", "12Mi", "--threads", "1"])
        .args(["--max-body", "64Ki", "--max-message", "64Ki"])
        .timeout("request", "5m")
        .start();
    set(&daemon, 1, 1, 1);
    let before = daemon.status_kib("VmRSS");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| set(&daemon, 40, 8, 1 << 20));
        }
    });
    if figures_are_the_daemons() {
        let peak = daemon.status_kib("VmHWM").saturating_sub(before);
        // The ceiling, what the process takes for itself, and what one call hands over: see docs/device.md.
        let most = (12 << 10) + (3 << 10) + (4 << 10);
        assert!(peak < most, "{peak} KiB more than before, of {most}");
    }
}
