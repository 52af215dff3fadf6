//! The log as it grows.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use super::written_log;
use crate::support::{Daemon, PATIENCE, TempDir, get, private_home, wait_at_most, zlayer_command};

/// A running `zlayer logs --follow`.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(data: &Path) -> Follower {
        let mut command = zlayer_command();
        private_home(&mut command, data);
        command.args(["logs", "--follow", "--data-dir"]).arg(data);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // When nobody wants more, its output is closed.
            while output.read_line(&mut line).unwrap() > 0 {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Follower { child, lines }
    }

    fn wait_for(&self, part: &str) {
        while !self.lines.recv_timeout(PATIENCE).unwrap().contains(part) {}
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn following_shows_what_comes_also_of_the_next_run() {
    let folder = TempDir::new();
    let start = || {
        Daemon::builder("full-plugin")
            .args(["--config", "api_key=1"])
            .data_dir(folder.path())
            .start()
    };
    // Before there is a log at all.
    let mut follower = Follower::start(folder.path());
    let daemon = start();
    assert_eq!(get(&daemon, "/api/first").status, 200);
    // No more than information: it comes by itself, while the daemon runs.
    follower.wait_for("] GET /api/first\n");
    assert_eq!(daemon.stop(), 0);
    follower.wait_for("zlayer_runtime::daemon: stopped\n");
    let daemon = start();
    assert_eq!(get(&daemon, "/api/second").status, 200);
    assert_eq!(daemon.stop(), 0);
    follower.wait_for("] GET /api/second\n");
    let pid = Pid::from_raw(follower.child.id() as i32).unwrap();
    // Not SIGINT: whoever started the tests in the background may have had it ignored.
    kill_process(pid, Signal::TERM).unwrap();
    let code = wait_at_most(&mut follower.child, PATIENCE);
    assert_eq!(code, Some(128 + 15));
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let folder = TempDir::new();
    written_log(folder.path(), 1);
    let mut command = zlayer_command();
    private_home(&mut command, folder.path());
    command
        .args(["logs", "--follow", "--data-dir"])
        .arg(folder.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopped") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    // No record comes that could fail to be written.
    drop(output);
    assert_eq!(wait_at_most(&mut child, PATIENCE), Some(0));
}
