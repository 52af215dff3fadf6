use super::{close, echoes, next, open, send, try_open};
use crate::support::{Client, Daemon};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn stage() -> Daemon {
    Daemon::start("stage-websocket")
}

#[test]
fn the_example_of_the_rfc_byte_by_byte_and_with_what_follows() {
    let daemon = stage();
    let mut client = Client::connect(&daemon);
    // The first frame comes with the request: "Hello", masked, of RFC 6455 section 5.7.
    let mut wire = format!("{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n").into_bytes();
    wire.extend_from_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    client.send(&wire);
    let head = client.read_head().unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    let accept = head.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("content-length"), None);
    assert_eq!(client.read_exactly(7).unwrap(), b"\x81\x05Hello");
}

#[test]
fn a_wrong_handshake_is_refused_and_tells_why() {
    let daemon = stage();
    for (wire, status, text) in [
        (
            format!("{HANDSHAKE}Sec-WebSocket-Version: 8\r\n\r\n"),
            426,
            "13",
        ),
        (format!("{HANDSHAKE}\r\n"), 426, "13"),
        (
            format!("{HANDSHAKE}Sec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nhi"),
            400,
            "body",
        ),
        (
            HANDSHAKE.replace("GET", "POST") + "Sec-WebSocket-Version: 13\r\n\r\n",
            400,
            "GET",
        ),
        (
            HANDSHAKE.replace("dGhl", "") + "Sec-WebSocket-Version: 13\r\n\r\n",
            400,
            "Key",
        ),
        (
            HANDSHAKE.replace("Upgrade\r\nSec", "close\r\nSec")
                + "Sec-WebSocket-Version: 13\r\n\r\n",
            400,
            "Connection",
        ),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        let answer = client.read_response();
        assert_eq!(answer.status, status, "{wire}");
        assert!(answer.text().contains(text), "{}", answer.text());
        let version = answer.header("sec-websocket-version");
        assert_eq!(version, (status == 426).then_some("13"));
        if status == 426 {
            assert_eq!(answer.header("upgrade"), Some("websocket"));
            assert_eq!(answer.header("connection"), Some("upgrade"));
        }
    }
}

#[test]
fn a_handshake_in_which_none_begins_is_a_plain_request_where_a_handler_is() {
    let daemon = Daemon::builder("stage-websocket").with("stages").start();
    let head = format!("{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n");
    for (what, with) in [
        ("GET", "POST"),
        ("Connection: Upgrade\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("websocket\r\n", "h2c\r\n"),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(head.replace(what, with));
        let answer = client.read_response();
        assert_eq!(answer.status, 200, "{with}: {answer:?}");
        // Nobody is to take it for an upgrade after all.
        assert!(!answer.text().contains("header upgrade"), "{answer:?}");
    }
    // A plugin that takes WebSockets is there, and so another version is told of.
    let mut client = Client::connect(&daemon);
    client.send(head.replace("Version: 13", "Version: 12"));
    assert_eq!(client.read_response().status, 426);
    // Where none is, it does not matter.
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send(head.replace("Version: 13", "Version: 12"));
    assert_eq!(client.read_response().status, 200);
}

#[test]
fn a_request_for_something_else_is_answered_as_ever() {
    // A plugin without that role does not mind the header.
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send(format!("{HANDSHAKE}Sec-WebSocket-Version: 13\r\n\r\n"));
    assert_eq!(client.read_response().status, 200);
    // And one that has it alone answers nothing else.
    let daemon = stage();
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_response().status, 404);
}

#[test]
fn the_guides_plugin_lets_in_who_has_a_token() {
    let daemon = Daemon::builder("websocket-handler")
        .args(["--secret", "ws_token=opensesame"])
        .start();
    let answer = try_open(&daemon, "/other", &[]).err().unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("WebSocket endpoint not found"));
    for offer in ["chat", "auth-wrong"] {
        let answer = try_open(&daemon, "/ws/x", &[("sec-websocket-protocol", offer)]);
        let answer = answer.err().unwrap();
        assert_eq!(answer.status, 401, "{offer}");
        assert!(answer.text.contains("Invalid or missing authentication"));
    }
    let offer = [("sec-websocket-protocol", "chat, auth-opensesame")];
    let (mut socket, response) = try_open(&daemon, "/ws/x?y", &offer).unwrap();
    let chosen = &response.headers()["sec-websocket-protocol"];
    assert_eq!(chosen, "auth-opensesame");
    echoes(&mut socket, "hello");
    send(&mut socket, super::ping(b"there?"));
    assert_eq!(next(&mut socket), super::pong(b"there?"));
    assert_eq!(close(&mut socket, 1000), 1000);
}

#[test]
fn a_plugins_headers_reach_the_client_but_not_those_of_the_handshake() {
    let daemon = stage();
    let steps = "accept-with add x-more=1;add sec-websocket-accept=forged;add upgrade=h2c;\
        add content-length=7;add connection=close";
    let asked = [("x-test-upgrade", steps)];
    let (mut socket, response) = try_open(&daemon, "/", &asked).unwrap();
    assert_eq!(response.headers()["x-more"], "1");
    assert!(!response.headers().contains_key("content-length"));
    echoes(&mut socket, "hello");
}

#[test]
fn what_is_not_valid_becomes_502() {
    let daemon = stage();
    for asked in [
        "accept-with add sec-websocket-protocol=other",
        "accept-with add x y=1",
        "accept-with add x=a\\r\\nb: c",
        "reject 101 no",
        "reject 99 no",
    ] {
        let fields = [
            ("x-test-upgrade", asked),
            ("sec-websocket-protocol", "a, b"),
        ];
        let answer = try_open(&daemon, "/", &fields).err().unwrap();
        assert_eq!(answer.status, 502, "{asked}");
    }
    let fields = [
        ("x-test-upgrade", "protocol"),
        ("sec-websocket-protocol", "a, b"),
    ];
    let (_, response) = try_open(&daemon, "/", &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "a");
    let answer = try_open(&daemon, "/", &[("x-test-upgrade", "reject 418 short")]);
    let answer = answer.err().unwrap();
    assert_eq!((answer.status, answer.text.contains("short")), (418, true));
    let answer = try_open(&daemon, "/", &[("x-test-upgrade", "trap")]);
    assert_eq!(answer.err().unwrap().status, 503);
    echoes(&mut open(&daemon, "/", &[]), "still there");
}

#[test]
fn middlewares_see_the_answer_and_cannot_break_it() {
    let daemon = Daemon::builder("stage-middleware")
        .with("stage-websocket")
        .args([
            "--config",
            "test.on-response=drop-all;set sec-websocket-accept=x;set x-mine=1;\
                add sec-websocket-protocol=mine;add sec-websocket-extensions=mine",
        ])
        .start();
    let (mut socket, response) = try_open(&daemon, "/", &[]).unwrap();
    assert_eq!(response.headers()["x-mine"], "1");
    for name in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    echoes(&mut socket, "hello");
    // Nor can they take away what was agreed.
    let fields = [
        ("x-test-upgrade", "protocol"),
        ("sec-websocket-protocol", "a, b"),
    ];
    let (_, response) = try_open(&daemon, "/", &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "a");
    let answer = try_open(&daemon, "/", &[("x-test-middleware", "abort 403 no")]);
    assert_eq!(answer.err().unwrap().status, 403);
}
