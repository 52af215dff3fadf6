//! The way back where it is not plain: what cannot be served either, what is installed again meanwhile, and nothing else.

use super::live::{confirmed, hostile, installed, on_trial};
use super::{greeting, install, serving, status, verb};
use crate::support::{Client, Daemon, TempDir, bundle, eventually, get};

/// A data folder with these generations, each of which has proved itself on a device that knows `WORD`.
fn good(greetings: &[&str]) -> TempDir {
    let data = TempDir::new();
    for (number, word) in (1..).zip(greetings) {
        assert_eq!(install(&bundle(&greeting(number, word)), &data).code, 0);
        let daemon = Daemon::of_nothing().data_dir(data.path());
        let daemon = daemon.env("WORD", "two").timeout("trial", "1s").start();
        confirmed(&data, number);
        assert_eq!(daemon.stop(), 0);
    }
    data
}

/// Has a plugin trap more often than any may in its trial.
fn trap(daemon: &Daemon) {
    for _ in 0..8 {
        // It may be gone before the last.
        get(daemon, "/trap");
    }
}

#[test]
fn a_trial_decides_nothing_over_the_same_bundle_installed_again() {
    let data = good(&["one"]);
    let daemon = Daemon::of_nothing().data_dir(data.path());
    let daemon = daemon
        .timeout("trial", "1440m")
        .timeout("drain", "60m")
        .timeout("request", "60m")
        .timeout("stall", "60m");
    let daemon = daemon.start();
    let mut slow = Client::connect(&daemon);
    slow.send("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
    // Its head is read before that of a later one is answered.
    assert!(get(&daemon, "/").text().starts_with("one "));
    let made = hostile(2, "", "");
    installed(&made, &data);
    std::thread::scope(|scope| {
        // It waits for the first generation's last request.
        let again = scope.spawn(|| installed(&made, &data));
        daemon.wait_for_log("requests of a deployment that ends are waited for");
        trap(&daemon);
        daemon.wait_for_log("generation 2 failed in its trial");
        slow.send("cd");
        assert!(slow.read_response().text().starts_with("one "));
        again.join().unwrap();
    });
    daemon.wait_for_log("another deployment has its place by now");
    let found = status(&data);
    assert_eq!(
        (&found["generation"], &found["on_trial"]),
        (&2.into(), &true.into())
    );
    // Its own trial counts.
    trap(&daemon);
    eventually("the last good one is served", || {
        get(&daemon, "/").text().starts_with("one ")
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn where_a_good_one_lacks_something_an_older_good_one_is_served() {
    let data = good(&["one", "${WORD}"]);
    assert_eq!(install(&bundle(&greeting(3, "three")), &data).code, 0);
    for _ in 0..5 {
        let mut daemon = on_trial(&data, "1440m");
        let found = status(&data);
        if found["generation"] == 3 {
            daemon.end_at_once(9);
            continue;
        }
        assert_eq!(found["generation"], 1, "{found}");
        assert!(get(&daemon, "/").text().starts_with("one "));
        assert_eq!(daemon.stop(), 0);
    }
    let shown = verb(&["generations"], &data).stdout;
    assert!(shown.contains("3  visits release 3, failed"), "{shown}");
    assert!(shown.contains("2  visits release 2, confirmed"), "{shown}");
}

#[test]
fn a_crash_loop_ends_where_no_good_one_can_be_served_either() {
    let data = good(&["${WORD}"]);
    assert_eq!(install(&bundle(&greeting(2, "two")), &data).code, 0);
    for _ in 0..3 {
        let mut daemon = serving(&data);
        assert!(get(&daemon, "/").text().starts_with("two "));
        daemon.end_at_once(9);
    }
    let daemon = serving(&data);
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("generation 2 was started 3 times"),
        "{answer:?}"
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_failed_in_its_trial_and_is_served_on_says_so() {
    let data = TempDir::new();
    assert_eq!(install(&hostile(1, "", ""), &data).code, 0);
    let daemon = on_trial(&data, "1440m");
    assert_eq!(status(&data)["on_trial"], true);
    trap(&daemon);
    daemon.wait_for_log("1 is served on");
    let found = status(&data);
    assert_eq!(
        (&found["generation"], &found["on_trial"]),
        (&1.into(), &false.into())
    );
    let why = found["failed"].as_str().unwrap();
    assert!(why.contains("trapped"), "{why}");
    let shown = verb(&["status"], &data).stdout;
    assert!(shown.contains("generation 1, failed its trial"), "{shown}");
    assert!(shown.contains("served on for want of another"), "{shown}");
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
}
