//! The systemd unit of docs/device.md.

use std::fs;
use std::process::Command;

use super::{blocks, page};
use crate::support::{PATIENCE, TempDir, run, skipped};

#[test]
fn systemd_takes_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return skipped("there is no systemd-analyze here");
    }
    let unit = blocks(&page("docs/device.md"), "ini").remove(0);
    // Not installed here: a file that is executable stands for it.
    let own = std::env::var("ZLAYER_BIN").unwrap();
    let here = unit.replace("/usr/bin/zlayer", &own);
    assert_ne!(unit, here, "the unit does not start /usr/bin/zlayer");
    assert!(complaints(&here).is_empty(), "{}", complaints(&here));
    let misspelt = here.replace("StateDirectory=", "StateFolder=");
    assert!(complaints(&misspelt).contains("StateFolder"));
}

/// What `systemd-analyze verify` says of a unit; nothing of one that is well.
fn complaints(unit: &str) -> String {
    let folder = TempDir::new();
    let file = folder.path().join("zlayer.service");
    fs::write(&file, unit).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(&file);
    let output = run(command, PATIENCE);
    // Of other units that it looks at on the way nothing is ours.
    let said = output
        .stderr
        .lines()
        .filter(|line| line.contains("zlayer.service"));
    said.collect::<Vec<_>>().join("\n")
}
