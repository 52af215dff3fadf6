use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Builder, Daemon, TempDir, ask, get, may_mount};

/// A daemon on a machine of 64 MB of which so many KiB are available.
fn on_a_machine_with(kib: u32, folder: &Path) -> Builder {
    let told = folder.join("meminfo");
    let text = format!("MemTotal: 60416 kB\nMemAvailable: {kib} kB\nSwapTotal: 0 kB\n");
    fs::write(&told, text).unwrap();
    let mount = r#"mount --bind "$1" /proc/meminfo && shift && exec "$@""#;
    let words = ["unshare", "-m", "sh", "-c", mount, "sh"];
    let words = words.iter().map(Into::into);
    Daemon::builder("hello").through(words.chain([told.into_os_string()]))
}

#[test]
fn a_small_machine_is_served_with_what_it_has() {
    if !may_mount() {
        return;
    }
    let (folder, data) = (TempDir::new(), TempDir::new());
    let daemon = on_a_machine_with(17 << 10, folder.path())
        .data_dir(data.path())
        .start();
    daemon.wait_for_log(
        "memory: --memory-max 12Mi (by default; 17Mi available on this machine), \
         --max-body 384Ki, --max-message 384Ki",
    );
    let status: Value = serde_json::from_str(&ask(&data, "/status").text()).unwrap();
    assert_eq!(status["memory"]["limit_bytes"], 12 << 20);
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_flag_that_asks_for_more_than_there_is_is_warned_of() {
    if !may_mount() {
        return;
    }
    let folder = TempDir::new();
    let daemon = on_a_machine_with(17 << 10, folder.path())
        .args(["--memory-max", "48Mi"])
        .start();
    daemon.wait_for_log("--memory-max 48Mi IS MORE THAN THERE IS: 17Mi available on this machine");
    daemon.wait_for_log("choose at most 14Mi");
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn what_no_freeing_could_give_is_refused_with_the_figures() {
    if !may_mount() {
        return;
    }
    let folder = TempDir::new();
    let refused = on_a_machine_with(17 << 10, folder.path())
        .args(["--memory-max", "60Mi"])
        .fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    let told = "--memory-max: 60Mi is more than there can ever be, 59Mi with swap space";
    assert!(refused.stderr.contains(told), "{refused:?}");
}

#[test]
fn too_little_memory_is_served_with_a_warning_since_more_may_be_there_in_a_moment() {
    if !may_mount() {
        return;
    }
    let folder = TempDir::new();
    let daemon = on_a_machine_with(10 << 10, folder.path()).start();
    daemon
        .wait_for_log("TOO LITTLE MEMORY: 10Mi available on this machine, and a daemon needs 15Mi");
    assert_eq!(get(&daemon, "/").status, 200);
}
