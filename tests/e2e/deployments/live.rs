//! A daemon whose deployment is changed while it serves.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::{greeting, install, serving, status, verb};
use crate::support::{
    Client, Daemon, Response, TempDir, artifact, ask_raw, bundle, eventually, get, request,
    skipped, under_qemu,
};
use crate::websocket::{self, closed};

/// A deployment of the hostile plugin, with this configuration and what else is said of the service.
pub(super) fn hostile(release: u64, env: &str, more: &str) -> PathBuf {
    bundle(&format!(
        "version: v1\ndeployment: visits\nrelease: {release}\nservices:\n  counter:\n    image: {}\n    \
         env: {{{env}}}\n    {more}\n",
        artifact("hostile-plugin").display()
    ))
}

/// A daemon of what is installed in this folder, whose trials last so long.
pub(super) fn on_trial(data: &TempDir, trial: &str) -> Daemon {
    let daemon = Daemon::of_nothing().data_dir(data.path());
    daemon.timeout("trial", trial).start()
}

pub(super) fn installed(made: &Path, data: &TempDir) {
    let said = install(made, data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("; it is served now, and"), "{said:?}");
}

pub(super) fn refused(made: &Path, data: &TempDir, says: &str) {
    let said = install(made, data);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains(says), "{says}: {said:?}");
}

pub(super) fn confirmed(data: &TempDir, generation: u64) {
    eventually("the generation is confirmed", || {
        let status = status(data);
        status["generation"] == generation && status["on_trial"] == false
    });
}

/// Sends a change to the admin socket, as any program may.
fn post(data: &TempDir, path: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    ask_raw(data.path(), &[head.as_bytes(), body].concat())
}

#[test]
fn a_daemon_with_nothing_says_so_until_something_is_installed() {
    let data = TempDir::new();
    let daemon = serving(&data);
    assert!(
        daemon.stdout().contains("nothing is installed"),
        "{}",
        daemon.stdout()
    );
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("nothing is installed"), "{answer:?}");
    assert_eq!(verb(&["status"], &data).code, 4, "it is not well");
    let said = verb(&["uninstall"], &data);
    assert_eq!(said.code, 1, "{said:?}");
    installed(&bundle(&greeting(1, "one")), &data);
    assert_eq!(get(&daemon, "/a").text(), "one 1 of /a\n");
    assert_eq!(verb(&["status"], &data).code, 0);
    let said = verb(&["uninstall"], &data);
    assert!(said.stdout.contains("removed visits release 1"), "{said:?}");
    let answer = get(&daemon, "/");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_update_and_the_way_back_lose_no_request() {
    let data = TempDir::new();
    let bundles = [(1, "one"), (2, "two")].map(|(release, word)| bundle(&greeting(release, word)));
    assert_eq!(install(&bundles[0], &data).code, 0);
    let daemon = on_trial(&data, "1440m");
    let is_over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let asking = || {
            let mut count = 0;
            let mut kept = Client::connect(&daemon);
            while !is_over.load(Ordering::Relaxed) {
                kept.send("GET /all HTTP/1.1\r\nhost: a\r\n\r\n");
                let answers = [kept.read_response(), get(&daemon, "/all")];
                for answer in answers {
                    let text = answer.text();
                    assert_eq!(answer.status, 200, "{text}");
                    assert!(
                        text.starts_with("one ") || text.starts_with("two "),
                        "{text}"
                    );
                    count += 1;
                }
            }
            count
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(asking)).collect();
        let end = EndOf(&is_over);
        // The second release, and back to the first and so on: each ran here.
        for change in 0..12 {
            let made = fs::read(&bundles[(change + 1) % 2]).unwrap();
            let answer = post(&data, "/install", &made);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let word = ["two", "one"][change % 2];
            assert!(get(&daemon, "/").text().starts_with(word));
        }
        drop(end);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum::<u32>()
    });
    println!("12 changes, {asked} requests answered, 0 lost");
    assert!(asked > 12);
    // What it stored has gone with it all the way.
    let last = get(&daemon, "/all").text();
    let visits: u32 = last.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(visits, asked + 1, "{last}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_request_goes_on_in_the_generation_that_it_began_in() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = serving(&data);
    let mut slow = Client::connect(&daemon);
    slow.send("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
    eventually("the request is at work", || {
        status(&data)["connections"].as_u64() > Some(0)
    });
    // Its head is read before that of a later one is answered.
    assert_eq!(get(&daemon, "/").text(), "one 1 of /\n");
    installed(&bundle(&greeting(2, "two")), &data);
    assert!(get(&daemon, "/").text().starts_with("two "));
    slow.send("cd");
    assert!(slow.read_response().text().starts_with("one "));
    // The connection lives on, and its next request takes the new one.
    slow.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(slow.read_response().text().starts_with("two "));
}

#[test]
fn a_generation_that_does_not_prove_itself_is_refused_and_the_present_one_is_served_on() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = serving(&data);
    let probe =
        "health: {check: {type: http, url: /status-500, expect_status: 200}, interval: 10ms}";
    refused(
        &hostile(2, "init: failed", ""),
        &data,
        "nothing works today",
    );
    refused(&hostile(2, "init: trap", ""), &data, "init failed");
    refused(
        &hostile(2, "init: want-http-client", ""),
        &data,
        "capability-unavailable",
    );
    refused(
        &hostile(2, "", probe),
        &data,
        "/status-500 was answered with 500",
    );
    refused(
        &bundle(&greeting(2, "${NOT_KNOWN_HERE}")),
        &data,
        "NOT_KNOWN_HERE",
    );
    refused(&artifact("hello"), &data, "bundle");
    let answer = get(&daemon, "/");
    assert_eq!(answer.text(), "one 1 of /\n");
    let shown = verb(&["generations"], &data);
    assert!(!shown.stdout.contains("release 2"), "{shown:?}");
    assert_eq!(status(&data)["generation"], 1);
    assert_eq!(
        fs::read_dir(data.path().join("deployment/blobs"))
            .unwrap()
            .count(),
        1
    );
    // A good one may still have that release.
    installed(&bundle(&greeting(2, "two")), &data);
    assert_eq!(get(&daemon, "/").text(), "two 2 of /\n");
}

#[test]
fn a_generation_that_traps_in_its_trial_makes_way_for_the_last_good_one() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = on_trial(&data, "1s");
    confirmed(&data, 1);
    assert_eq!(daemon.stop(), 0);
    // However long it takes to trap so often.
    let daemon = on_trial(&data, "1440m");
    installed(&hostile(2, "", ""), &data);
    assert_eq!(status(&data)["on_trial"], true);
    for _ in 0..8 {
        // It may be gone before the last.
        get(&daemon, "/trap");
    }
    eventually("the last good one is served", || {
        get(&daemon, "/").text().starts_with("one ")
    });
    let found = status(&data);
    assert_eq!(
        (&found["generation"], &found["on_trial"]),
        (&1.into(), &false.into())
    );
    let why = found["went_back"].as_str().unwrap();
    assert!(
        why.contains("generation 2") && why.contains("trapped"),
        "{why}"
    );
    let shown = verb(&["generations"], &data);
    assert!(shown.stdout.contains("trapped"), "{shown:?}");
    assert_eq!(daemon.stop(), 0);
    // It is not tried again by itself.
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
}

#[test]
fn who_sends_what_one_plugin_cannot_take_does_not_undo_an_update() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = on_trial(&data, "3s");
    confirmed(&data, 1);
    installed(&hostile(2, "", ""), &data);
    for _ in 0..100 {
        assert_eq!(get(&daemon, "/").status, 200);
    }
    for _ in 0..8 {
        assert_eq!(get(&daemon, "/trap").status, 500);
    }
    confirmed(&data, 2);
}

#[test]
fn a_generation_that_is_not_confirmed_does_not_survive_a_restart() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let mut daemon = on_trial(&data, "1s");
    confirmed(&data, 1);
    installed(&bundle(&greeting(2, "two")), &data);
    assert!(get(&daemon, "/").text().starts_with("two "));
    assert_eq!(daemon.end_at_once(9), 137);
    let daemon = on_trial(&data, "1440m");
    assert!(get(&daemon, "/").text().starts_with("one "));
    let found = status(&data);
    assert_eq!(found["generation"], 1);
    let why = found["went_back"].as_str().unwrap();
    assert!(why.contains("generation 2"), "{why}");
    // Whoever wants it after all says so; and it is lost again, if the device is switched off.
    let said = verb(&["rollback", "--to", "2"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(get(&daemon, "/").text().starts_with("two "));
    assert_eq!(daemon.stop(), 0);
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
}

#[test]
fn a_crash_loop_ends_with_a_daemon_that_says_why_and_can_be_mended() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    for _ in 0..3 {
        let mut daemon = serving(&data);
        assert!(get(&daemon, "/").text().starts_with("one "));
        daemon.end_at_once(9);
    }
    let daemon = serving(&data);
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("was started 3 times"), "{answer:?}");
    installed(&bundle(&greeting(2, "two")), &data);
    assert!(get(&daemon, "/").text().starts_with("two "));
    // An end in order is none of a crash.
    assert_eq!(daemon.stop(), 0);
    for _ in 0..4 {
        let daemon = serving(&data);
        assert!(get(&daemon, "/").text().starts_with("two "));
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn what_cannot_be_loaded_at_the_start_makes_way_for_the_last_good_one() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = on_trial(&data, "1s");
    confirmed(&data, 1);
    assert_eq!(daemon.stop(), 0);
    // Nobody runs that could try it.
    let made = bundle(&greeting(2, "${NOT_KNOWN_HERE}"));
    assert_eq!(install(&made, &data).code, 0);
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
    let why = status(&data)["went_back"].to_string();
    assert!(why.contains("NOT_KNOWN_HERE"), "{why}");
    assert_eq!(daemon.stop(), 0);
    // Neither can what fails its init.
    assert_eq!(install(&hostile(3, "init: failed", ""), &data).code, 0);
    let daemon = serving(&data);
    eventually("the last good one is served", || {
        get(&daemon, "/").text().starts_with("one ")
    });
    let why = status(&data)["went_back"].to_string();
    assert!(why.contains("nothing works today"), "{why}");
}

#[test]
fn what_is_known_of_variables_is_read_anew() {
    let data = TempDir::new();
    let folder = TempDir::new();
    let secrets = folder.path().join("secrets");
    let know = |text: &str| {
        fs::write(&secrets, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secrets, mode).unwrap();
    };
    know("WORD=hunter2-the-first\n");
    assert_eq!(install(&bundle(&greeting(1, "${WORD}")), &data).code, 0);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .arg("--secrets-file")
        .arg(&secrets)
        .start();
    assert!(get(&daemon, "/").text().starts_with("hunter2-the-first "));
    know("WORD=hunter2-the-second\nOTHER=hunter2-the-third\n");
    installed(&bundle(&greeting(2, "${WORD}+${OTHER}")), &data);
    // The plugin writes the path into the log.
    let said = "/hunter2-the-first/hunter2-the-second/hunter2-the-third";
    let answer = get(&daemon, said).text();
    assert!(
        answer.starts_with("hunter2-the-second+hunter2-the-third "),
        "{answer}"
    );
    daemon.wait_for_log("visit 1 of /***/***/***");
    assert!(
        !daemon.log().contains("hunter2-the-second"),
        "{}",
        daemon.log()
    );
    assert!(
        !daemon.log().contains("hunter2-the-third"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_websocket_is_closed_and_the_next_one_reaches_the_new_generation() {
    let data = TempDir::new();
    let made = |release: u64| {
        bundle(&format!(
            "version: v1\ndeployment: talk\nrelease: {release}\nservices:\n  talk: {{image: {}}}\n",
            artifact("websocket-echo").display()
        ))
    };
    assert_eq!(install(&made(1), &data).code, 0);
    let daemon = serving(&data);
    let mut before = websocket::open(&daemon, "/", &[]);
    websocket::echoes(&mut before, "hello");
    installed(&made(2), &data);
    assert_eq!(closed(&mut before), 1001);
    let mut after = websocket::open(&daemon, "/", &[]);
    websocket::echoes(&mut after, "hello again");
}

#[test]
fn what_holds_from_the_next_start_is_told() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = serving(&data);
    let text = greeting(2, "two") + "device: {max_body: 20, threads: 2}\n";
    let said = install(&bundle(&text), &data);
    assert!(
        said.stdout.contains("next start: threads, max_body"),
        "{said:?}"
    );
    let long = request(&daemon, "POST", "/", &[], &[b'x'; 100]);
    assert_eq!(long.text(), "two 1 of /\n");
    assert_eq!(daemon.stop(), 0);
    let daemon = serving(&data);
    let long = request(&daemon, "POST", "/", &[], &[b'x'; 100]);
    assert_eq!(long.status, 413);
}

#[test]
fn an_upload_that_breaks_off_or_is_none_changes_nothing() {
    let data = TempDir::new();
    let one = bundle(&greeting(1, "one"));
    assert_eq!(install(&one, &data).code, 0);
    let daemon = serving(&data);
    let two = fs::read(bundle(&greeting(2, "two"))).unwrap();
    for cut in [0, 1, 40, 1000, two.len() / 2, two.len() - 1] {
        let mut stream = UnixStream::connect(data.path().join("admin.sock")).unwrap();
        let head = format!(
            "POST /install HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            two.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&two[..cut]).unwrap();
        drop(stream);
        // It is let go of before anything else can be changed.
        eventually("the next change is possible", || {
            let answer = post(&data, "/install", &two[..cut]);
            assert_eq!(answer.status, 422, "{}", answer.text());
            !answer.text().contains("under way")
        });
    }
    for (path, body, status) in [
        ("/install", &b"hello"[..], 422),
        ("/install?x=y", &two[1..], 422),
        ("/rollback?to=x", b"", 400),
        ("/rollback?to=7", b"", 422),
        ("/rollback?to=1&to=2", b"", 400),
    ] {
        let answer = post(&data, path, body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let get_it = ask_raw(data.path(), b"GET /install HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((get_it.status, get_it.header("allow")), (405, Some("POST")));
    assert_eq!(get(&daemon, "/").text(), "one 1 of /\n");
    assert_eq!(status(&data)["generation"], 1);
    assert_eq!(
        fs::read_dir(data.path().join("deployment/blobs"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn a_daemon_of_its_command_line_is_not_changed() {
    let data = TempDir::new();
    let made = bundle(&greeting(1, "one"));
    let daemon = Daemon::of(&made).data_dir(data.path()).start();
    refused(&made, &data, "serves what its command line names");
    for words in [&["rollback"][..], &["uninstall"]] {
        let said = verb(words, &data);
        assert_eq!(said.code, 1, "{said:?}");
    }
    assert_eq!(get(&daemon, "/").text(), "one 1 of /\n");
}

/// Set when this goes, by a panic too: whoever asks for load ends then.
pub(super) struct EndOf<'a>(pub(super) &'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the process holds once all before what is served have ended, in KiB: what is resident, and what of that is its
/// own. Requests come and go meanwhile, so it is the least of several looks.
fn memory_at_rest(daemon: &Daemon, data: &TempDir) -> (u64, u64) {
    eventually("all before it have ended", || {
        status(data)["ending_deployments"] == 0
    });
    let looks = (0..20).map(|_| {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.pid())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.unwrap_or_else(|| panic!("no {name} in\n{rollup}"))
                .parse()
                .unwrap()
        };
        (kib("Rss:"), kib("Anonymous:"))
    });
    looks
        .reduce(|least, look| (least.0.min(look.0), least.1.min(look.1)))
        .unwrap()
}

#[test]
fn reloads_under_load_lose_nothing_and_leave_no_memory_behind() {
    // Ten thousand take minutes: `ZLAYER_RELOADS=10000` has them.
    let reloads = std::env::var("ZLAYER_RELOADS").map_or(60, |count| count.parse().unwrap());
    let data = TempDir::new();
    let bundles = [(1, "one"), (2, "two")].map(|(release, word)| bundle(&greeting(release, word)));
    assert_eq!(install(&bundles[0], &data).code, 0);
    let bundles = bundles.map(|made| fs::read(made).unwrap());
    let daemon = on_trial(&data, "1440m");
    let is_over = AtomicBool::new(false);
    let mut memory = Vec::new();
    let answered = thread::scope(|scope| {
        let asking = || {
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(get(&daemon, "/load").status, 200);
                count += 1;
            }
            count
        };
        let client = scope.spawn(asking);
        let end = EndOf(&is_over);
        for reload in 0..reloads {
            let answer = post(&data, "/install", &bundles[(reload + 1) % 2]);
            assert_eq!(answer.status, 200, "{}", answer.text());
            // The first ones fill what is filled once.
            if reload + 1 == reloads / 2 || reload + 1 == reloads {
                memory.push(memory_at_rest(&daemon, &data));
            }
        }
        drop(end);
        client.join().unwrap()
    });
    let [half_way, at_end] = memory[..] else {
        panic!("{memory:?}");
    };
    println!(
        "{reloads} reloads, {answered} requests answered, 0 lost; resident half-way {} KiB, at the end {} KiB, of it its \
         own {} and {}",
        half_way.0, at_end.0, half_way.1, at_end.1
    );
    // All that is left is of the one that is served: instances that wait, of which one is set aside.
    let found: Value = status(&data);
    let idle = found["plugins"][0]["instances"]["idle"].as_u64().unwrap();
    let taken = found["memory"]["parts"]["instances"].as_u64().unwrap();
    assert!(taken < idle * (4 << 20), "{found}");
    match under_qemu() {
        true => skipped("resident memory: the emulator's own would be in the figure"),
        false => assert!(
            at_end.0 * 100 <= half_way.0 * 101,
            "{half_way:?} {at_end:?}"
        ),
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_init_that_computes_for_ever_holds_nobody_up() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .args(["--threads", "1"])
        .timeout("request", "2s")
        .start();
    refused(
        &hostile(2, "init: spin", ""),
        &data,
        "did not end within 2s",
    );
    assert_eq!(get(&daemon, "/").text(), "one 1 of /\n");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_refused_install_leaves_the_quota_of_what_is_served_alone() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = serving(&data);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(get(&daemon, path).status, 200);
    }
    let more = "    wasm: {kv_max_keys: 1, kv_quota: 30}\n    \
                health: {check: {type: http, url: /new, expect_status: 204}, interval: 10ms}\n";
    refused(&bundle(&(greeting(2, "two") + more)), &data, "unhealthy");
    assert_eq!(get(&daemon, "/d").text(), "one 1 of /d\n");
}

#[test]
fn what_can_be_served_no_more_is_not_gone_back_to() {
    let data = TempDir::new();
    let one = bundle(&greeting(1, "${WORD}"));
    let know = |word: &str| Daemon::of_nothing().data_dir(data.path()).env("WORD", word);
    assert_eq!(install(&one, &data).code, 0);
    let daemon = know("one").timeout("trial", "1s").start();
    confirmed(&data, 1);
    assert_eq!(daemon.stop(), 0);
    // The device does not know the word any more.
    assert_eq!(install(&hostile(2, "", ""), &data).code, 0);
    let mut daemon = on_trial(&data, "30s");
    assert_eq!(get(&daemon, "/").status, 200);
    for _ in 0..8 {
        assert_eq!(get(&daemon, "/trap").status, 500);
    }
    daemon.wait_for_log("2 is served on");
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.end_at_once(9), 137);
    // Neither at a start: what works of it is more than nothing.
    let daemon = serving(&data);
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(status(&data)["generation"], 2);
}

#[test]
fn a_generation_that_was_good_before_is_not_on_trial_again() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let mut daemon = on_trial(&data, "1s");
    confirmed(&data, 1);
    let two = bundle(&greeting(2, "two"));
    let said = install(&two, &data);
    assert!(
        said.stdout.contains("goes back to generation 1"),
        "{said:?}"
    );
    confirmed(&data, 2);
    let said = verb(&["rollback"], &data);
    assert!(
        said.stdout.contains("has proved itself here before"),
        "{said:?}"
    );
    assert_eq!(status(&data)["on_trial"], false);
    assert_eq!(daemon.end_at_once(9), 137);
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("one "));
}
