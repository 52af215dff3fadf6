//! A data folder with a damaged file: what a start makes of it, seen from outside. What each file means is tried in
//! `runtime/src/generations/tests/table.rs`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::{greeting, install, serving, status, verb};
use crate::support::{Daemon, TempDir, bundle, eventually, get};

/// A data folder of a release that has proved itself.
fn good() -> TempDir {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .timeout("trial", "1s")
        .start();
    eventually("it is confirmed", || status(&data)["on_trial"] == false);
    assert_eq!(daemon.stop(), 0);
    data
}

fn file(data: &TempDir, name: &str) -> PathBuf {
    data.path().join("deployment").join(name)
}

fn spoil(path: &PathBuf, bytes: &[u8]) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o400)).unwrap();
}

#[test]
fn where_nobody_knows_what_was_active_the_last_good_one_is_served_and_it_is_said() {
    type Damage = fn(&PathBuf);
    let damages: [Damage; 3] = [
        |active| spoil(active, b"\0\0\0"),
        |active| {
            fs::remove_file(active).unwrap();
            symlink("/etc/hostname", active).unwrap();
        },
        |active| {
            fs::remove_file(active).unwrap();
            fs::create_dir(active).unwrap();
        },
    ];
    let data = good();
    // On trial, and it may be the very one that was to be gone back from.
    assert_eq!(install(&bundle(&greeting(2, "two")), &data).code, 0);
    for damage in damages {
        damage(&file(&data, "active"));
        let shown = verb(&["generations"], &data);
        let told = "the next start goes back to 1: ";
        assert!(shown.stdout.contains(told), "{shown:?}");
        let daemon = serving(&data);
        assert!(get(&daemon, "/").text().starts_with("one "));
        let why = status(&data)["went_back"].to_string();
        assert!(
            why.contains("the last good one is served: ") && why.contains("deployment/active"),
            "{why}"
        );
        assert!(
            daemon.log().contains("deployment/active"),
            "{}",
            daemon.log()
        );
        assert_eq!(daemon.stop(), 0);
        // It is mended by then.
        let daemon = serving(&data);
        assert!(get(&daemon, "/").text().starts_with("one "));
        assert!(status(&data)["went_back"].is_null());
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn where_none_has_proved_itself_a_daemon_says_why_and_is_mended_while_it_runs() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    spoil(&file(&data, "active"), b"");
    let daemon = serving(&data);
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(
        answer
            .text()
            .contains("no generation that is whole has proved itself"),
        "{answer:?}"
    );
    assert!(
        daemon.stdout().contains("deployment/active"),
        "{}",
        daemon.stdout()
    );
    let said = verb(&["rollback", "--to", "1"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("one "));
    assert_eq!(daemon.stop(), 0);
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
}

#[test]
fn a_generation_that_has_lost_a_file_makes_way_at_once() {
    let data = good();
    assert_eq!(install(&bundle(&greeting(2, "two")), &data).code, 0);
    spoil(&file(&data, "generations/2"), b"nonsense");
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
    let why = status(&data)["went_back"].to_string();
    assert!(why.contains("generation 2 is not served"), "{why}");
    assert_eq!(daemon.stop(), 0);
    // The last one goes, too.
    for blob in fs::read_dir(file(&data, "blobs")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    let daemon = serving(&data);
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("generation 1 cannot be served"),
        "{answer:?}"
    );
    let said = install(&bundle(&greeting(3, "three")), &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("three "));
}

#[test]
fn a_trust_list_that_cannot_be_read_stops_the_start_and_is_no_generations_fault() {
    let data = good();
    assert_eq!(install(&bundle(&greeting(2, "two")), &data).code, 0);
    let trust = data.path().join("trust");
    fs::write(&trust, "").unwrap();
    // Its owner's alone, and not as a daemon writes it.
    fs::set_permissions(&trust, PermissionsExt::from_mode(0o600)).unwrap();
    for _ in 0..4 {
        let said = Daemon::of_nothing().data_dir(data.path()).fails();
        assert_eq!(said.code, 10, "{said:?}");
        assert!(said.stderr.contains("nothing is trusted"), "{said:?}");
    }
    fs::remove_file(&trust).unwrap();
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("two "));
}
