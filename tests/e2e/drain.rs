//! What SIGTERM and a second signal do; ports that are taken.

use crate::support::{
    Builder, Client, Daemon, TempDir, ask, eventually, get, hangups_reach_a_child, skipped,
    under_qemu,
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const DRAINS: &str = "no new requests";

/// A connection in the middle of a request, which `echo` is counting.
fn in_flight(daemon: &Daemon) -> Client {
    let mut client = Client::connect(daemon);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst");
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]));
    client
}

fn finish(mut client: Client) {
    client.send("later");
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"later"[..]));
    assert_eq!(client.read_chunk().unwrap(), None);
}

#[test]
fn an_idle_daemon_ends_with_0() {
    let daemon = Daemon::start("hello");
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn sigterm_lets_running_requests_finish_and_takes_no_new_ones() {
    let mut daemon = Daemon::start("echo");
    let mut idle = Client::connect(&daemon);
    idle.send("GET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.read_response().body, [0]);
    let running = in_flight(&daemon);

    daemon.signal(SIGTERM);
    daemon.wait_for_log(DRAINS);
    assert!(idle.is_closed(), "an idle connection was kept");
    eventually("new connections are refused", || {
        Client::try_connect(&daemon).is_err()
    });

    finish(running);
    assert_eq!(daemon.wait(), 0);
    assert!(daemon.log().contains("stopped"), "{}", daemon.log());
}

#[test]
fn requests_that_came_before_the_signal_are_answered() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut daemon = Daemon::start("hello");
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(&daemon)).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.read_response().status, 200);
    }
    daemon.signal(SIGSTOP);
    for client in &mut clients {
        client.send(GET);
    }
    daemon.signal(SIGTERM);
    daemon.signal(SIGCONT);
    for mut client in clients {
        assert_eq!(client.read_response().status, 200);
        assert!(client.is_closed(), "it was kept");
    }
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn an_answer_that_begins_while_draining_closes_its_connection() {
    let mut daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send("POST /count HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    // The plugin reads now: the request is running.
    assert_eq!(client.read_response().status, 100);
    daemon.signal(SIGTERM);
    daemon.wait_for_log(DRAINS);
    client.send("helloGET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.read_response();
    assert!(response.text().starts_with("{\"bytes\":5,"), "{response:?}");
    assert!(!response.keep_alive);
    assert!(client.is_closed(), "took a new request");
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn the_other_signals_that_end_a_process_drain_too() {
    let mut signals = vec![SIGINT, SIGQUIT];
    if hangups_reach_a_child() {
        signals.push(SIGHUP);
    }
    for signal in signals {
        let mut daemon = Daemon::start("echo");
        let running = in_flight(&daemon);
        daemon.signal(signal);
        daemon.wait_for_log(DRAINS);
        finish(running);
        assert_eq!(daemon.wait(), 0);
    }
}

#[test]
fn a_terminal_that_closes_loses_no_acknowledged_value() {
    if !hangups_reach_a_child() {
        return;
    }
    let folder = crate::support::TempDir::new();
    let mut daemon = Daemon::builder("counter").data_dir(folder.path()).start();
    assert_eq!(get(&daemon, "/incr/a").text(), "1");
    daemon.signal(SIGHUP);
    assert_eq!(daemon.wait(), 0);
    let daemon = Daemon::builder("counter").data_dir(folder.path()).start();
    assert_eq!(get(&daemon, "/incr/a").text(), "2");
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    if under_qemu() {
        skipped("the emulator takes a hang-up up itself, and does not say that it was ignored");
        return;
    }
    let mut daemon = Daemon::builder("hello").after("trap '' HUP").start();
    daemon.signal(SIGHUP);
    daemon.signal(SIGTERM);
    assert_eq!(daemon.wait(), 0, "{}", daemon.log());
    assert!(daemon.log().contains("SIGTERM: no new"), "{}", daemon.log());
    assert!(!daemon.log().contains("SIGHUP"), "{}", daemon.log());
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end_for_ever() {
    let mut daemon = Daemon::builder("hostile")
        .timeout("drain", "300ms")
        .timeout("request", "1000")
        .start();
    let mut client = Client::connect(&daemon);
    client.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    daemon.signal(SIGTERM);
    assert_eq!(daemon.wait(), 0);
    assert!(daemon.log().contains("cut off"), "{}", daemon.log());
}

#[test]
fn what_is_cut_off_at_the_end_has_its_line_in_the_access_log() {
    let folder = TempDir::new();
    let mut daemon = Daemon::builder("hostile")
        .data_dir(folder.path())
        .args(["--access-log", "stdout"])
        .timeout("drain", "300ms")
        .timeout("request", "1000")
        .start();
    let mut begun = Client::connect(&daemon);
    begun.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(begun.read_head().unwrap().status, 200);
    assert_eq!(begun.read_chunk().unwrap().as_deref(), Some(&b"held\n"[..]));
    let mut waiting = Client::connect(&daemon);
    waiting.send("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("both at work", || {
        let status: serde_json::Value =
            serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
        status["plugins"][0]["instances"]["running"] == 2
    });
    daemon.signal(SIGTERM);
    assert_eq!(daemon.wait(), 0);
    let lines = daemon.stdout();
    for line in [
        "\"GET /hold HTTP/1.1\" 200 ",
        "\"GET /never HTTP/1.1\" 444 0 ",
    ] {
        assert_eq!(lines.matches(line).count(), 1, "{line}: {lines}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [(SIGTERM, SIGTERM), (SIGINT, SIGTERM), (SIGTERM, SIGINT)] {
        let mut daemon = endless("echo").start();
        let _running = in_flight(&daemon);
        daemon.signal(first);
        daemon.wait_for_log(DRAINS);
        assert_eq!(daemon.end_at_once(second), 130);
    }
}

/// A daemon that drains for as long as a request runs.
fn endless(guest: &str) -> Builder {
    Daemon::builder(guest)
        .timeout("drain", "1000")
        .timeout("request", "1000")
        .timeout("stall", "1000")
}

#[test]
fn a_signal_that_comes_twice_at_once_drains_and_commits_all() {
    // As `timeout` sends it, to the process and to its group, and a terminal that closes.
    let folder = crate::support::TempDir::new();
    let mut count = 0;
    for round in 0..60 {
        let mut daemon = Daemon::builder("counter").data_dir(folder.path()).start();
        for _ in 0..4 {
            count += 1;
            assert_eq!(get(&daemon, "/incr/a").text(), count.to_string(), "{round}");
        }
        daemon.signal(SIGTERM);
        daemon.signal(SIGINT);
        daemon.signal(SIGTERM);
        assert_eq!(daemon.wait(), 0, "round {round}: {}", daemon.log());
    }
}

#[test]
fn a_daemon_that_is_ended_at_once_commits_what_it_acknowledged() {
    let folder = crate::support::TempDir::new();
    let counter = || endless("counter").data_dir(folder.path());
    // By itself it would be written in an hour.
    let mut daemon = counter().args(["--kv-durability", "interval=60m"]).start();
    assert_eq!(get(&daemon, "/incr/a").text(), "1");
    let mut running = Client::connect(&daemon);
    running.send("PUT /set/b HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(running.read_response().status, 100);
    daemon.signal(SIGTERM);
    daemon.wait_for_log(DRAINS);
    assert_eq!(daemon.end_at_once(SIGTERM), 130);
    let daemon = counter().start();
    assert_eq!(get(&daemon, "/incr/a").text(), "2");
}

#[test]
fn a_signal_that_comes_as_soon_as_it_serves_drains() {
    for _ in 0..5 {
        let mut daemon = Daemon::start("hello");
        daemon.signal(SIGTERM);
        assert_eq!(daemon.wait(), 0, "{}", daemon.log());
    }
}

#[test]
fn a_daemon_leaves_nothing_in_the_temporary_folder() {
    let folder = crate::support::TempDir::new();
    let mut daemon = Daemon::builder("hello")
        .env("TMPDIR", folder.path())
        .start();
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(entries(), 1, "its data folder");
    daemon.signal(SIGTERM);
    assert_eq!(daemon.wait(), 0);
    assert_eq!(entries(), 0, "{}", daemon.log());
}

#[test]
fn a_port_in_use_is_named() {
    let daemon = Daemon::start("hello");
    let port = daemon.addr().port().to_string();
    let output = Daemon::builder("hello").args(["--port", &port]).fails();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains(&daemon.addr().to_string()),
        "{output:?}"
    );
    assert!(output.stderr.contains("--port"), "{output:?}");
}

#[test]
fn an_address_of_another_machine_is_named() {
    // Set aside for documentation (RFC 5737).
    let output = Daemon::builder("hello")
        .args(["--bind", "192.0.2.1"])
        .fails();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("192.0.2.1") && output.stderr.contains("--bind"),
        "{output:?}"
    );
}

#[test]
fn a_flag_or_phase_that_there_is_not_is_named() {
    for (word, wrong) in [
        ("--tls", "--tls"),
        ("--max-conections=5", "--max-conections"),
        ("--timeout=nap=3s", "nap"),
        // By its place: it may be a secret that lost its flag.
        ("stray", "no flag takes word "),
    ] {
        let output = Daemon::builder("hello").arg(word).fails();
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(wrong), "{output:?}");
        assert_eq!(output.stdout, "");
    }
}
