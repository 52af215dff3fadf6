use super::{Fields, ask, lines, values, wire};
use crate::support::{Builder, Daemon, Response, TempDir, at_rest, brief, get, request};

/// Two copies in front of a handler that tells what it saw.
fn two() -> Builder {
    Daemon::builder("stage-middleware")
        .with("stage-middleware")
        .with("http-echo-headers")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware-2:config.name=two")
}

#[test]
fn requests_pass_in_the_declared_order_and_answers_in_reverse() {
    let daemon = two()
        .with("stages")
        .plugin("stages:config.name=three")
        // So that the last plugin is the handler, which lists fields as they came.
        .plugin("http-echo-headers:paths=/streamed")
        .start();
    let answer = ask(&daemon, &[]);
    let seen = lines(&answer, "header x-trace: ");
    assert_eq!(
        seen,
        [
            "one on-request",
            "two on-request",
            "three on-request",
            "three transform-request-headers"
        ]
    );
    assert_eq!(
        values(&answer, "x-trace"),
        [
            "three transform-response-headers",
            "three on-response",
            "two on-response",
            "one on-response"
        ]
    );
    // The same with a handler that streams.
    let answer = get(&daemon, "/streamed");
    assert_eq!(lines(&answer, "x-trace: ").len(), 4, "{}", answer.text());
    assert_eq!(
        values(&answer, "x-trace")[1..],
        ["three on-response", "two on-response", "one on-response"]
    );
}

#[test]
fn the_whole_list_is_replaced_each_way() {
    let daemon = two().start();
    // The second one sees what the first one left.
    let fields = [
        ("x-secret", "1"),
        ("x-kept", "a"),
        ("x-kept", "b"),
        (
            "x-test-middleware-one",
            "drop x-secret;set x-new=1;add x-kept=c",
        ),
        ("x-test-middleware-two", "drop x-new"),
    ];
    let answer = ask(&daemon, &fields);
    assert_eq!(answer.status, 200);
    assert!(lines(&answer, "x-secret").is_empty(), "{}", answer.text());
    assert!(lines(&answer, "x-new").is_empty(), "{}", answer.text());
    assert_eq!(lines(&answer, "x-kept: "), ["a", "b", "c"]);
    let answer = ask(
        &daemon,
        &[("x-secret", "1"), ("x-test-middleware", "drop-all")],
    );
    let traces = lines(&answer, "x-trace: ");
    // The first one's order is gone as well.
    assert_eq!(traces, ["one on-request", "two on-request"]);
    assert!(lines(&answer, "x-secret").is_empty(), "{}", answer.text());
    // A request without Host is none: it stays unless there is another, and there is one.
    assert_eq!(lines(&answer, "authority "), ["localhost"]);
    let answer = ask(
        &daemon,
        &[("x-test-middleware-one", "set host=other.local")],
    );
    assert_eq!(lines(&answer, "authority "), ["other.local"]);

    let answer = get(
        &daemon,
        "/?h.x-secret=1&h.x-kept=a&h.x-test-on-response-two=drop%20x-secret;add%20x-new=2",
    );
    assert_eq!(answer.status, 200);
    assert_eq!(values(&answer, "x-new"), ["2"]);
    assert_eq!(values(&answer, "x-kept"), ["a"]);
    assert!(values(&answer, "x-secret").is_empty(), "{answer:?}");
    let answer = get(&daemon, "/?h.x-kept=a&h.x-test-on-response=drop-all");
    assert_eq!(
        values(&answer, "x-trace"),
        ["two on-response", "one on-response"]
    );
    assert!(values(&answer, "x-kept").is_empty(), "{answer:?}");
    assert!(!answer.body.is_empty());
}

#[test]
fn a_host_that_is_none_is_the_middlewares_failure() {
    let daemon = two().start();
    for host in ["evil x/y", "\u{e9}", "a:b"] {
        let asked = format!("set host={host}");
        let answer = ask(&daemon, &[("x-test-middleware-two", &asked)]);
        assert_eq!(answer.status, 502, "{host}: {answer:?}");
        daemon.wait_for_log(&format!(
            "middleware by plugin stage-middleware-2: the plugin's answer is not valid HTTP: host {host:?}"
        ));
    }
}

#[test]
fn a_middleware_is_told_what_there_is_to_know() {
    let daemon = two().start();
    let fields = [
        ("x-test-middleware-one", "seen"),
        ("host", "device.local:8080"),
    ];
    let answer = request(
        &daemon,
        "PUT",
        "/a/b?h.x-test-on-response=seen&status=404",
        &fields,
        b"x",
    );
    assert_eq!(lines(&answer, "x-seen-method: "), ["PUT"]);
    assert_eq!(lines(&answer, "x-seen-path: "), ["/a/b"]);
    let client = lines(&answer, "x-seen-client: ").concat();
    let words: Vec<&str> = client.split(' ').collect();
    assert_eq!(words[0], "127.0.0.1");
    assert!(
        words[1]
            .parse::<u16>()
            .is_ok_and(|port| port != daemon.addr().port()),
        "{client}"
    );
    assert!(words[2].contains("Http11"), "{client}");
    assert!(
        words[3]
            .parse::<u64>()
            .is_ok_and(|at| at > 1_600_000_000_000_000_000),
        "{client}"
    );
    assert_eq!(words[4..], ["None", "None", "Some(\"device.local\")"]);
    assert_eq!(values(&answer, "x-seen-status"), ["404", "404"]);
    assert_eq!(answer.status, 404);
}

#[test]
fn an_abort_is_an_answer_and_only_those_it_has_passed_see_it() {
    let daemon = two().start();
    let answer = ask(
        &daemon,
        &[("x-test-middleware-two", "abort 418 short and stout")],
    );
    assert_eq!(answer.status, 418);
    assert!(answer.text().contains("short and stout"), "{answer:?}");
    assert!(
        !answer.text().contains("call "),
        "it was handled: {answer:?}"
    );
    assert_eq!(values(&answer, "x-trace"), ["one on-response"]);
    let answer = ask(&daemon, &[("x-test-middleware-one", "abort 451 no")]);
    assert_eq!(answer.status, 451);
    assert!(values(&answer, "x-trace").is_empty(), "{answer:?}");
    // An answer can be aborted, too: the handler's is not seen by the client.
    let answer = get(
        &daemon,
        "/?h.x-own=1&h.x-test-on-response-two=abort%20403%20no",
    );
    assert_eq!(answer.status, 403);
    assert!(answer.header("x-own").is_none(), "{answer:?}");
    assert!(!answer.text().contains("call "), "{answer:?}");
    assert_eq!(values(&answer, "x-trace"), ["one on-response"]);
    // A status that has no body has none, and the connection goes on.
    for status in ["204", "304"] {
        let head = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-test-middleware: abort {status} text\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let answer = wire(&daemon, head);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (_, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(rest.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // A line break in its text is in the body, and nowhere else.
    let answer = ask(
        &daemon,
        &[("x-test-middleware", "abort 400 a\\r\\nx-injected: yes")],
    );
    assert_eq!(answer.status, 400);
    assert!(answer.header("x-injected").is_none(), "{answer:?}");
}

#[test]
fn what_is_not_http_is_a_bad_gateway_and_never_on_the_wire() {
    let daemon = two().start();
    for step in [
        "add x-bad=a\\r\\nx-injected: yes",
        "add x-bad=a\\nx-injected: yes",
        "add x-bad=a\\rx-injected: yes",
        "add x-bad=a\\0b",
        "add x-bad\\r\\nx-injected: yes\\r\\nx-rest=1",
        "add x bad=1",
        "add x-bad:=1",
        "add =x-injected",
        "add \u{e9}=1",
        "many 24575",
        "many 40000",
    ] {
        for (one, two) in [(step, ""), ("", step)] {
            let fields = [
                ("x-test-middleware-one", one),
                ("x-test-middleware-two", two),
            ];
            let answer = ask(&daemon, &fields);
            assert_eq!(answer.status, 502, "{step}: {answer:?}");
            assert!(!format!("{answer:?}").contains("njected"), "{answer:?}");
        }
        // In an answer, on the wire as it is.
        let step = step
            .replace('\\', "%5C")
            .replace(' ', "%20")
            .replace('\u{e9}', "%C3%A9")
            .replace('=', "%3D");
        let answer = wire(
            &daemon,
            format!(
                "GET /?h.x-test-on-response={step} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            ),
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 502 "), "{step}: {answer}");
        assert!(!head.contains("njected"), "{answer}");
        assert!(body.starts_with("502 Bad Gateway\n"), "{answer}");
    }
    for status in [
        "0", "99", "100", "101", "199", "600", "999", "1000", "65535",
    ] {
        let abort = format!("abort {status} x");
        assert_eq!(
            ask(&daemon, &[("x-test-middleware", &abort)]).status,
            502,
            "{status}"
        );
        let back = format!("/?h.x-test-on-response=abort%20{status}%20x");
        assert_eq!(get(&daemon, &back).status, 502, "{status}");
    }
    assert_eq!(ask(&daemon, &[]).status, 200);
    daemon.wait_for_log(
        "middleware by plugin stage-middleware-2: the plugin's answer is not valid HTTP",
    );
}

#[test]
fn a_middleware_cannot_change_how_messages_are_framed() {
    let daemon = two().start();
    // A second one would be chosen by some.
    let answer = ask(&daemon, &[("x-test-middleware", "add host=other.local")]);
    assert_eq!(answer.status, 502, "{answer:?}");
    for step in [
        "set content-length=3",
        "add content-length=3",
        "add Content-Length=999",
        "drop content-length",
        "add transfer-encoding=chunked",
        "add connection=close",
        "add connection=x-kept",
        "add upgrade=websocket",
        "add keep-alive=timeout\\t1",
        "add trailer=x-kept",
    ] {
        // A request whose body would be read as the next request if its length could be changed.
        let inner = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let head = format!(
            "POST /first HTTP/1.1\r\nhost: a\r\nx-kept: 1\r\nx-test-middleware: {step}\r\ncontent-length: {}\r\n\r\n{inner}GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            inner.len()
        );
        let answer = wire(&daemon, head);
        assert!(answer.contains("\nPOST /first\n"), "{step}: {answer}");
        assert!(
            answer.contains(&format!("\nbody {} ", inner.len())),
            "{step}: {answer}"
        );
        assert!(answer.contains("\nx-kept: 1\n"), "{step}: {answer}");
        assert!(answer.contains("\nGET /second\n"), "{step}: {answer}");
        assert!(!answer.contains("GET /smuggled\n"), "{step}: {answer}");
        // And the answer's: two on one connection are two.
        let step = step
            .replace(' ', "%20")
            .replace('\\', "%5C")
            .replace('=', "%3D");
        let head = format!(
            "GET /first?h.x-kept=1&h.x-test-on-response={step} HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let mut client = crate::support::Client::connect(&daemon);
        client.send(head);
        let first = client.read_response();
        assert_eq!(
            (first.status, first.keep_alive),
            (200, true),
            "{step}: {first:?}"
        );
        assert!(first.text().ends_with('\n'), "{step}: {first:?}");
        assert!(
            first.header("transfer-encoding").is_none(),
            "{step}: {first:?}"
        );
        assert!(first.header("upgrade").is_none(), "{step}: {first:?}");
        assert_eq!(values(&first, "x-kept"), ["1"]);
        let second = client.read_response();
        assert!(
            second.text().contains("GET /second\n"),
            "{step}: {second:?}"
        );
        assert!(client.is_closed());
    }
}

#[test]
fn answers_that_tell_of_a_failure_pass_the_middlewares() {
    let daemon = Daemon::builder("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware:config.test.on-response=seen")
        .timeout("request", brief())
        .start();
    let cases: [(Fields, u16); 8] = [
        (&[("x-test-handle", "error x")], 502),
        (&[("x-test-handle", "trap")], 500),
        (&[("x-test-handle", "pass")], 404),
        (&[("x-test-handle", "respond 99 x")], 502),
        (&[("x-test-route", "trap")], 503),
        (&[("x-test-route", "spin")], 503),
        (&[("x-test-transform", "trap")], 503),
        (
            &[("x-test-middleware", "trap"), ("x-test-middleware-one", "")],
            503,
        ),
    ];
    for (fields, status) in cases {
        let answer = ask(&daemon, fields);
        assert_eq!(answer.status, status, "{fields:?}: {answer:?}");
        assert_eq!(
            values(&answer, "x-seen-status"),
            [status.to_string()],
            "{fields:?}"
        );
        let traces = values(&answer, "x-trace");
        assert_eq!(traces.last().unwrap(), "one on-response", "{fields:?}");
        // What the daemon has to say of it is still there.
        let id = answer.header("x-request-id").unwrap();
        assert!(answer.text().contains(id), "{answer:?}");
        if status >= 500 {
            daemon.wait_for_log(&format!("[{id}] GET /: "));
        }
    }
}

#[test]
fn answers_that_tell_that_time_is_up_pass_the_middlewares_and_have_the_limits() {
    let daemon = Daemon::builder("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.name=one")
        .plugin("stage-middleware:config.test.on-response=seen")
        .plugin("stages:max-instances=1")
        .timeout("request", brief())
        .timeout("stall", brief())
        .start();
    for asked in ["spin", "wait 600000"] {
        let answer = ask(
            &daemon,
            &[
                ("x-test-handle", asked),
                ("x-test-limit", "allow 7 10 2000"),
            ],
        );
        assert_eq!(answer.status, 504, "{asked}: {answer:?}");
        assert_eq!(values(&answer, "x-seen-status"), ["504"], "{answer:?}");
        assert!(!values(&answer, "ratelimit-limit").is_empty(), "{answer:?}");
        let id = answer.header("x-request-id").unwrap();
        daemon.wait_for_log(&format!(
            "[{id}] GET /: plugin stages: failed: the plugin did not answer in time"
        ));
    }
    // A client that does not bring its body in time is told so the same way, and then let go.
    let answer = wire(
        &daemon,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("x-seen-status: 408\r\n"), "{answer}");
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_middleware_that_hangs_on_the_way_back_has_only_its_own_part_of_the_time() {
    // A quarter of this at the latest, while a response that tells that time is up may take 3 s to leave.
    let answer = hanging_both_ways("4s");
    assert_eq!(answer.status, 503, "{answer:?}");
}

#[test]
fn time_that_is_up_waits_for_no_middleware_for_long() {
    // Half of this would be the middleware's own. The 3 s for leaving are over before.
    let answer = hanging_both_ways("12s");
    assert_eq!(answer.status, 504, "{answer:?}");
}

/// What a client is told where the handler does not answer within `time`, nor a middleware let the response
/// pass that tells so.
fn hanging_both_ways(time: &str) -> Response {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.test.on-response=wait 600000")
        .timeout("request", time)
        .data_dir(folder.path())
        .start();
    at_rest(&folder);
    let answer = ask(&daemon, &[("x-test-handle", "wait 600000")]);
    let id = answer.header("x-request-id").unwrap();
    daemon.wait_for_log(&format!("[{id}] GET /: "));
    answer
}

#[test]
fn a_middleware_that_fails_closes_the_way_in_both_directions() {
    let daemon = two().timeout("request", brief()).start();
    for asked in ["trap", "spin", "wait 600000"] {
        let answer = ask(&daemon, &[("x-test-middleware-two", asked)]);
        assert_eq!(answer.status, 503, "{asked}: {answer:?}");
        assert!(!answer.text().contains("call "), "it was handled");
        assert_eq!(
            values(&answer, "x-trace"),
            ["one on-response"],
            "{answer:?}"
        );
        let asked = asked.replace(' ', "%20");
        let answer = get(
            &daemon,
            &format!("/?h.x-own=1&h.x-test-on-response-two={asked}"),
        );
        assert_eq!(answer.status, 503, "{asked}: {answer:?}");
        assert!(answer.header("x-own").is_none(), "{answer:?}");
        assert!(!answer.text().contains("call "), "{answer:?}");
        assert_eq!(
            values(&answer, "x-trace"),
            ["one on-response"],
            "{answer:?}"
        );
    }
    let daemon = two().plugin("stage-middleware-2:on-failure=open").start();
    let answer = ask(&daemon, &[("x-test-middleware-two", "trap")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        values(&answer, "x-trace"),
        ["one on-response"],
        "{answer:?}"
    );
    let answer = get(&daemon, "/?h.x-own=1&h.x-test-on-response-two=trap");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(values(&answer, "x-own"), ["1"]);
    assert!(answer.text().contains("call "), "{answer:?}");
}

#[test]
fn the_guides_middleware_behaves_as_the_guide_says() {
    let daemon = Daemon::builder("middleware")
        .with("http-echo-headers")
        .start();
    let answer = get(&daemon, "/admin/x");
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("Unauthorized"), "{answer:?}");
    let answer = request(&daemon, "GET", "/admin/x", &[("authorization", "x")], b"");
    assert_eq!(answer.status, 200);
    let ids = lines(&answer, "x-trace-id: ");
    assert!(ids.len() == 1 && ids[0].len() == 16, "{}", answer.text());
    assert_eq!(lines(&answer, "x-forwarded-for: "), ["127.0.0.1"]);
    assert_eq!(values(&answer, "x-content-type-options"), ["nosniff"]);
    assert_eq!(values(&answer, "x-frame-options"), ["DENY"]);
    assert_eq!(get(&daemon, "/?status=503").status, 503);
    daemon.wait_for_log("Server error: 503");
}
