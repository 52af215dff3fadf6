use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::https;
use crate::support::{Daemon, TempDir, eventually, get, skipped, under_qemu};

/// For how long no thread may wake: longer than anything that is done in the daemon again and again, such as
/// writing the log, which waits for ten seconds at most.
const WINDOW: Duration = Duration::from_secs(11);

/// How often each thread of the daemon has gone to sleep: once more with each time that it woke.
fn sleeps(daemon: &Daemon) -> BTreeMap<String, String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let counted = tasks.flatten().filter_map(|task| {
        // A thread may end while we look.
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("voluntary_"))?;
        let id = task.file_name().into_string().unwrap();
        Some((id, line.to_owned()))
    });
    counted.collect()
}

#[test]
fn no_thread_of_an_idle_daemon_wakes() {
    if under_qemu() {
        skipped("the emulator has threads of its own");
        return;
    }
    let data = TempDir::new();
    // It has used the store, whose threads count too, has logged, and has a certificate whose files may change.
    let files = https::Files::new();
    let daemon = files
        .serve(Daemon::builder("counter").data_dir(data.path()), &["first"])
        .start();
    assert_eq!(get(&daemon, "/incr/n").status, 200);
    assert_eq!(https::client::get(&daemon, "/get/n").status, 200);
    // The log is written within ten seconds, and what there is to do after a request comes to an end.
    eventually("a while in which no thread wakes", || {
        let before = sleeps(&daemon);
        thread::sleep(WINDOW);
        before == sleeps(&daemon)
    });
    assert_eq!(get(&daemon, "/incr/n").text(), "2");
}
