use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::ask;
use crate::support::{Client, Daemon, TempDir, at_rest, brief, eventually, get, request};

#[test]
fn the_log_names_stage_and_plugin_and_the_client_is_told_neither() {
    let daemon = Daemon::builder("stage-auth")
        .with("stage-router")
        .with("stages")
        .start();
    for (field, asked, says) in [
        (
            "x-test-auth",
            "trap",
            "authenticate by plugin stage-auth: trap",
        ),
        ("x-test-route", "trap", "route by plugin stage-router: trap"),
        (
            "x-test-middleware",
            "trap",
            "middleware by plugin stages: trap",
        ),
        (
            "x-test-transform",
            "trap",
            "transform by plugin stages: trap",
        ),
    ] {
        let answer = ask(&daemon, &[(field, asked)]);
        assert_eq!(answer.status, 503, "{field}: {answer:?}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        daemon.wait_for_log(&format!("[{id}] GET /: failed: {says}"));
        assert!(
            !answer.text().contains("trap") && !answer.text().contains("stage"),
            "{answer:?}"
        );
        // And once.
        let log = daemon.log();
        assert_eq!(log.matches(&format!("[{id}] GET /: ")).count(), 1, "{log}");
    }
}

#[test]
fn stages_that_fail_cost_others_nothing() {
    let daemon = Daemon::builder("stages")
        .timeout("request", brief())
        .start();
    let is_over = AtomicBool::new(false);
    let hostile = [
        ("x-test-auth", "spin"),
        ("x-test-auth", "trap"),
        ("x-test-limit", "trap"),
        ("x-test-middleware", "many 40000"),
        ("x-test-middleware", "spin"),
        ("x-test-route", "trap"),
        ("x-test-transform", "big 3000000"),
        ("x-test-transform", "spin"),
    ];
    thread::scope(|scope| {
        for asked in hostile {
            let (daemon, is_over) = (&daemon, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let status = ask(daemon, &[asked]).status;
                    assert!(matches!(status, 200 | 500..=504), "{asked:?}: {status}");
                }
            });
        }
        // Whatever they do, an honest request is answered, sooner or later and well.
        let mut answered = 0;
        eventually("honest answers", || {
            let answer = request(&daemon, "POST", "/", &[("x-test-handle", "echo")], b"hello");
            match answer.status {
                200 => answered += usize::from(answer.text() == "hello"),
                status => assert!(matches!(status, 503 | 504), "{answer:?}"),
            }
            answered == 20
        });
        is_over.store(true, Ordering::Relaxed);
    });
    // Those instances that did not end well are being replaced.
    eventually("an honest answer", || get(&daemon, "/").status == 200);
}

#[test]
fn a_method_without_a_case_is_501_and_costs_no_instance() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages").data_dir(folder.path()).start();
    at_rest(&folder);
    let instance = super::lines(&get(&daemon, "/"), "instance ");
    for _ in 0..3 {
        assert_eq!(request(&daemon, "BREW", "/", &[], b"").status, 501);
    }
    assert_eq!(super::lines(&get(&daemon, "/"), "instance "), instance);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stage_leaves_nothing_behind() {
    let daemon = Daemon::builder("stages")
        .timeout("request", "60s")
        .plugin("stages:max-instances=1")
        .start();
    // Not in the way of others: the one instance is free again at once.
    for field in ["x-test-auth", "x-test-middleware", "x-test-transform"] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{field}: wait 1000 skip\r\n\r\n"
        ));
        drop(client);
        eventually("the next request", || get(&daemon, "/").status == 200);
    }
}

#[test]
fn a_body_that_breaks_off_is_the_clients_failure_in_every_stage() {
    let daemon = Daemon::builder("stages")
        .plugin("stages:request-body=whole")
        .start();
    let mut client = Client::connect(&daemon);
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n",
    );
    assert_eq!(client.read_response().status, 400);
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    client.shutdown_write();
    let bytes = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400 "),
        "{text}"
    );
    assert_eq!(get(&daemon, "/").status, 200);
}
