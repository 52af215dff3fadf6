//! Pages of another origin: preflights, and what a page may read of a refusal.

use super::{Fields, ask, lines, values};
use crate::support::{Daemon, Response, request};

const PREFLIGHT: Fields<'_> = &[
    ("origin", "https://page.example"),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "authorization"),
];

fn preflight(daemon: &Daemon, fields: Fields<'_>) -> Response {
    let fields = [PREFLIGHT, fields].concat();
    request(daemon, "OPTIONS", "/api", &fields, b"")
}

#[test]
fn the_example_lets_pages_of_another_origin_in_past_an_authenticator_and_a_limiter() {
    let origin = "https://page.example";
    let daemon = Daemon::builder("security-headers")
        .with("api-key-authenticator")
        .with("per-client-limiter")
        .with("hello")
        .plugin(&format!("security-headers:config.cors.origin={origin}"))
        .plugin("security-headers:config.cors.headers=x-api-key")
        .plugin("per-client-limiter:config.rate_limits.default=3")
        .plugin("per-client-limiter:config.window_ms=31536000000")
        .plugin("api-key-authenticator:secrets=api_key.page")
        .args(["--secret", "api_key.page=correct-horse"])
        .start();
    let allowed = |answer: &Response| values(answer, "access-control-allow-origin");
    let answer = preflight(&daemon, &[]);
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(allowed(&answer), [origin]);
    assert_eq!(
        values(&answer, "access-control-allow-headers"),
        ["x-api-key"]
    );
    assert_eq!(
        values(&answer, "access-control-allow-methods"),
        ["GET, POST"]
    );
    // The request that it asked for, without credentials, with wrong ones and with the right ones.
    let page = ("origin", origin);
    let mut statuses = vec![ask(&daemon, &[page])];
    statuses.push(ask(&daemon, &[page, ("x-api-key", "wrong")]));
    for _ in 0..4 {
        statuses.push(ask(&daemon, &[page, ("x-api-key", "correct-horse")]));
    }
    for answer in &statuses {
        assert_eq!(allowed(answer), [origin], "{answer:?}");
    }
    let statuses: Vec<u16> = statuses.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [401, 403, 200, 200, 200, 429]);
    // No OPTIONS but a preflight passes the authenticator.
    let answer = request(&daemon, "OPTIONS", "/api", &[page], b"");
    assert_eq!(
        (answer.status, allowed(&answer)),
        (401, vec![origin.to_owned()])
    );
}

#[test]
fn refusals_of_earlier_stages_pass_the_middlewares() {
    let daemon = Daemon::builder("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware:config.test.on-response=seen")
        .plugin("stages:config.name=two")
        .start();
    let cases: [(Fields<'_>, u16); 5] = [
        (&[("x-test-auth", "denied no")], 401),
        (&[("x-test-auth", "challenge Bearer")], 401),
        (&[("x-test-auth", "trap")], 503),
        (&[("x-test-auth", "many 1000")], 502),
        (&[("x-test-limit", "deny 0 10 2000")], 429),
    ];
    for (fields, status) in cases {
        let answer = ask(&daemon, fields);
        assert_eq!(answer.status, status, "{fields:?}: {answer:?}");
        let traces = values(&answer, "x-trace");
        assert_eq!(traces, ["two on-response", "one on-response"], "{fields:?}");
        assert_eq!(values(&answer, "x-seen-status"), [status.to_string()]);
    }
}

#[test]
fn a_preflight_is_shown_to_middlewares_first_and_to_no_authenticator_changed() {
    let daemon = Daemon::builder("stage-middleware")
        .with("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware-2:config.name=two")
        .plugin("stages:config.name=three")
        .start();
    // Whoever responds to it sees its own response, and those before it do.
    let abort = ("x-test-middleware-two", "abort 204");
    let answer = preflight(&daemon, &[abort, ("x-test-auth", "denied no")]);
    assert_eq!(answer.status, 204);
    let traces = values(&answer, "x-trace");
    assert_eq!(traces, ["two on-response", "one on-response"]);
    // If nobody does, it is a request like any other.
    let answer = preflight(&daemon, &[("x-test-auth", "denied no")]);
    assert_eq!(answer.status, 401);
    assert_eq!(values(&answer, "x-trace").len(), 3);
    // What a middleware puts into its head is not the client's word: it is there behind the
    // authenticators alone, and once.
    let steps = "set x-test-auth=authenticated sub=root;set x-added=1";
    let answer = preflight(&daemon, &[("x-test-middleware-one", steps)]);
    assert_eq!(answer.status, 200);
    assert!(
        lines(&answer, "context claim").is_empty(),
        "{}",
        answer.text()
    );
    assert_eq!(lines(&answer, "header x-added: "), ["1"]);
    let seen = lines(&answer, "header x-trace: ");
    let entered = ["one on-request", "two on-request", "three on-request"];
    assert_eq!(seen[..3], entered);
    // What only looks like one is let in first.
    for only in &PREFLIGHT[..2] {
        let fields = [*only, abort, ("x-test-auth", "denied no")];
        assert_eq!(request(&daemon, "OPTIONS", "/", &fields, b"").status, 401);
    }
    let fields = [PREFLIGHT, &[abort, ("x-test-auth", "denied no")]].concat();
    assert_eq!(request(&daemon, "GET", "/", &fields, b"").status, 401);
}

#[test]
fn a_response_that_fails_before_its_first_byte_is_out_is_replaced_by_one_that_passes_too() {
    let daemon = Daemon::builder("stage-middleware")
        .with("hostile")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware:config.test.on-response=seen")
        .start();
    for path in ["/short-body-at-once", "/no-finish-at-once"] {
        let answer = request(&daemon, "GET", path, &[], b"");
        assert!(answer.status >= 500, "{path}: {answer:?}");
        assert_eq!(
            values(&answer, "x-seen-status"),
            [answer.status.to_string()]
        );
        let id = answer.header("x-request-id").unwrap();
        daemon.wait_for_log(&format!("[{id}] GET {path}: plugin hostile: failed: "));
    }
}
