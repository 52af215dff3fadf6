//! What the key-value store keeps through kills, damage and each durability.

/// What it costs: memory, and bytes that are written to flash.
mod costs;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::SmallDisk;
use crate::support::{
    Builder, Client, Daemon, TempDir, ask, ask_raw, eventually, get, request, under_qemu,
};

fn counter(folder: &Path, durability: &str) -> Builder {
    Daemon::builder("counter")
        .arg("--data-dir")
        .arg(folder)
        .args(["--kv-durability", durability])
}

fn text(daemon: &Daemon, path: &str) -> String {
    let answer = get(daemon, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn put(daemon: &Daemon, path: &str, body: &str) {
    let answer = request(daemon, "PUT", path, &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

/// Counts up at `path` until the daemon is gone; each count is noted before it is asked for, and
/// when it was acknowledged.
fn count_up(daemon: &Daemon, path: &str, asked: &AtomicU64, acknowledged: &AtomicU64) {
    let Ok(mut client) = Client::try_connect(daemon) else {
        return;
    };
    let ask = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    loop {
        asked.fetch_add(1, Ordering::SeqCst);
        if client.try_send(&ask).is_err() {
            return;
        }
        match client.try_read_response() {
            Ok(answer) if answer.status == 200 => acknowledged.fetch_add(1, Ordering::SeqCst),
            _ => return,
        };
    }
}

#[test]
fn nothing_that_was_acknowledged_under_sync_is_lost_to_a_kill() {
    let folder = TempDir::new();
    let (asked, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..if under_qemu() { 6 } else { 12 } {
        let mut daemon = counter(folder.path(), "sync").start();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| count_up(&daemon, "/incr/n", &asked, &acknowledged));
            }
            let before = acknowledged.load(Ordering::SeqCst);
            eventually("counts", || acknowledged.load(Ordering::SeqCst) > before);
            // At another moment of the store's work each time.
            thread::sleep(Duration::from_millis(round * 7 % 31));
            daemon.signal(9);
        });
        assert_eq!(daemon.wait(), 128 + 9);
    }
    let daemon = counter(folder.path(), "sync").start();
    let kept: u64 = text(&daemon, "/incr/n?by=0").parse().unwrap();
    let (asked, acknowledged) = (asked.into_inner(), acknowledged.into_inner());
    assert!(
        (acknowledged..=asked).contains(&kept),
        "{kept} is not between {acknowledged} acknowledged and {asked} asked for"
    );
}

#[test]
fn memory_is_gone_with_the_process_and_interval_stays() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "interval").start();
    put(&daemon, "/set/kept", "a");
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(folder.path(), "memory").start();
    put(&daemon, "/set/forgotten", "b");
    assert_eq!(text(&daemon, "/list/"), "forgotten\n");
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(folder.path(), "interval").start();
    assert_eq!(text(&daemon, "/list/"), "kept\n");
}

#[test]
fn an_interval_write_is_on_the_disk_soon_after() {
    let folder = TempDir::new();
    let mut daemon = counter(folder.path(), "interval").start();
    put(&daemon, "/set/k", "distinctive value");
    let journal = folder.path().join("kv/db/0.jnl");
    eventually("the value on the disk", || {
        let bytes = fs::read(&journal).unwrap_or_default();
        bytes
            .windows(17)
            .any(|window| window == b"distinctive value")
    });
    daemon.signal(9);
    daemon.wait();
    let daemon = counter(folder.path(), "interval").start();
    assert_eq!(text(&daemon, "/get/k"), "distinctive value");
}

#[test]
fn a_kill_takes_what_the_interval_held_and_no_more() {
    let folder = TempDir::new();
    let mut daemon = counter(folder.path(), "interval=100ms").start();
    put(&daemon, "/set/old", "kept");
    let pending = || {
        let status = ask(&folder, "/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["store"]["pending_bytes"].as_u64().unwrap()
    };
    eventually("the change on the disk", || pending() == 0);
    daemon.signal(9);
    daemon.wait();

    let mut daemon = counter(folder.path(), "interval=60m").start();
    assert_eq!(text(&daemon, "/get/old"), "kept");
    put(&daemon, "/set/new", "lost");
    assert!(pending() > 0);
    let told = ask(&folder, "/status.txt").text();
    assert!(told.contains("interval=3600s"), "{told}");
    daemon.signal(9);
    daemon.wait();

    let daemon = counter(folder.path(), "interval=60m").start();
    assert_eq!(text(&daemon, "/list/"), "old\n");
    put(&daemon, "/set/new", "kept by an orderly stop");
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(folder.path(), "interval=60m").start();
    assert_eq!(text(&daemon, "/list/"), "new\nold\n");
}

#[test]
fn plugins_that_share_a_namespace_have_to_keep_it_the_same_way() {
    let shared = || {
        Daemon::builder("counter")
            .with("visit-counter")
            .plugin("counter:kv-namespace=shared")
            .plugin("counter:kv-durability=interval=60s")
            .plugin("visit-counter:kv-namespace=shared")
    };
    let refused = shared().fails_to_pack();
    for part in [
        "services.visit-counter.wasm.kv_namespace: shares the namespace 'shared' with counter",
        "interval=1s and interval=60s",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    shared()
        .plugin("visit-counter:kv-durability=interval=60s")
        .start();
}

#[test]
fn a_torn_journal_is_cut_and_kept_and_told() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "sync").start();
    put(&daemon, "/set/k", "kept");
    assert_eq!(daemon.stop(), 0);
    // fjall alone refuses to open on this: a batch that is there to its end, and is not what was summed.
    let journal = folder.path().join("kv/db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes.truncate(end);
    let batch = bytes.clone();
    let place = bytes.len() + 60;
    bytes.extend(batch);
    bytes[place] ^= 1;
    fs::write(&journal, bytes).unwrap();

    let daemon = counter(folder.path(), "sync").start();
    assert_eq!(text(&daemon, "/get/k"), "kept");
    put(&daemon, "/set/k", "goes on");
    daemon.wait_for_log("no whole batch");
    assert_eq!(
        fs::read_dir(folder.path().join("kv/aside"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(folder.path(), "sync").start();
    assert_eq!(text(&daemon, "/get/k"), "goes on");
}

#[test]
fn a_database_that_is_beyond_repair_is_put_aside_and_told() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "sync").start();
    put(&daemon, "/set/k", "lost");
    assert_eq!(daemon.stop(), 0);
    fs::write(folder.path().join("kv/db/version"), "nonsense").unwrap();
    let daemon = counter(folder.path(), "sync").start();
    assert_eq!(get(&daemon, "/get/k").status, 404);
    daemon.wait_for_log("put aside");
    put(&daemon, "/set/k", "new");
    assert_eq!(text(&daemon, "/get/k"), "new");
}

#[test]
fn a_store_of_another_version_stops_the_start_and_is_kept_when_it_is_told() {
    let folder = TempDir::new();
    let kv = folder.path().join("kv");
    for kept in ["db.version-2", "db.version-2.2"] {
        let daemon = counter(folder.path(), "sync").start();
        assert_eq!(get(&daemon, "/get/k").status, 404);
        put(&daemon, "/set/k", kept);
        assert_eq!(daemon.stop(), 0);
        let own = fs::read(kv.join("db/version")).unwrap();
        fs::write(kv.join("db/version"), b"FJL\x02").unwrap();
        let refused = counter(folder.path(), "sync").fails();
        assert_eq!(refused.code, 1);
        let database = kv.join("db");
        let database = database.to_str().unwrap();
        for part in [database, "version 2", "version 3", "--kv-set-aside"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
        // A plugin that wants no store does not care.
        let daemon = Daemon::builder("hello").data_dir(folder.path()).start();
        assert_eq!(get(&daemon, "/").status, 200);
        assert_eq!(daemon.stop(), 0);
        assert!(!kv.join(kept).exists());
        let daemon = counter(folder.path(), "sync").arg("--kv-set-aside").start();
        daemon.wait_for_log(kept);
        assert_eq!(get(&daemon, "/get/k").status, 404);
        assert_eq!(daemon.stop(), 0);
        // It is whole, for whoever can read it.
        fs::write(kv.join(kept).join("version"), own).unwrap();
    }
    for kept in ["db.version-2", "db.version-2.2"] {
        fs::remove_dir_all(kv.join("db")).unwrap();
        fs::rename(kv.join(kept), kv.join("db")).unwrap();
        let daemon = counter(folder.path(), "sync").start();
        assert_eq!(text(&daemon, "/get/k"), kept);
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_limit_on_the_size_of_files_fails_changes_and_does_not_end_the_daemon() {
    let folder = TempDir::new();
    // Two megabytes: more than the copy of the plugin, less than the journal, which is made when the store opens.
    let daemon = counter(folder.path(), "sync")
        .after("ulimit -f 4000")
        .start();
    // What this guest makes of an error of the store.
    assert_eq!(get(&daemon, "/incr/key").status, 409);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_sync_change_is_not_acknowledged_while_the_stores_folder_is_elsewhere() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "sync").start();
    put(&daemon, "/set/before", "a");
    let (there, elsewhere) = (folder.path().join("kv"), folder.path().join("elsewhere"));
    fs::rename(&there, &elsewhere).unwrap();
    let answer = request(&daemon, "PUT", "/set/lost", &[], b"b");
    assert_eq!(answer.status, 409, "{answer:?}");
    daemon.wait_for_log("was removed or replaced while the daemon runs");
    // No other folder is made in its place.
    daemon.wait_for_log("still cannot write");
    assert!(!there.exists());
    let status = ask(&folder, "/status").text();
    assert!(status.contains("removed or replaced"), "{status}");
    fs::rename(&elsewhere, &there).unwrap();
    daemon.wait_for_log("writes come through again");
    put(&daemon, "/set/after", "c");
    assert_eq!(text(&daemon, "/list/"), "after\nbefore\n");
}

/// Fills a disk with a file of this name, to its last byte.
fn fill(folder: &Path, name: &str) {
    let mut file = fs::File::create(folder.join(name)).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_takes_removals_and_they_make_room() {
    let Some(disk) = SmallDisk::image(48 << 20) else {
        return;
    };
    let folder = disk.folder.path().join("data");
    let daemon = counter(&folder, "sync").start();
    let value = vec![b'v'; 200_000];
    let set =
        |daemon: &Daemon, key: &str| request(daemon, "PUT", &format!("/set/{key}"), &[], &value);
    for number in 0..20 {
        assert_eq!(set(&daemon, &format!("key-{number}")).status, 200);
    }
    fill(disk.folder.path(), "ballast");
    eventually("a change that is refused", || {
        set(&daemon, "more").status == 409
    });
    daemon.wait_for_log("is full: keys can be removed");
    let refused = || {
        set(&daemon, "other")
            .text()
            .contains("its disk is full; keys can be removed")
    };
    eventually("word of why", refused);
    assert_eq!(text(&daemon, "/get/key-1"), "v".repeat(200_000));
    // The next process knows: it does not take what room is left.
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(&folder, "sync").start();
    assert!(set(&daemon, "other").text().contains("once 5 MiB are free"));
    for number in 0..20 {
        let removed = request(&daemon, "POST", &format!("/del/key-{number}"), &[], b"");
        assert_eq!((removed.status, removed.text()), (200, "true".to_owned()));
    }
    assert_eq!(text(&daemon, "/exists/key-1"), "false");
    // Nobody else has made any.
    daemon.wait_for_log("there is room on the disk again");
    assert_eq!(set(&daemon, "other").status, 200);
    let figures = ask_raw(&folder, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").text();
    assert!(
        figures.contains("\nzlayer_kv_restarts_total 0\n"),
        "nothing has failed: {figures}"
    );
    assert_eq!(daemon.stop(), 0);
    let daemon = counter(&folder, "sync").start();
    assert_eq!(text(&daemon, "/exists/other"), "true");
    assert_eq!(text(&daemon, "/exists/key-1"), "false");
}

#[test]
fn quotas_hold_and_can_be_set() {
    let folder = TempDir::new();
    let daemon = counter(folder.path(), "interval")
        .args([
            "--kv-max-keys",
            "2",
            "--kv-quota",
            "1Ki",
            "--kv-max-value-size",
            "600",
        ])
        .start();
    let refused = |path: &str, bytes: usize| {
        let answer = request(&daemon, "PUT", path, &[], &vec![b'x'; bytes]);
        (answer.status, answer.text())
    };
    assert_eq!(refused("/set/a", 601), (409, "value-too-large".to_owned()));
    assert_eq!(refused("/set/a", 600).0, 200);
    assert_eq!(refused("/set/b", 600), (409, "quota-exceeded".to_owned()));
    assert_eq!(refused("/set/b", 10).0, 200);
    assert_eq!(refused("/set/c", 1), (409, "quota-exceeded".to_owned()));
    assert_eq!(text(&daemon, "/list/"), "a\nb\n");
}

#[test]
fn a_plugin_that_needs_no_store_answers_while_there_is_none() {
    let folder = TempDir::new();
    fs::write(folder.path().join("kv"), "in the way").unwrap();
    let daemon = counter(folder.path(), "interval")
        .args(["--kv-max-value-size", "600"])
        .start();
    assert_eq!(text(&daemon, "/instance"), "1");
    let answer = get(&daemon, "/get/k");
    assert_eq!(answer.status, 409);
    assert!(answer.text().starts_with("storage: "), "{}", answer.text());
    // What is too large in any case need not wait for it.
    let large = request(&daemon, "PUT", "/set/k", &[], &[0; 601]);
    assert_eq!(large.text(), "value-too-large");
    fs::remove_file(folder.path().join("kv")).unwrap();
    let asked = Instant::now();
    eventually("a store", || get(&daemon, "/get/k").status == 404);
    println!("the store came {:?} after it could", asked.elapsed());
    put(&daemon, "/set/k", "v");
}
