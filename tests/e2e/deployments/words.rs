//! What the owner of a device is told who gives a verb the wrong file, or whose daemon ends meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::fs::FileType;

use super::trust::Fleet;
use super::{greeting, install, serving, status, verb};
use crate::support::{
    Daemon, Output, PATIENCE, TempDir, artifact, ask_raw, bundle, eventually, get, guests, key_dir,
    wait_at_most, zlayer_command,
};

#[test]
fn a_file_of_another_kind_is_named_with_the_verb_that_takes_it() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(1, "a");
    let list = fleet.list(1, &[]);
    let pipe = fleet.file("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let empty = fleet.file("empty");
    fs::write(&empty, "").unwrap();
    let cut = fleet.file("cut.zlb");
    fs::write(&cut, &fs::read(&bundle).unwrap()[..100]).unwrap();
    let wasm = guests().join("visit-counter.wasm");
    let refusals: [(&str, PathBuf, i32, &str); 13] = [
        (
            "install",
            list,
            11,
            "it is no bundle but a trust list: `zlayer trust` takes it",
        ),
        (
            "install",
            artifact("visit-counter"),
            11,
            "it is no bundle but compiled code: `zlayer run`",
        ),
        (
            "install",
            wasm.clone(),
            11,
            "it is no bundle but WebAssembly: `zlayer-precompile pack`",
        ),
        (
            "install",
            fleet.file("deployment.yaml"),
            11,
            "it is no bundle but text: `zlayer-precompile pack`",
        ),
        (
            "install",
            fleet.file("a.pub"),
            11,
            "it is no bundle but a key",
        ),
        (
            "install",
            empty,
            11,
            "it is no bundle but an empty file: copy it again",
        ),
        ("install", cut, 12, "the bundle ends too early"),
        (
            "install",
            fleet.keys.path().to_owned(),
            1,
            "it is a folder, not a regular file",
        ),
        (
            "install",
            pipe.clone(),
            1,
            "is a named pipe: have its content come as standard input",
        ),
        (
            "trust",
            bundle,
            11,
            "it is no trust list but a bundle: `zlayer install` takes it",
        ),
        ("trust", wasm, 11, "it is no trust list but WebAssembly"),
        (
            "trust",
            fleet.keys.path().to_owned(),
            1,
            "it is a folder, not a regular file",
        ),
        (
            "trust",
            pipe,
            1,
            "is a named pipe: have its content come as standard input",
        ),
    ];
    // The same where no daemon runs, and where one does.
    for is_served in [false, true] {
        let daemon = is_served.then(|| fleet.daemon().start());
        for (verb, file, code, says) in &refusals {
            let said = fleet.on_device(verb, std::slice::from_ref(file));
            assert_eq!(said.code, *code, "{verb} {}: {said:?}", file.display());
            let file = file.display().to_string();
            assert!(said.stderr.contains(&file), "{file}: {said:?}");
            assert!(said.stderr.contains(says), "{file}: {says}: {said:?}");
            assert!(!said.stderr.contains("as the user"), "{said:?}");
        }
        drop(daemon);
    }
}

/// `zlayer install -`, which has sent this much.
fn begun(data: &TempDir, sent: &[u8]) -> Child {
    let mut command = zlayer_command();
    command
        .args(["install", "-", "--data-dir"])
        .arg(data.path());
    command.arg("--keys").arg(key_dir());
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(sent).unwrap();
    eventually("the daemon takes it in", || {
        let other = b"POST /install HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
        ask_raw(data.path(), other).text().contains("under way")
    });
    child
}

/// Its code and what it said, once it has tried to send this as well.
fn ended(mut child: Child, sent: &[u8]) -> (i32, String) {
    let mut input = child.stdin.take().unwrap();
    // It may have ended before it read this.
    let _ = input.write_all(sent);
    drop(input);
    let code = wait_at_most(&mut child, PATIENCE).unwrap();
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

/// A daemon that serves the first release, and the second as bytes. Nothing of that is removed by another change.
fn of_first(data: &TempDir) -> (Daemon, Vec<u8>) {
    assert_eq!(install(&bundle(&greeting(1, "one")), data).code, 0);
    let daemon = serving(data);
    (daemon, fs::read(bundle(&greeting(2, "two"))).unwrap())
}

fn blobs(data: &TempDir) -> usize {
    let blobs = data.path().join("deployment/blobs");
    fs::read_dir(blobs).unwrap().count()
}

#[test]
fn whoever_sends_a_bundle_to_a_daemon_that_stops_is_told_that_nothing_has_changed() {
    let data = TempDir::new();
    let (daemon, two) = of_first(&data);
    let child = begun(&data, &two[..two.len() / 2]);
    assert_eq!(daemon.stop(), 0);
    let (code, said) = ended(child, &two[two.len() / 2..]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the daemon is stopping, and nothing has changed"),
        "{said}"
    );
    let shown = verb(&["generations"], &data).stdout;
    assert!(
        shown.starts_with("1 ") && !shown.contains("\n2 "),
        "{shown}"
    );
    assert_eq!(blobs(&data), 1);
}

#[test]
fn whoever_sends_a_bundle_to_a_daemon_that_is_killed_is_told_that_it_ended() {
    let data = TempDir::new();
    let (mut daemon, two) = of_first(&data);
    let child = begun(&data, &two[..two.len() / 2]);
    daemon.end_at_once(9);
    let (code, said) = ended(child, &two[two.len() / 2..]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ended before it answered"), "{said}");
}

#[test]
fn an_install_that_is_interrupted_is_nothing_to_the_daemon() {
    let data = TempDir::new();
    let (daemon, two) = of_first(&data);
    let mut child = begun(&data, &two[..two.len() / 2]);
    child.kill().unwrap();
    child.wait().unwrap();
    let made = bundle(&greeting(2, "two"));
    let mut said: Option<Output> = None;
    eventually("the next one is taken", || {
        let next = install(&made, &data);
        let is_over = !next.stderr.contains("under way");
        said = Some(next);
        is_over
    });
    let said = said.unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("two "));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_digest_is_the_same_wherever_it_is_shown_and_revokes_what_it_stands_for() {
    let fleet = Fleet::new();
    let made = fleet.bundle(1, "a");
    assert_eq!(
        fleet.on_device("install", std::slice::from_ref(&made)).code,
        0
    );
    let inspected = crate::support::precompile([Path::new("inspect"), &made, Path::new("--json")]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    let of_code = inspected["services"][0]["digest"].as_str().unwrap();
    let daemon = fleet.daemon().start();
    daemon.wait_for_log(&format!("starts: digest {of_code}"));
    let shown = status(&fleet.data);
    assert_eq!(shown["digest"], inspected["digest"]);
    // People read it where the deployment is named, and not behind what is told last.
    let text = verb(&["status"], &fleet.data).stdout;
    let line = text.lines().find(|line| line.starts_with("deployment"));
    let digest = inspected["digest"].as_str().unwrap();
    assert!(line.is_some_and(|line| line.ends_with(digest)), "{text}");
    assert_eq!(shown["plugins"][0]["digest"], of_code);
    let kept = verb(&["generations", "--json"], &fleet.data).stdout;
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let kept = &kept["generations"][0];
    assert_eq!(kept["digest"], inspected["digest"]);
    assert_eq!(kept["services"][0]["digest"], of_code);
    assert_eq!(daemon.stop(), 0);
    // Each as it is shown, and signed by whomever.
    for (number, revoked) in [
        (1, &inspected["digest"]),
        (2, &inspected["services"][0]["digest"]),
    ] {
        let list = fleet.list(number, &["--revoke", revoked.as_str().unwrap()]);
        assert_eq!(fleet.on_device("trust", &[list]).code, 0);
        let said = fleet.on_device("install", std::slice::from_ref(&made));
        assert_eq!(said.code, 23, "{said:?}");
    }
}

#[test]
fn rollback_after_a_way_back_goes_to_the_good_one_before_and_not_to_what_failed() {
    let data = TempDir::new();
    let daemon = super::live::on_trial(&data, "1s");
    for (release, word) in [(1, "one"), (2, "two")] {
        assert_eq!(install(&bundle(&greeting(release, word)), &data).code, 0);
        super::live::confirmed(&data, release);
    }
    assert_eq!(daemon.stop(), 0);
    // However long it takes to trap so often.
    let daemon = super::live::on_trial(&data, "1440m");
    let failing = super::live::hostile(3, "", "");
    assert_eq!(install(&failing, &data).code, 0);
    eventually("the last good one is served", || {
        get(&daemon, "/trap");
        status(&data)["generation"] == 2
    });
    let said = verb(&["rollback"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(status(&data)["generation"], 1, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("one "));
}
