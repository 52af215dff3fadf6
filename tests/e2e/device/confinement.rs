use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::{Builder, Daemon, TempDir, ask, get, key_dir, skipped, under_qemu, zlayer};

/// An account and a group that nobody here has.
const USER: u32 = 54_321;
const GROUP: u32 = 54_322;

/// What the kernel says of each thread of a daemon: the values of a field of its status.
fn of_each_thread(daemon: &Daemon, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let values = tasks.flatten().filter_map(|task| {
        // A thread may end while we look.
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        Some(
            line.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    });
    let values: Vec<String> = values.collect();
    assert!(values.len() > 2, "{values:?}");
    values
}

fn all_are(values: &[String], wanted: &str) -> bool {
    values.iter().all(|value| value == wanted)
}

#[test]
fn what_it_gives_up_holds_for_each_thread_and_is_told_in_one_line() {
    let daemon = Daemon::start("counter");
    assert_eq!(get(&daemon, "/incr/a").status, 200);
    daemon.wait_for_log("confined: account ");
    if under_qemu() {
        return skipped("in part: the emulator keeps what its own threads have");
    }
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("confined: "))
        .unwrap();
    // What a kernel may lack is said behind this word.
    let (holds, _) = line.split_once("; without ").unwrap_or((line, ""));
    assert!(holds.contains("no new privileges, not dumpable"), "{line}");
    assert!(all_are(&of_each_thread(&daemon, "NoNewPrivs:"), "1"));
    // 2 is a filter.
    let filtered = all_are(&of_each_thread(&daemon, "Seccomp:"), "2");
    assert_eq!(filtered, holds.contains("seccomp filter"), "{line}");
    // What lies there of a process that is not dumpable is root's.
    let folder = fs::metadata(format!("/proc/{}/fd", daemon.pid())).unwrap();
    assert_eq!(folder.uid(), 0);
    assert_eq!(daemon.stop(), 0);
}

/// A daemon that becomes another account, with what that account may read.
fn as_another(guest: &str, data: &Path, keys: &TempDir) -> Option<Builder> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can become another account");
        return None;
    }
    let file = keys.path().join("suite.pub");
    fs::copy(key_dir().join("suite.pub"), &file).unwrap();
    fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::builder(guest)
        .keys(Some(keys.path()))
        .data_dir(data);
    Some(daemon.args(["--user", &format!("{USER}:{GROUP}")]))
}

#[test]
fn root_is_dropped_once_the_port_is_bound_and_the_data_folder_is_handed_over() {
    let (folder, keys) = (TempDir::new(), TempDir::new());
    // Folders above it that are missing are made as well.
    let data = folder.path().join("lib/zlayer");
    let Some(daemon) = as_another("counter", &data, &keys) else {
        return;
    };
    // What an earlier one kept that ran as root.
    let earlier = Daemon::builder("counter").data_dir(&data).start();
    assert_eq!(get(&earlier, "/incr/a").text(), "1");
    earlier.wait_for_log("THIS DAEMON RUNS AS ROOT");
    assert_eq!(earlier.stop(), 0);
    // A port that is root's, at an address of loopback that nobody else uses.
    let daemon = daemon
        .args(["--bind", "127.82.69.71", "--port", "81"])
        .start();
    assert_eq!(get(&daemon, "/incr/a").text(), "2");
    let user = format!("{USER} {USER} {USER} {USER}");
    assert!(all_are(&of_each_thread(&daemon, "Uid:"), &user));
    let group = format!("{GROUP} {GROUP} {GROUP} {GROUP}");
    assert!(all_are(&of_each_thread(&daemon, "Gid:"), &group));
    assert!(all_are(
        &of_each_thread(&daemon, "Groups:"),
        &GROUP.to_string()
    ));
    assert!(all_are(
        &of_each_thread(&daemon, "CapEff:"),
        "0000000000000000"
    ));
    daemon.wait_for_log("confined: account 54321, ");
    assert!(!daemon.log().contains("AS ROOT"), "{}", daemon.log());
    for name in [
        "",
        "lock",
        "kv",
        "kv/db",
        "log",
        "artifact.cwasm",
        "admin.sock",
    ] {
        let found = fs::metadata(data.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (USER, GROUP), "{name}");
        assert_eq!(found.mode() & 0o077, 0, "{name}");
    }
    assert_eq!(daemon.stop(), 0);
    // A folder above that keeps it out is named.
    let above = folder.path().join("lib");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o700)).unwrap();
    let refused = as_another("counter", &data, &keys).unwrap().fails();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("chmod o+x"), "{refused:?}");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
    // And once more, from what is that account's now.
    let daemon = as_another("counter", &data, &keys).unwrap().start();
    assert_eq!(get(&daemon, "/incr/a").text(), "3");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_the_process_has_written_is_still_told_by_another_account() {
    // Not every kernel counts it.
    let is_told = fs::read_to_string("/proc/self/io").is_ok_and(|io| io.contains("write_bytes:"));
    let (folder, keys) = (TempDir::new(), TempDir::new());
    let Some(daemon) = as_another("counter", folder.path(), &keys) else {
        return;
    };
    let _daemon = daemon.start();
    let metrics = ask(&folder, "/metrics").text();
    let told = metrics.contains("\nzlayer_process_write_bytes_total ");
    assert_eq!(told, is_told, "{metrics}");
}

#[test]
fn a_folder_that_is_used_for_more_is_not_handed_over() {
    let (folder, keys) = (TempDir::new(), TempDir::new());
    fs::write(folder.path().join("other"), "not the daemon's").unwrap();
    let Some(daemon) = as_another("hello", folder.path(), &keys) else {
        return;
    };
    let refused = daemon.fails();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("it holds other"), "{refused:?}");
    assert_eq!(fs::metadata(folder.path()).unwrap().uid(), 0);
}

#[test]
fn a_start_that_was_bound_to_fail_hands_nothing_over() {
    let (folder, keys) = (TempDir::new(), TempDir::new());
    let data = folder.path().join("data");
    let Some(daemon) = as_another("hello", &data, &keys) else {
        return;
    };
    fs::create_dir(&data).unwrap();
    // That account could not read the keys.
    fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = daemon.fails();
    assert_ne!(refused.code, 0, "{refused:?}");
    assert_eq!(fs::metadata(&data).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_temporary_folder_is_handed_over_and_goes() {
    let (folder, keys) = (TempDir::new(), TempDir::new());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let Some(_) = as_another("hello", folder.path(), &keys) else {
        return;
    };
    let daemon = Daemon::builder("counter")
        .keys(Some(keys.path()))
        .args(["--user", &USER.to_string()])
        .env("TMPDIR", folder.path())
        .start();
    assert_eq!(get(&daemon, "/incr/a").text(), "1");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_account_that_there_is_not_is_named_with_what_makes_it() {
    for (user, said) in [
        (
            "nobody-of-that-name",
            "useradd --system nobody-of-that-name",
        ),
        (
            "1234:no-group-of-that-name",
            "groupadd --system no-group-of-that-name",
        ),
        ("root", "name another account"),
        ("0:1000", "'0' is root"),
        ("1000:0", "that group is root's"),
        (":5", "NAME:GROUP"),
    ] {
        let refused = zlayer(["run", "--wasm", "x", "--user", user]);
        assert_eq!(refused.code, 2, "{refused:?}");
        let named = refused.stderr.contains("--user: ") && refused.stderr.contains(said);
        assert!(named, "{refused:?}");
    }
}
