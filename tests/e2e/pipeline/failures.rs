use std::thread;

use super::ask;
use crate::support::{Client, Daemon, TempDir, at_rest, get, request};

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
    // An instance for each of those below and one for the honest request, and all the time in the world: nobody
    // waits for anybody, so each outcome is the one that it has alone.
    let daemon = Daemon::builder("stages")
        .timeout("request", "20m")
        .args(["--max-instances", "9", "--memory-max", "128Mi"])
        .start();
    // These never come to an end.
    let spinning: Vec<Client> = ["x-test-auth", "x-test-middleware", "x-test-transform"]
        .map(|field| {
            let mut client = Client::connect(&daemon);
            client.send(format!(
                "GET / HTTP/1.1\r\nhost: a\r\n{field}: spin\r\n\r\n"
            ));
            client
        })
        .into();
    let hostile = [
        (("x-test-auth", "trap"), 503),
        // A limiter fails open.
        (("x-test-limit", "trap"), 200),
        (("x-test-middleware", "many 40000"), 502),
        (("x-test-route", "trap"), 503),
        (("x-test-transform", "big 3000000"), 502),
    ];
    thread::scope(|scope| {
        let failing = hostile.map(|(asked, wanted)| {
            let daemon = &daemon;
            scope.spawn(move || {
                for _ in 0..20 {
                    let answer = ask(daemon, &[asked]);
                    assert_eq!(answer.status, wanted, "{asked:?}: {answer:?}");
                }
            })
        });
        // As long as they do, an honest request is answered, and well.
        while failing.iter().any(|one| !one.is_finished()) {
            let answer = request(&daemon, "POST", "/", &[("x-test-handle", "echo")], b"hello");
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "hello"),
                "{answer:?}"
            );
        }
    });
    drop(spinning);
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
    // Every 5xx is told.
    daemon.wait_for_log("BREW /: failed: the method BREW is not known to typed plugins");
    assert_eq!(super::lines(&get(&daemon, "/"), "instance "), instance);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stage_leaves_nothing_behind() {
    // Neither the stage nor its time ends while this test has patience: what frees the one instance is that
    // the client has gone.
    for (field, function) in [
        ("x-test-auth", "authenticate"),
        ("x-test-middleware", "on-request"),
        ("x-test-transform", "transform-request-headers"),
    ] {
        let daemon = Daemon::builder("stages")
            .timeout("request", "20m")
            .plugin("stages:max-instances=1")
            .start();
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{field}: wait 1200000 skip\r\n\r\n"
        ));
        daemon.wait_for_log(&format!("stage stages {function} "));
        drop(client);
        assert_eq!(get(&daemon, "/").status, 200, "{field}");
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
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert_eq!(get(&daemon, "/").status, 200);
}
