//! Artifacts of which the engine keeps a large description: it is counted, and refused where it does not fit.

use serde_json::Value;

use crate::support::{Daemon, TempDir, ask, figures_are_the_daemons, get, skipped, under_qemu};

/// Bytes of memory that are reserved at rest.
fn used(data: &TempDir) -> u64 {
    let status: Value = serde_json::from_str(&ask(data, "/status").text()).unwrap();
    status["memory"]["used_bytes"].as_u64().unwrap()
}

/// A daemon of this guest with so much memory, and bytes reserved and resident at rest.
fn served(guest: &str) -> (u64, u64) {
    let data = TempDir::new();
    let daemon = Daemon::builder(guest)
        .args(["--memory-max", "64Mi"])
        .data_dir(data.path())
        .start();
    assert_eq!(get(&daemon, "/").status, 200);
    let figures = (used(&data), daemon.status_kib("RssAnon") << 10);
    assert_eq!(daemon.stop(), 0);
    figures
}

#[test]
fn a_large_description_is_charged_and_refused_where_it_does_not_fit() {
    for guest in ["many-names", "many-types"] {
        let refused = Daemon::builder(guest)
            .args(["--memory-max", "16Mi"])
            .fails();
        let told = "the engine's description of its code takes ";
        assert!(refused.stderr.contains(told), "{refused:?}");
        assert!(refused.stderr.contains("--memory-max"), "{refused:?}");
    }
    let (without, without_resident) = served("hello");
    for guest in ["many-names", "many-types"] {
        let (with, with_resident) = served(guest);
        assert!(with > without + (4 << 20), "{guest}: {with} and {without}");
        if figures_are_the_daemons() {
            // What the process has more is what is charged, but for what the allocator rounds.
            let (more, charged) = (with_resident - without_resident, with - without);
            assert!(charged + (1 << 20) > more, "{guest}: {charged} of {more}");
        }
    }
}

#[test]
fn a_description_that_does_not_fit_is_refused_before_it_is_read() {
    if under_qemu() {
        return skipped("the limit would be the emulator's");
    }
    // The description takes more than that.
    let refused = Daemon::builder("many-types")
        .args([
            "--memory-max",
            "12Mi",
            "--max-instances",
            "1",
            "--threads",
            "1",
        ])
        .after(&format!("ulimit -d {}", 24 << 10))
        .fails();
    let told = "the engine's description of its code takes ";
    assert!(refused.stderr.contains(told), "{refused:?}");
}
