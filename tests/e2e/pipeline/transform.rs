use std::time::{Duration, Instant};

use super::{Fields, ask, chunked, described, lines, post_chunked, values, wire};
use crate::support::{Builder, Client, Daemon, Response, brief, get, request};

/// The longest body that the daemons of these tests hold whole, in bytes.
const MAX_BODY: usize = 64 << 10;

/// A transformer in front of a handler that streams.
fn streamed() -> Builder {
    Daemon::builder("stage-transformer")
        .with("http-echo-headers")
        .arg("--max-body")
        .arg(MAX_BODY.to_string())
}

/// Has the handler of `stages` send back what it got, with these changes to the bodies.
fn echoed(setting: &str, value: &str, body: &[u8]) -> Response {
    let daemon = Daemon::builder("stages")
        .arg("--config")
        .arg(format!("{setting}={value}"))
        .start();
    let fields = [("x-test-handle", "echo")];
    let fixed = request(&daemon, "POST", "/", &fields, body);
    let chunked = post_chunked(&daemon, &fields, body);
    assert_eq!(
        (fixed.status, chunked.status),
        (200, 200),
        "{value}: {chunked:?}"
    );
    assert_eq!(fixed.body, chunked.body, "{setting}={value}");
    fixed
}

#[test]
fn headers_change_both_ways() {
    let daemon = streamed().start();
    let fields = [
        ("x-secret", "1"),
        ("x-kept", "2"),
        ("x-test-transform", "drop x-secret;add x-new=3"),
    ];
    let path =
        "/?h.x-secret=1&h.x-kept=2&h.x-test-transform-response=drop%20x-secret;add%20x-new=3";
    let answer = request(&daemon, "GET", path, &fields, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(lines(&answer, "x-secret").is_empty(), "{}", answer.text());
    assert_eq!(lines(&answer, "x-kept: "), ["2"]);
    assert_eq!(lines(&answer, "x-new: "), ["3"]);
    assert_eq!(
        lines(&answer, "x-trace: "),
        ["stages transform-request-headers"]
    );
    assert!(values(&answer, "x-secret").is_empty(), "{answer:?}");
    assert_eq!(values(&answer, "x-kept"), ["2"]);
    assert_eq!(values(&answer, "x-new"), ["3"]);
    assert_eq!(
        values(&answer, "x-trace"),
        ["stages transform-response-headers"]
    );
}

#[test]
fn bodies_change_both_ways_and_their_lengths_with_them() {
    let body = b"Hello, transformer! ".repeat(200);
    let upper: Vec<u8> = body.to_ascii_uppercase();
    let reversed: Vec<u8> = body.iter().rev().copied().collect();
    let grown: Vec<u8> = [&body[..], &[b'g'; 5000]].concat();
    for setting in ["test.request-body", "test.response-body"] {
        for (value, result) in [
            ("upper", &upper[..]),
            ("reverse", &reversed[..]),
            ("grow 5000", &grown[..]),
            ("shrink 10", &body[..10]),
            ("empty", b""),
        ] {
            let answer = echoed(setting, value, &body);
            assert!(answer.body == result, "{setting}={value}: {answer:?}");
            assert_eq!(
                values(&answer, "content-length"),
                [result.len().to_string()]
            );
        }
    }
}

#[test]
fn the_handler_is_told_the_new_length() {
    for (change, length) in [
        ("grow 5", "10"),
        ("shrink 2", "2"),
        ("empty", "0"),
        ("upper", "5"),
    ] {
        let daemon = streamed()
            .arg("--config")
            .arg(format!("test.request-body={change}"))
            .start();
        for (answer, told) in [
            (request(&daemon, "POST", "/", &[], b"hello"), Some(length)),
            // Where there was none, a body of nothing needs none.
            (
                post_chunked(&daemon, &[], b"hello"),
                Some(length).filter(|length| *length != "0"),
            ),
        ] {
            assert_eq!(
                lines(&answer, "body ").concat().split(' ').next(),
                Some(length)
            );
            assert_eq!(
                lines(&answer, "content-length: "),
                Vec::from_iter(told),
                "{change}: {}",
                answer.text()
            );
            assert!(
                lines(&answer, "transfer-encoding").is_empty(),
                "{}",
                answer.text()
            );
        }
    }
    // A request without a body gets none.
    let daemon = streamed()
        .args(["--config", "test.request-body=grow 5"])
        .start();
    let answer = get(&daemon, "/");
    assert_eq!(
        lines(&answer, "body "),
        [described(b"")],
        "{}",
        answer.text()
    );
}

#[test]
fn pipelined_requests_stay_apart_whatever_becomes_of_their_bodies() {
    for change in ["grow 100", "empty", "upper"] {
        let daemon = Daemon::builder("stages")
            .arg("--config")
            .arg(format!("test.request-body={change}"))
            .arg("--config")
            .arg(format!("test.response-body={change}"))
            .start();
        let mut client = Client::connect(&daemon);
        let mut bytes = Vec::new();
        let field = "host: a\r\nx-test-handle: echo\r\n";
        bytes.extend_from_slice(
            format!("POST /1 HTTP/1.1\r\n{field}content-length: 5\r\n\r\nfirst").as_bytes(),
        );
        bytes.extend_from_slice(
            format!("POST /2 HTTP/1.1\r\n{field}transfer-encoding: chunked\r\n\r\n").as_bytes(),
        );
        bytes.extend(chunked(b"second", 4));
        bytes.extend_from_slice(
            format!("GET /3 HTTP/1.1\r\n{field}connection: close\r\n\r\n").as_bytes(),
        );
        client.send(bytes);
        for body in ["first", "second", ""] {
            let answer = client.read_response();
            assert_eq!(answer.status, 200, "{change}: {answer:?}");
            let twice = "g".repeat(200);
            let expected = match (change, body) {
                ("empty", _) => String::new(),
                ("upper", _) => body.to_uppercase(),
                // Nothing is not transformed, on its way in or out.
                (_, "") => String::new(),
                _ => format!("{body}{twice}"),
            };
            assert_eq!(answer.text(), expected, "{change}");
        }
        assert!(client.is_closed());
    }
}

#[test]
fn streamed_answers_are_transformed_as_a_whole() {
    let daemon = streamed()
        .args(["--config", "test.response-body=reverse"])
        .start();
    let bytes = b"0123456789abcdef".repeat(MAX_BODY / 16);
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    for query in [
        "bytes=65536",
        "bytes=65536&chunked",
        "bytes=65536&chunked&pause_ms=50",
    ] {
        let answer = get(&daemon, &format!("/?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert!(answer.body == reversed, "{query}: {answer:?}");
        assert_eq!(values(&answer, "content-length"), ["65536"]);
        assert!(answer.header("transfer-encoding").is_none(), "{answer:?}");
    }
    // Longer than it may be held is the handler's failure, announced or not.
    for query in [
        "bytes=65537",
        "bytes=65537&chunked",
        "bytes=5000000&chunked",
    ] {
        let answer = get(&daemon, &format!("/?{query}"));
        assert_eq!(answer.status, 502, "{query}: {answer:?}");
        assert!(answer.header("x-calls").is_none(), "{answer:?}");
    }
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn answers_without_a_body_stay_without() {
    let daemon = streamed()
        .args(["--config", "test.response-body=grow 7"])
        .start();
    for status in ["204", "304"] {
        // The next answer on the connection is where it should be.
        let head = format!(
            "GET /?status={status} HTTP/1.1\r\nhost: a\r\n\r\nGET /?bytes=3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        let answer = wire(&daemon, head);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("x-trace: stages transform-response-headers"),
            "{head}"
        );
        assert!(rest.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(rest.ends_with("\r\n\r\n012ggggggg"), "{answer}");
    }
    let head = "HEAD /?bytes=3 HTTP/1.1\r\nhost: a\r\n\r\nGET /?bytes=3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = wire(&daemon, head);
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    // 3 would not be what GET brings.
    let lower = head.to_ascii_lowercase();
    assert!(!lower.contains("content-length: 3\r\n"), "{answer}");
    assert!(
        rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("\r\n\r\n012ggggggg"),
        "{answer}"
    );
    // Nor is there anything to grow where the answer could have had a body and has none.
    let daemon = Daemon::builder("stages")
        .args(["--config", "test.response-body=grow 7"])
        .start();
    let answer = ask(&daemon, &[("x-test-handle", "respond 200 ")]);
    assert_eq!(answer.text(), "", "{answer:?}");
}

#[test]
fn body_hooks_can_be_switched_off_one_by_one() {
    let body = b"hello".repeat(100);
    for (setting, changes_request, changes_response) in [
        ("both", true, true),
        ("request", true, false),
        ("response", false, true),
        ("none", false, false),
    ] {
        let daemon = streamed()
            .plugin(&format!("stage-transformer:bodies={setting}"))
            .args(["--config", "test.request-body=grow 100"])
            .args(["--config", "test.response-body=upper"])
            .start();
        let answer = request(&daemon, "POST", "/", &[], &body);
        assert_eq!(answer.status, 200, "{setting}: {answer:?}");
        // Headers are transformed whatever becomes of the bodies.
        assert_eq!(
            values(&answer, "x-trace"),
            ["stages transform-response-headers"]
        );
        let (word, length) = match changes_response {
            true => ("BODY ", if changes_request { "600 " } else { "500 " }),
            false => ("body ", if changes_request { "600 " } else { "500 " }),
        };
        let told = lines(&answer, word);
        assert!(
            told.len() == 1 && told[0].starts_with(length),
            "{setting}: {}",
            answer.text()
        );
        // What is not held is not bounded.
        let long = vec![b'x'; 4 * MAX_BODY];
        let answer = request(&daemon, "POST", "/", &[], &long);
        assert_eq!(
            answer.status,
            if changes_request { 413 } else { 200 },
            "{setting}: {answer:?}"
        );
        let answer = get(&daemon, &format!("/?bytes={}&chunked", 4 * MAX_BODY));
        match changes_response {
            true => assert_eq!(answer.status, 502, "{setting}: {answer:?}"),
            false => assert_eq!((answer.status, answer.body.len()), (200, 4 * MAX_BODY)),
        }
    }
}

#[test]
fn a_body_beyond_the_bound_is_413_going_in_and_502_coming_out() {
    let daemon = streamed()
        .args(["--config", "test.request-body=upper"])
        .start();
    let long = vec![b'x'; MAX_BODY + 1];
    for answer in [
        request(&daemon, "POST", "/", &[], &long),
        post_chunked(&daemon, &[], &long),
    ] {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let answer = request(&daemon, "POST", "/", &[], &long[..MAX_BODY]);
    assert_eq!(answer.status, 200, "{answer:?}");
    // One that a transformer makes too long is its failure.
    let daemon = streamed()
        .args(["--config", "test.request-body=grow 1"])
        .start();
    assert_eq!(
        request(&daemon, "POST", "/", &[], &long[..MAX_BODY]).status,
        502
    );
    assert_eq!(
        request(&daemon, "POST", "/", &[], &long[..MAX_BODY - 1]).status,
        200
    );
    // Also one that is so much too long that the engine does not even copy it.
    let daemon = streamed()
        .args(["--config", "test.request-body=grow 5000000"])
        .start();
    assert_eq!(request(&daemon, "POST", "/", &[], b"x").status, 502);
    daemon.wait_for_log("a body of more than 65536 bytes (--max-body)");
    let daemon = streamed()
        .args(["--config", "test.response-body=grow 1"])
        .start();
    assert_eq!(get(&daemon, "/?bytes=65536").status, 502);
    assert_eq!(get(&daemon, "/?bytes=65535").body.len(), 65536);
}

#[test]
fn an_upload_without_an_end_is_refused_once_it_is_longer_than_it_may_be() {
    let daemon = streamed().start();
    let mut client = Client::connect(&daemon);
    let begun = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let whole = chunked(&vec![b'x'; MAX_BODY + 1], 1000);
    client.send(whole.strip_suffix(b"0\r\n\r\n").unwrap());
    let answer = client.read_response();
    assert_eq!(answer.status, 413, "{answer:?}");
    // The time of the request is 30 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{begun:?}");
    daemon.wait_for_log(
        "transform by plugin stage-transformer: the body is longer than 65536 bytes; \
         `wasm.bodies: response` in its service spares it",
    );
}

#[test]
fn several_transformers_work_in_order_and_on_the_way_back_in_reverse() {
    let daemon = Daemon::builder("stage-transformer")
        .with("stage-transformer")
        .with("stages")
        .plugin("stage-transformer:config.name=one")
        .plugin("stage-transformer:config.test.request-body=shrink 5")
        .plugin("stage-transformer:config.test.response-body=shrink 8")
        .plugin("stage-transformer-2:config.name=two")
        .plugin("stage-transformer-2:config.test.request-body=grow 3")
        .plugin("stage-transformer-2:config.test.response-body=grow 20")
        .start();
    let answer = request(
        &daemon,
        "POST",
        "/",
        &[("x-test-handle", "echo")],
        b"0123456789",
    );
    // In: 5 left, 3 more. Out: 20 more, 8 left. The other way round would be 5 and 28.
    assert_eq!(answer.text(), "01234ggg");
    assert_eq!(
        values(&answer, "x-trace"),
        [
            "stages transform-response-headers",
            "two transform-response-headers",
            "one transform-response-headers",
            "stages on-response"
        ]
    );
}

#[test]
fn what_is_not_http_is_a_bad_gateway_and_framing_is_left_alone() {
    let daemon = streamed().start();
    for step in [
        "add x-bad=a\\r\\nx-injected: yes",
        "add x bad=1",
        "add =1",
        "many 24575",
        "many 40000",
    ] {
        assert_eq!(
            ask(&daemon, &[("x-test-transform", step)]).status,
            502,
            "{step}"
        );
        let step = step
            .replace('\\', "%5C")
            .replace(' ', "%20")
            .replace('=', "%3D");
        let answer = get(&daemon, &format!("/?h.x-test-transform-response={step}"));
        assert_eq!(answer.status, 502, "{step}: {answer:?}");
        assert!(answer.header("x-injected").is_none(), "{answer:?}");
    }
    for step in [
        "set content-length=1",
        "add content-length=99",
        "drop content-length",
        "add transfer-encoding=chunked",
        "add connection=close",
    ] {
        let inner = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let back = step.replace(' ', "%20").replace('=', "%3D");
        let head = format!(
            "POST /first?h.x-test-transform-response={back} HTTP/1.1\r\nhost: a\r\nx-test-transform: {step}\r\ncontent-length: {}\r\n\r\n{inner}GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            inner.len()
        );
        let mut client = Client::connect(&daemon);
        client.send(head);
        let first = client.read_response();
        assert!(first.text().starts_with("POST /first"), "{step}: {first:?}");
        assert!(
            first.keep_alive && first.header("transfer-encoding").is_none(),
            "{step}"
        );
        assert_eq!(
            lines(&first, "body "),
            [described(inner.as_bytes())],
            "{step}"
        );
        let second = client.read_response();
        assert!(
            second.text().starts_with("GET /second\n"),
            "{step}: {second:?}"
        );
        assert!(client.is_closed());
    }
}

#[test]
fn a_transformer_that_fails_closes_the_way_in_both_directions() {
    let daemon = streamed().timeout("request", brief()).start();
    let ways: [(Fields, &str, &[u8]); 6] = [
        (&[("x-test-transform", "trap")], "/", b""),
        (&[("x-test-transform", "spin")], "/", b""),
        (&[], "/?h.x-test-transform-response=trap", b""),
        (&[], "/?h.x-test-transform-response=spin", b""),
        (&[], "/", b"!trap\nrest"),
        (&[], "/", b"!spin\nrest"),
    ];
    for (fields, path, body) in ways {
        let answer = request(&daemon, "POST", path, fields, body);
        assert_eq!(answer.status, 503, "{path} {fields:?}: {answer:?}");
        assert!(answer.header("x-calls").is_none(), "{answer:?}");
    }
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_transformer_that_fails_open_leaves_answers_whole() {
    let open = || streamed().plugin("stage-transformer:on-failure=open");
    let daemon = open().args(["--config", "test.response-body=trap"]).start();
    for query in [
        "bytes=50000",
        "bytes=50000&chunked",
        "bytes=50000&chunked&pause_ms=50",
        "bytes=3",
    ] {
        let answer = get(&daemon, &format!("/?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let whole = b"0123456789abcdef".iter().cycle();
        assert!(
            answer.body.iter().eq(whole.take(answer.body.len())),
            "{query}"
        );
        assert_eq!(
            answer.body.len(),
            if query == "bytes=3" { 3 } else { 50_000 },
            "{query}: {answer:?}"
        );
    }
    // What cannot be held is not cut short and passed on.
    for query in ["bytes=200000", "bytes=200000&chunked"] {
        let answer = get(&daemon, &format!("/?{query}"));
        assert_eq!(answer.status, 502, "{query}: {answer:?}");
    }
    let daemon = open().args(["--config", "test.request-body=trap"]).start();
    let body = b"hello".repeat(1000);
    for answer in [
        request(&daemon, "POST", "/", &[], &body),
        post_chunked(&daemon, &[], &body),
    ] {
        assert_eq!(lines(&answer, "body "), [described(&body)], "{answer:?}");
    }
}

#[test]
fn the_guides_transformer_hides_secrets_and_opens_answers() {
    let daemon = Daemon::builder("header-transformer")
        .with("http-echo-headers")
        .start();
    let fields = [
        ("X-Internal-Secret", "1"),
        ("x-debug-token", "2"),
        ("x-kept", "3"),
    ];
    let answer = request(&daemon, "POST", "/", &fields, b"hello");
    for name in ["x-internal-secret", "x-debug-token"] {
        assert!(lines(&answer, name).is_empty(), "{}", answer.text());
    }
    assert_eq!(lines(&answer, "x-kept: "), ["3"]);
    assert_eq!(lines(&answer, "x-transformed-by: "), ["zlayer-transformer"]);
    assert_eq!(lines(&answer, "body "), [described(b"hello")]);
    assert_eq!(values(&answer, "access-control-allow-origin"), ["*"]);
}
