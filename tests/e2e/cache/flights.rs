//! Many clients at once, stale answers, and plugins that fail.

use super::*;
use crate::support::Client;

/// What the plugin's handler has begun to do, by its own metric.
fn handled(folder: &TempDir) -> u64 {
    let page = ask(folder, "/metrics").text();
    let line = page
        .lines()
        .find(|line| line.starts_with("stages_handled_total"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn one_request_does_the_work_for_fifty_clients() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let work = ("x-test-handle", "wait 1000");
    let bodies: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| kept(&daemon, "/", &[work]).body))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(handled(&folder), 1);
    let figures = figures(&folder);
    assert_eq!(
        (&figures["hits"], &figures["misses"]),
        (&49.into(), &1.into())
    );
}

#[test]
fn a_client_that_reads_slowly_holds_nobody_up() {
    /// More than the kernel's buffers hold.
    const BYTES: usize = 8 << 20;
    let folder = TempDir::new();
    let daemon = serving("stage-cache", &folder)
        .with("echo")
        .timeout("stall", "10m")
        .args(["--config", "test.cache=for 3600000"])
        .args(["--memory-max", "256Mi", "--cache-max", "128Mi"])
        .start();
    let path = format!("/download?bytes={BYTES}");
    let mut slow = Client::connect(&daemon);
    slow.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    // Its answer has begun, so it is the one that fetches for all.
    slow.socket().peek(&mut [0]).unwrap();
    let other = get_with(&daemon, &path, &[]);
    assert!(is_hit(&other), "{:?}", other.headers);
    assert_eq!(other.body.len(), BYTES);
    assert!(slow.read_response().body == other.body);
}

#[test]
fn a_failure_while_others_wait_is_made_good_by_one_of_them() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let fails = [("x-test-handle", "wait 1000 error no")];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get_with(&daemon, "/", &fails).status);
        eventually("the first at work", || handled(&folder) == 1);
        let others: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| kept(&daemon, "/", &[])))
            .collect();
        let ids = others.into_iter().map(|other| other.join().unwrap().body);
        let ids: std::collections::BTreeSet<_> = ids.collect();
        assert_eq!((first.join().unwrap(), ids.len()), (502, 1));
    });
    assert_eq!(handled(&folder), 2);
}

#[test]
fn stale_answers_are_served_while_one_request_refreshes() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let stale = ("x-test-cache", "entry 1 swr=3600000");
    let get = |fields: Fields<'_>| get_with(&daemon, "/", &[&[stale], fields].concat());
    let old = get(&[]).body;
    // One that comes to an end long after this test.
    let refreshing = ("x-test-handle", "wait 600000");
    eventually("a stale answer", || {
        let answer = get(&[refreshing]);
        assert!(is_hit(&answer) && answer.body == old, "{answer:?}");
        is_stale(&answer)
    });
    eventually("a refresh", || handled(&folder) == 2);
    for _ in 0..30 {
        let answer = get(&[refreshing]);
        assert!(is_hit(&answer) && answer.body == old, "{answer:?}");
    }
    assert_eq!(handled(&folder), 2);
}

#[test]
fn no_number_of_stale_answers_has_more_refreshes_than_a_few() {
    const REFRESHES: u64 = 4;
    const PATHS: u64 = REFRESHES + 4;
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let stale = ("x-test-cache", "entry 1 swr=3600000");
    let refreshing = ("x-test-handle", "wait 600000");
    for path in (0..PATHS).map(|number| format!("/{number}")) {
        assert_eq!(get_with(&daemon, &path, &[stale]).status, 200);
    }
    for _ in 0..2 {
        for path in (0..PATHS).map(|number| format!("/{number}")) {
            eventually("a stale answer", || {
                let answer = get_with(&daemon, &path, &[stale, refreshing]);
                assert!(is_hit(&answer), "{answer:?}");
                is_stale(&answer)
            });
        }
        eventually("refreshes", || handled(&folder) == PATHS + REFRESHES);
    }
}

#[test]
fn a_refresh_brings_the_next_answer_and_a_failed_one_disturbs_nobody() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let stale = ("x-test-cache", "entry 1 swr=3600000");
    let get = |fields: Fields<'_>| get_with(&daemon, "/", &[&[stale], fields].concat());
    let old = get(&[]).body;
    let trap = ("x-test-handle", "trap");
    eventually("a stale answer", || is_stale(&get(&[trap])));
    daemon.wait_for_log("refresh failed: ");
    let answer = get(&[trap]);
    assert!(answer.status == 200 && answer.body == old, "{answer:?}");
    // It is tried again after a while.
    eventually("a new answer", || get(&[]).body != old);
}

#[test]
fn an_unsafe_request_that_goes_well_makes_what_is_stored_invalid() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let old = kept(&daemon, "/a", &[]).body;
    eventually("a hit", || is_hit(&kept(&daemon, "/a", &[])));
    let send = |method: &str, path: &str, handle: &str| {
        let fields = [("x-test-handle", handle)];
        request(&daemon, method, path, &fields, b"").status
    };
    assert_eq!(send("POST", "/a", "respond 409 no"), 409);
    assert_eq!(send("POST", "/b", "respond 200 yes"), 200);
    assert_eq!(send("OPTIONS", "/a", "respond 200 yes"), 200);
    assert_eq!(kept(&daemon, "/a", &[]).body, old);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(send(method, "/a", "respond 200 yes"), 200);
        assert!(!is_hit(&kept(&daemon, "/a", &[])), "{method}");
        eventually("a hit", || is_hit(&kept(&daemon, "/a", &[])));
    }
    assert_eq!(figures(&folder)["purged"], 4);
}

#[test]
fn a_caching_plugin_that_fails_costs_nobody_an_answer() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    for fields in [
        &[("x-test-cache-key", "trap")][..],
        &[("x-test-cache", "trap")],
        &[("x-test-cache-key", "bytes 100000")],
        &[("x-test-cache", "tags 1000 60000")],
        &[("x-test-cache", "entry 60000 vary=no=token")],
    ] {
        for _ in 0..3 {
            let answer = get_with(&daemon, "/", fields);
            assert!(
                answer.status == 200 && !is_hit(&answer),
                "{fields:?} {answer:?}"
            );
        }
    }
    assert_eq!(figures(&folder)["entries"], 0);
    daemon.wait_for_log("goes on without its stage");
    for fault in [
        "its key has more than 4096 bytes",
        "it has more than 32 tags",
        "it varies by what is no header's name",
    ] {
        let told = format!("cache by plugin stages: an answer is not stored: {fault}");
        daemon.wait_for_log(&told);
        assert_eq!(daemon.log().matches(&told).count(), 1, "{fault}");
    }
}
