//! Disks that say no: full, read-only, failing in the middle. The child writes on and checks every
//! answer: a failed change changed nothing, reads go on, writes come back without a restart of
//! the process, and nothing acknowledged is missing in the end or after it was opened again.
//!
//! Errors come from strace, which lets system calls of the child on single files fail until the child
//! has seen enough and ends it; the full disk is a small tmpfs in a namespace of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use smol::block_on;
use zlayer_runtime::keyvalue::{Durability, KeyValue, KvError, Namespace, StoreState};

use crate::support::{Child, Folder, number, open, sealed, skipped, with};
use crate::trace::may_trace;

/// Children at the same time: most of their life they wait for the next try.
const TOGETHER: usize = 6;
/// Changes that a child makes, a good two memtables of them.
const STEPS: u64 = 160;
/// Longest time until writes have come back: pauses double from 1 s, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the disk that gets full.
const DISK_BYTES: u64 = 12 << 20;

/// Which call on which file of the database fails, from which time on in each thread.
const FAULTS: &[(&str, &str, &str)] = &[
    ("write", "0.jnl", "1+"),
    ("write", "0.jnl", "8+"),
    ("write", "0.jnl", "60..61"),
    ("fdatasync", "0.jnl", "1+"),
    ("fdatasync", "0.jnl", "20..22"),
    ("fsync", "0.jnl", "1+"),
    ("fsync", "0.jnl", "2+"),
    ("ftruncate", "0.jnl", "1+"),
    ("openat", "0.jnl", "1+"),
    ("write", "keyspaces/1/tables/0", "1+"),
    ("write", "keyspaces/1/tables/0", "9+"),
    ("fsync", "keyspaces/1/tables/0", "1+"),
    ("openat", "keyspaces/1/tables/0", "1+"),
    ("fsync", "keyspaces/1/tables", "2+"),
    ("write", "keyspaces/1/v1", "1+"),
    ("fsync", "keyspaces/1/v1", "1+"),
    ("renameat", "keyspaces/1/current", "2+"),
    ("fsync", "keyspaces/1", "4+"),
    ("fsync", ".", "1+"),
    ("fsync", "complete", "1+"),
    ("openat", "keyspaces/0/v0", "1+"),
];
/// Changes that fail before the disk is well again.
const FAILURES: u64 = 3;
/// What a child answers that may not do what it has to.
const NOT_HERE: i32 = 77;

#[test]
fn an_error_of_the_disk_costs_nothing_that_was_acknowledged() {
    let test = "an_error_of_the_disk_costs_nothing_that_was_acknowledged";
    if let Err(why) = may_trace() {
        return skipped(test, &why);
    }
    let errors = ["EIO", "ENOSPC", "EROFS"];
    let runs: Vec<_> = FAULTS.iter().zip(errors.iter().cycle()).collect();
    let mut felt = 0;
    for runs in runs.chunks(TOGETHER) {
        let children: Vec<_> = runs
            .iter()
            .map(|&((call, file, when), error)| {
                let folder = Folder::quick();
                let fault = format!("{call} {file} {when} {error}");
                let child = Child::command("disk_errors::child", &folder.0)
                    .env("ZLAYER_FAULT", &fault)
                    .stdout(Stdio::null())
                    .spawn();
                (fault, child.unwrap(), folder)
            })
            .collect();
        for (fault, mut child, folder) in children {
            let status = child.wait().unwrap();
            if status.code() == Some(NOT_HERE) {
                return skipped(test, "strace may not attach to a running process here");
            }
            assert!(status.success(), "{fault}: {status}");
            if result(&folder) > 0 {
                felt += 1;
            } else {
                println!("disk errors: {fault} was not felt");
            }
        }
    }
    println!("disk errors: {} faults, {felt} felt", runs.len());
    assert!(felt * 4 >= runs.len() * 3, "too few faults were felt");
}

/// Has strace let this process's system calls fail; ends the process if that is not possible.
fn inject(fault: &str, folder: &Path) -> std::process::Child {
    let words: Vec<&str> = fault.split(' ').collect();
    let &[call, file, when, error] = words.as_slice() else {
        panic!("ZLAYER_FAULT={fault}");
    };
    let database = folder.join("kv/db");
    let path = match file {
        "." => database,
        file => database.join(file),
    };
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/null"])
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:error={error}:when={when}")])
        .arg("-P")
        .arg(path)
        .args(["-p", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_traced = || {
        // Of this thread, which starts the store's.
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        !status.contains("TracerPid:\t0\n")
    };
    while !is_traced() {
        if strace.try_wait().unwrap().is_some() {
            std::process::exit(NOT_HERE);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    strace
}

#[test]
fn a_full_disk_refuses_changes_until_it_has_space_again() {
    let test = "a_full_disk_refuses_changes_until_it_has_space_again";
    let folder = Folder::new();
    let child = Child::command("disk_errors::child", &folder.0);
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs \"$ZLAYER_CHILD_FOLDER\" || exit 77\n\"$@\" && cat \"$ZLAYER_CHILD_FOLDER/result\" >&2"
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-r", "-m", "sh", "-c", &script, "sh"])
        .arg(child.get_program())
        .args(child.get_args())
        .env("ZLAYER_FILL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in child.get_envs() {
        unshare.env(name, value.unwrap_or_default());
    }
    let output = match unshare.output() {
        Ok(output) => output,
        Err(error) => return skipped(test, &format!("unshare: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.starts_with("unshare:") {
        return skipped(test, &format!("no disk of its own: {}", said.trim()));
    }
    assert!(output.status.success(), "{said}");
    let failed: u64 = said.trim().lines().last().unwrap().parse().unwrap();
    assert!(failed > 0, "the disk never got full");
}

fn result(folder: &Folder) -> u64 {
    let text = std::fs::read_to_string(folder.0.join("result")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
#[ignore = "the child of the tests above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let fault = std::env::var("ZLAYER_FAULT").ok();
    let mut strace = fault.map(|fault| inject(&fault, &folder));
    // What keeps the store from opening ends, too.
    let mut device = Device::start(&folder, &mut strace);
    let mut filler = None;
    let mut step = 0;
    let mut failed = 0;
    let mut trouble: Option<Instant> = None;
    while step < STEPS {
        if step == STEPS / 2 && number("ZLAYER_FILL").is_some() && filler.is_none() {
            filler = Some(fill(&folder.join("filler")));
        }
        if device.change(step) {
            trouble = None;
            step += 1;
            continue;
        }
        failed += 1;
        device.check("while the disk refuses");
        if failed >= FAILURES {
            heal(&mut strace);
            if filler == Some(true) {
                std::fs::remove_file(folder.join("filler")).unwrap();
                filler = Some(false);
            }
        }
        let since = trouble.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < PATIENCE, "writes do not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    heal(&mut strace);
    assert_ne!(filler, Some(true), "the full disk was never felt");
    device.check("in the end");
    assert_eq!(device.store.status().state, StoreState::Open);
    let failures = device.store.status().failures;
    let restarts = device.store.status().restarts;
    if failed > 0 {
        // Which of the two it is depends on the call that failed, and on what the store was doing.
        assert_ne!(failures + restarts, 0, "failed, but by what?");
    }
    let kept = device.stop();
    let device = Device {
        kept,
        ..Device::start(&folder, &mut None)
    };
    device.check("opened again");
    for aside in device.store.status().aside {
        assert!(aside.is_file(), "a whole database was put aside");
    }
    // A failure that only delayed the start counts, too.
    let felt = failed.max(failures).max(restarts);
    std::fs::write(folder.join("result"), format!("{felt}\n")).unwrap();
}

/// The disk is well again.
fn heal(strace: &mut Option<std::process::Child>) {
    if let Some(mut strace) = strace.take() {
        // The kernel lets go of what it traced.
        strace.kill().unwrap();
        strace.wait().unwrap();
    }
}

/// Takes all the space that is left.
fn fill(path: &Path) -> bool {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    true
}

type Kept = BTreeMap<(bool, String), Vec<u8>>;

struct Device {
    store: KeyValue,
    sync: Namespace,
    interval: Namespace,
    /// What was acknowledged: in `sync` (true) or `interval`, the key, the value.
    kept: Kept,
}

impl Device {
    fn start(folder: &Path, strace: &mut Option<std::process::Child>) -> Device {
        let store = open(&folder.join("kv"));
        let mut namespace = |name, durability| {
            let began = Instant::now();
            loop {
                match block_on(store.namespace(name, &with(durability), None)) {
                    Ok(namespace) => return namespace,
                    Err(KvError::Storage(why)) => {
                        heal(strace);
                        assert!(began.elapsed() < PATIENCE, "does not open: {why}");
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let sync = namespace("sync", Durability::Sync);
        let interval = namespace("interval", Durability::INTERVAL);
        Device {
            store,
            sync,
            interval,
            kept: Kept::new(),
        }
    }

    /// Makes one change; false if the disk refused it.
    fn change(&mut self, step: u64) -> bool {
        let is_sync = !step.is_multiple_of(3);
        let key = format!("key-{}", step % 13);
        // Large enough to fill memtables, small enough for the disk.
        let mut value = sealed(step);
        value.resize(18_000, step as u8);
        let namespace = if is_sync { &self.sync } else { &self.interval };
        let changed = match step % 7 {
            6 => block_on(namespace.delete(&key)).map(|_| None),
            5 => {
                let old = self.kept.get(&(is_sync, key.clone())).map(Vec::as_slice);
                let swap = namespace.compare_and_swap(&key, old, &value);
                block_on(swap).map(|swapped| {
                    assert!(swapped, "nobody else changes {key}");
                    Some(value.clone())
                })
            }
            _ => block_on(namespace.set(&key, &value, None)).map(|()| Some(value.clone())),
        };
        match changed {
            Ok(Some(value)) => drop(self.kept.insert((is_sync, key), value)),
            Ok(None) => drop(self.kept.remove(&(is_sync, key))),
            Err(KvError::Storage(_)) => return false,
            Err(error) => panic!("step {step}: {error}"),
        }
        true
    }

    /// All that was acknowledged is there, and nothing else.
    fn check(&self, when: &str) {
        for (is_sync, namespace) in [(true, &self.sync), (false, &self.interval)] {
            for key in (0..13).map(|key| format!("key-{key}")) {
                let found = self.patient(|| block_on(namespace.get(&key)));
                let kept = self.kept.get(&(is_sync, key.clone()));
                let first = |value: Option<&Vec<u8>>| value.map(|value| value[0]);
                assert!(
                    found.as_ref() == kept,
                    "{key} (sync: {is_sync}) {when}: found {:?}, acknowledged {:?}",
                    first(found.as_ref()),
                    first(kept)
                );
            }
        }
    }

    /// Reads fail only while the database cannot even be opened.
    fn patient<T>(&self, read: impl Fn() -> Result<T, KvError>) -> T {
        let began = Instant::now();
        loop {
            match read() {
                Ok(answer) => return answer,
                Err(error) => assert!(began.elapsed() < PATIENCE, "cannot read: {error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the store once everything is on the disk.
    fn stop(self) -> Kept {
        self.patient(|| block_on(self.sync.set("mark", b"", None)));
        self.store.close();
        self.kept
    }
}
