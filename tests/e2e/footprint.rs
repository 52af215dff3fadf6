//! What the daemon costs the device: threads and memory.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{
    Client, Daemon, eventually, figures_are_the_daemons, get, request, skipped, under_qemu,
};

/// Threads of a daemon with `--threads 2` that has done all there is to do: its own two, the
/// reactor of sockets and timers, the one that interrupts plugins, two of the store, the one for
/// outgoing requests, and one more that may come and go.
const THREADS: usize = 8;
/// Resident memory when the first answer is out, in KiB, and the part of it that is no copy of a file.
const FIRST_ANSWER_KIB: (u64, u64) = (6 * 1024, 2 * 1024);

/// The names of the daemon's threads, with how many have each.
fn threads(daemon: &Daemon) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
        // A thread may end while we look.
        if let Ok(name) = fs::read_to_string(entry.unwrap().path().join("comm")) {
            *names.entry(name.trim_end().to_owned()).or_default() += 1;
        }
    }
    names
}

#[test]
fn no_runtime_with_a_thread_for_each_core_is_ever_started() {
    for (guest, paths) in [
        ("hello", &["/"] as &[&str]),
        ("echo", &["/download?bytes=100000", "/count"]),
        ("wasi-probe", &["/sleep?ms=20", "/random", "/fs"]),
        ("keyvalue-probe", &["/race", "/write"]),
        (
            "hostile",
            &["/out", "/log-flood?lines=10", "/trap", "/work-after"],
        ),
    ] {
        let daemon = Daemon::builder(guest).args(["--threads", "2"]).start();
        for path in paths {
            get(&daemon, path);
        }
        // Many at once start no more threads than one.
        let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(&daemon)).collect();
        for client in &mut clients {
            client.send(format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", paths[0]));
        }
        for client in &mut clients {
            client.read_response();
        }
        request(&daemon, "POST", "/", &[], &[b'x'; 100_000]);
        let names = threads(&daemon);
        // The emulator keeps the names of threads and adds some of its own.
        assert!(
            !names.keys().any(|name| name.contains("tokio")),
            "{guest}: {names:?}"
        );
        if figures_are_the_daemons() {
            let count: usize = names.values().sum();
            assert!(count <= THREADS, "{guest}: {count} threads: {names:?}");
        }
    }
}

#[test]
fn the_number_of_threads_follows_the_flag_and_not_the_processor() {
    if under_qemu() {
        skipped("the emulator has threads of its own");
        return;
    }
    for (flag, workers) in [("1", 0), ("4", 3)] {
        let daemon = Daemon::builder("hello").args(["--threads", flag]).start();
        assert_eq!(get(&daemon, "/").status, 200);
        // The main thread works too. A new thread has its parent's name for a moment.
        let count = || threads(&daemon).get("worker").copied().unwrap_or(0);
        eventually("the workers", || count() == workers);
        assert!(threads(&daemon).values().sum::<usize>() <= THREADS - 1 + workers);
    }
}

#[test]
fn the_first_answer_takes_little_memory() {
    if under_qemu() {
        skipped("the emulator's own memory would be in the figure");
        return;
    }
    let daemon = Daemon::start("hello");
    assert_eq!(get(&daemon, "/").status, 200);
    let (resident, own) = (daemon.status_kib("VmRSS"), daemon.status_kib("RssAnon"));
    // A binary that was not optimised is many times the size, and most of what it runs is resident.
    let binary = std::env::var_os("ZLAYER_BIN").unwrap();
    if fs::metadata(binary).unwrap().len() >= 32 << 20 {
        return skipped("a binary that is not optimised takes more than that");
    }
    assert!(own < FIRST_ANSWER_KIB.1, "{own} KiB of its own");
    assert!(resident < FIRST_ANSWER_KIB.0, "{resident} KiB");
}

#[test]
fn no_name_is_looked_up_by_the_c_library() {
    // A function that is linked from a shared library is named in the program, and musl's, where it
    // is linked in, brings the name of a file that nothing else here reads.
    let program = fs::read(std::env::var_os("ZLAYER_BIN").unwrap()).unwrap();
    for trace in [&b"getaddrinfo"[..], b"/etc/services"] {
        assert!(!program.windows(trace.len()).any(|bytes| bytes == trace));
    }
}

#[test]
fn transparent_huge_pages_are_off() {
    if under_qemu() {
        skipped("the emulator does not pass the call on");
        return;
    }
    let daemon = Daemon::start("hello");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let mut lines = status.lines();
    match lines.find_map(|line| line.strip_prefix("THP_enabled:")) {
        Some(enabled) => assert_eq!(enabled.trim(), "0"),
        None => skipped("this kernel does not tell: it is older than 5.0"),
    }
}
