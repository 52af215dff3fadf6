//! What speaks against a generation, and what does not: faults of the device, health, answers that never come, power
//! that fails again and again; and who may change something meanwhile.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::live::{EndOf, confirmed, hostile, installed, on_trial};
use super::{greeting, install, serving, status, verb};
use crate::support::{Builder, Daemon, TempDir, artifact, bundle, eventually, get};

fn knowing(data: &TempDir, word: &str) -> Builder {
    let daemon = Daemon::of_nothing().data_dir(data.path());
    daemon.env("WORD", word).timeout("trial", "1s")
}

/// Starts a daemon until what it serves has proved itself.
fn proves(daemon: Builder, data: &TempDir, generation: u64) {
    let daemon = daemon.start();
    confirmed(data, generation);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_the_device_lacks_is_told_each_time_and_held_against_nobody() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    proves(on_trial_of(&data), &data, 1);
    assert_eq!(install(&bundle(&greeting(2, "${WORD}")), &data).code, 0);
    proves(knowing(&data, "two"), &data, 2);
    let keys = TempDir::new();
    let device = || Daemon::of_nothing().data_dir(data.path());
    let knows = || knowing(&data, "two");
    let faults: [(&dyn Fn() -> Builder, i32, &str); 7] = [
        (
            &device,
            1,
            "generation 2: the deployment wants to know WORD",
        ),
        (&|| device().args(["--port", "http"]), 2, "--port"),
        (&|| device().args(["--timeout", "trail=1s"]), 2, "trail"),
        (&|| knows().keys(Some(keys.path())), 16, "not trusted here"),
        (&|| knows().args(["--secrets-file", "/nope"]), 1, "/nope"),
        (&|| knows().args(["--profile", "wide"]), 21, "wide"),
        (
            &|| knows().args(["--memory-max", "12Mi"]),
            1,
            "--memory-max",
        ),
    ];
    for (start, code, says) in faults {
        for _ in 0..4 {
            let said = start().fails();
            assert_eq!(said.code, code, "{said:?}");
            assert!(said.stderr.contains(says), "{said:?}");
        }
    }
    let daemon = knows().start();
    assert!(get(&daemon, "/").text().starts_with("two "));
    assert!(status(&data)["went_back"].is_null());
    assert_eq!(daemon.stop(), 0);
}

fn on_trial_of(data: &TempDir) -> Builder {
    let daemon = Daemon::of_nothing().data_dir(data.path());
    daemon.timeout("trial", "1s")
}

#[test]
fn an_update_that_wants_what_the_device_lacks_waits_until_it_is_there() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    proves(on_trial_of(&data), &data, 1);
    assert_eq!(install(&bundle(&greeting(2, "${WORD}")), &data).code, 0);
    // More often than a crash loop may last.
    for _ in 0..4 {
        let daemon = on_trial_of(&data).start();
        assert!(get(&daemon, "/").text().starts_with("one "));
        let why = status(&data)["went_back"].to_string();
        let told = "generation 2 is not served, and tried again at the next start";
        assert!(why.contains(told) && why.contains("WORD"), "{why}");
        assert_eq!(daemon.stop(), 0);
    }
    let shown = verb(&["generations"], &data);
    assert!(!shown.stdout.contains("failed"), "{shown:?}");
    let daemon = knowing(&data, "two").start();
    assert!(get(&daemon, "/").text().starts_with("two "));
    confirmed(&data, 2);
    assert_eq!(daemon.stop(), 0);
}

/// Asks for what never ends, from so many clients, until the device has gone back; returns why.
fn hangs_until_it_goes_back(daemon: &Daemon, data: &TempDir, clients: usize) -> String {
    let is_back = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !is_back.load(Ordering::Relaxed) {
                    get(daemon, "/spin");
                }
            });
        }
        let _end = EndOf(&is_back);
        eventually("it goes back", || status(data)["generation"] == 1);
    });
    status(data)["went_back"].to_string()
}

#[test]
fn an_update_in_which_every_request_hangs_does_not_prove_itself() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    proves(on_trial_of(&data), &data, 1);
    // It is asked far sooner than each half minute, which is the usual interval.
    let check = "health: {check: {type: http, url: /, expect_status: 200}, timeout: 5s}";
    let all = format!("{check}\n    wasm: {{max_instances: 1}}");
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .timeout("request", "20s")
        .timeout("trial", "1440m")
        .start();
    installed(&hostile(2, "", &all), &data);
    let why = hangs_until_it_goes_back(&daemon, &data, 3);
    assert!(why.contains("unhealthy"), "{why}");
}

#[test]
fn answers_that_never_come_undo_an_update_as_traps_do() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    proves(on_trial_of(&data), &data, 1);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .timeout("request", "20s")
        .timeout("trial", "1440m")
        .start();
    installed(&hostile(2, "", ""), &data);
    let why = hangs_until_it_goes_back(&daemon, &data, 4);
    assert!(why.contains("did not answer in time"), "{why}");
}

#[test]
fn a_stage_that_spoils_answers_by_being_late_is_blamed_once_and_the_handler_is_not() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    proves(on_trial_of(&data), &data, 1);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .timeout("request", "2s")
        .timeout("trial", "30m")
        .start();
    let late = bundle(&format!(
        "version: v1\ndeployment: visits\nrelease: 2\nservices:\n  web:\n    image: {}\n  tr:\n    image: {}\n    \
         env: {{test.transform-response: spin}}\n    wasm: {{capabilities: {{config: true}}}}\n",
        artifact("hello").display(),
        artifact("stage-transformer").display(),
    ));
    installed(&late, &data);
    // Fewer than a trial forgives.
    for _ in 0..2 {
        assert_eq!(get(&daemon, "/").status, 503);
    }
    let shown = status(&data);
    let [web, tr] = [0, 1].map(|place| shown["plugins"][place].clone());
    assert_eq!((&web["name"], &tr["name"]), (&json!("web"), &json!("tr")));
    assert_eq!(web["requests"]["deadline"], 0, "{web}");
    assert_eq!(tr["last_traps"].as_array().unwrap().len(), 2, "{tr}");
    assert_eq!(web["last_traps"].as_array().unwrap().len(), 0, "{web}");
    let why = hangs_until_it_goes_back(&daemon, &data, 2);
    assert!(
        why.contains("plugin tr: it did not answer in time"),
        "{why}"
    );
}

#[test]
fn what_was_given_up_for_nothing_but_its_ends_is_tried_again_once_the_device_has_lasted() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    for _ in 0..3 {
        serving(&data).end_at_once(9);
    }
    let daemon = on_trial(&data, "1s");
    assert_eq!(get(&daemon, "/").status, 503);
    daemon.wait_for_log("generation 1 is tried again at the next start");
    assert_eq!(daemon.stop(), 0);
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
}

#[test]
fn what_is_given_up_for_its_own_fault_says_which() {
    let data = TempDir::new();
    assert_eq!(install(&hostile(1, "init: failed", ""), &data).code, 0);
    for _ in 0..3 {
        let mut daemon = on_trial(&data, "1s");
        daemon.wait_for_log("1 is served on");
        let note = data.path().join("deployment/failed");
        eventually("it is written down", || note.exists());
        daemon.end_at_once(9);
    }
    let daemon = on_trial(&data, "1s");
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("nothing works today"), "{answer:?}");
}

#[test]
fn a_bundle_that_comes_slowly_keeps_nobody_from_going_back() {
    let data = TempDir::new();
    let [one, two, three] = [(1, "one"), (2, "two"), (3, "three")]
        .map(|(release, word)| bundle(&greeting(release, word)));
    assert_eq!(install(&one, &data).code, 0);
    let daemon = serving(&data);
    installed(&two, &data);
    let made = fs::read(&three).unwrap();
    let begin = || {
        let mut slow = UnixStream::connect(data.path().join("admin.sock")).unwrap();
        let head = format!(
            "POST /install HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            made.len()
        );
        slow.write_all(head.as_bytes()).unwrap();
        slow.write_all(&made[..made.len() / 2]).unwrap();
        eventually("it comes in", || {
            let said = install(&three, &data);
            said.stderr.contains("another bundle is under way")
        });
        slow
    };
    let mut slow = begin();
    let said = verb(&["rollback", "--to", "1"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("one "));
    // It is served all the same, when it is whole.
    slow.write_all(&made[made.len() / 2..]).unwrap();
    eventually("it is served", || {
        get(&daemon, "/").text().starts_with("three ")
    });
    drop(slow);
    let said = verb(&["rollback"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    let mut slow = begin();
    let said = verb(&["uninstall"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(get(&daemon, "/").status, 503);
    slow.write_all(&made[made.len() / 2..]).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut slow, &mut answer).unwrap();
    assert!(
        answer.contains("was removed while this bundle came"),
        "{answer}"
    );
    for folder in ["blobs", "generations"] {
        let left = fs::read_dir(data.path().join("deployment").join(folder)).unwrap();
        let left: Vec<PathBuf> = left.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
