//! The Autobahn test suite, as the Python package `kosoku` has it.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Daemon, TempDir, run, skipped, under_qemu};

/// How long the suite may take.
const SUITE: Duration = Duration::from_secs(600);

#[test]
fn the_autobahn_cases_pass() {
    let found = Command::new("kosoku")
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return skipped("there is no kosoku on the PATH (pip install kosoku)");
    }
    // The largest messages of 9.1 and 9.2 have 16 MiB, which a plugin holds more than once.
    let daemon = Daemon::builder("websocket-echo")
        .args(["--max-message", "16Mi", "--memory-max", "256Mi"])
        .start();
    let reports = TempDir::new();
    let mut suite = Command::new("kosoku");
    suite
        .args(["-m", "fuzzingclient", "-o"])
        .arg(reports.path());
    // Compression is a feature that device binaries are built without.
    suite.args(["-x", "12.*", "-x", "13.*"]);
    if under_qemu() {
        // Their time limits are those of a machine.
        suite.args(["-x", "9.*"]);
    }
    suite.arg(daemon.addr().to_string());
    let output = run(suite, SUITE);
    assert_eq!(output.code, 0, "{output:?}");
    let passed = if under_qemu() { 247 } else { 301 };
    let verdict = format!("{passed} cases passed");
    assert!(output.stdout.contains(&verdict), "{output:?}");
}
