use std::fs;
use std::path::Path;
use std::thread;

use crate::support::{Builder, Daemon, TempDir, get, may_trace};

/// A daemon whose calls for random numbers are written down in `trace`, and changed by `flags`. It
/// is strace that is put aside, so that the daemon is still this process's child.
fn traced(guest: &str, trace: &Path, flags: &[&str]) -> Builder {
    let words = [
        "strace",
        "-D",
        "-f",
        "-e",
        "trace=getrandom,open,openat",
        "-o",
    ];
    let trace = trace.as_os_str().to_owned();
    let flags = flags.iter().map(Into::into);
    let words = words.iter().map(Into::into).chain([trace]).chain(flags);
    Daemon::builder(guest).through(words)
}

#[test]
fn nothing_waits_for_random_numbers_on_the_way_to_an_answer_that_has_none() {
    if !may_trace() {
        return;
    }
    let folder = TempDir::new();
    let trace = folder.path().join("trace");
    let daemon = traced("hello", &trace, &[]).start();
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
    let trace = fs::read_to_string(trace).unwrap();
    // A call that another thread's comes between has two lines, and the flags are in the second.
    let ended = |line: &&str| line.contains("getrandom") && !line.contains("<unfinished");
    let calls = || trace.lines().filter(ended);
    assert!(calls().count() > 0, "hash tables have keys:\n{trace}");
    let waits = |line: &&str| !line.contains("GRND_NONBLOCK") && !line.contains("GRND_INSECURE");
    let waiting: Vec<_> = calls().filter(waits).collect();
    assert!(waiting.is_empty(), "{waiting:#?}");
    assert!(!trace.contains("\"/dev/random\""), "{trace}");
}

#[test]
fn a_plugin_that_asks_for_random_numbers_waits_by_itself() {
    if !may_trace() {
        return;
    }
    let folder = TempDir::new();
    // The kernel has none for a while, of which the calls of one thread are counted: the first three
    // are the allocator's, with some C libraries, the daemon's own try at the start, and those for keys
    // of hash tables, which no kernel refuses. The daemon asks twenty times a second.
    let none = ["-e", "inject=getrandom:error=EAGAIN:when=4..104"];
    let daemon = traced("wasi-probe", &folder.path().join("trace"), &none)
        .args(["--threads", "1"])
        .start();
    thread::scope(|scope| {
        let random = scope.spawn(|| get(&daemon, "/random"));
        daemon
            .wait_for_log("plugin wasi-probe asks for random numbers, and the kernel has none yet");
        assert_eq!(get(&daemon, "/env").status, 200);
        assert!(!random.is_finished(), "the other was served after it");
        let random = random.join().unwrap();
        assert_eq!((random.status, random.body.len()), (200, 64));
    });
}

#[test]
fn who_refuses_random_numbers_is_named_and_nothing_panics() {
    if !may_trace() {
        return;
    }
    let folder = TempDir::new();
    let trace = folder.path().join("trace");
    // Where the call alone is refused, there is a file.
    let daemon = traced("hello", &trace, &["-e", "inject=getrandom:error=EPERM"]).start();
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
    let refused = traced("hello", &trace, &["-e", "inject=getrandom:error=EIO"]).fails();
    assert_eq!(refused.code, 1, "{refused:?}");
    let told = "the system gives no random numbers; let the daemon call getrandom";
    assert!(refused.stderr.contains(told), "{refused:?}");
}
