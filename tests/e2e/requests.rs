//! What a client's request means: the forms of its target and host, and what of it is passed on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::{Builder, Client, Daemon, PATIENCE, Response};

/// Sends a head as these bytes, and reads the response.
fn raw(daemon: &Daemon, head: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(daemon);
    client.send(head);
    client.read_response()
}

/// A GET of these bytes.
fn get_bytes(daemon: &Daemon, target: &[u8]) -> Response {
    let mut head = b"GET ".to_vec();
    head.extend_from_slice(target);
    head.extend_from_slice(b" HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    raw(daemon, head)
}

/// An upstream that responds with the head that it got, which is what is left of the request.
pub(crate) fn echoing() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = read_head(&mut stream);
            let length = head.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// Reads a head; what came of it if the connection ends first.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A daemon that sends all to `to`.
pub(crate) fn proxy(to: SocketAddr) -> Builder {
    let route = format!("test.route=forward {} {}", to.ip(), to.port());
    Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host(to)
}

/// Targets as curl and little devices send them, and as plugins and upstreams get them.
const ENCODED: [(&[u8], &str); 6] = [
    (b"/caf\xc3\xa9", "/caf%C3%A9"),
    (b"/a?q={\"a\":[1]}", "/a?q=%7B%22a%22:[1]%7D"),
    (b"/<b>", "/%3Cb%3E"),
    (b"/a|b^c`d\\e", "/a%7Cb%5Ec%60d%5Ce"),
    (
        b"http://h/\xe2\x82\xac?\xe2\x82\xac",
        "/%E2%82%AC?%E2%82%AC",
    ),
    (b"/100%?%", "/100%?%"),
];

#[test]
fn targets_that_are_not_encoded_are_passed_on_encoded() {
    let plugin = Daemon::start("http-echo-headers");
    let daemon = proxy(echoing()).start();
    for (sent, seen) in ENCODED {
        let shown = sent.escape_ascii();
        let answer = get_bytes(&plugin, sent);
        assert_eq!(answer.status, 200, "{shown}: {answer:?}");
        let line = format!("GET {seen}\n");
        assert!(
            answer.text().starts_with(&line),
            "{shown}: {}",
            answer.text()
        );
        let answer = get_bytes(&daemon, sent);
        let line = format!("GET {seen} HTTP/1.1\r\n");
        assert!(
            answer.text().starts_with(&line),
            "{shown}: {}",
            answer.text()
        );
    }
    for refused in [
        &b"/a\x01b"[..],
        b"/\x7f",
        b"/a\tb",
        b"/a#b",
        b"\xc3\xa9",
        b"\xe9",
    ] {
        let answer = get_bytes(&plugin, refused);
        assert_eq!(answer.status, 400, "{}", refused.escape_ascii());
    }
    // It is the encoded form that counts: three times 2731 bytes and a slash are more than 8 KiB.
    let long = |braces: usize| [&b"/"[..], &b"{".repeat(braces)].concat();
    assert_eq!(get_bytes(&plugin, &long(2730)).status, 200);
    assert_eq!(get_bytes(&plugin, &long(2731)).status, 414);
}

#[test]
fn absolute_targets_say_what_their_other_form_says() {
    let plugin = Daemon::start("http-echo-headers");
    let daemon = proxy(echoing()).start();
    for (line, seen) in [
        ("GET http://example.com?q=1", "GET /?q=1"),
        ("GET http://example.com", "GET /"),
        ("GET HTTP://example.com/a/b?c", "GET /a/b?c"),
        ("OPTIONS http://example.com", "OPTIONS *"),
        ("OPTIONS http://example.com/", "OPTIONS /"),
        ("OPTIONS *", "OPTIONS *"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n");
        let text = raw(&plugin, &head).text();
        let expected = format!("{seen}\nauthority example.com\n");
        assert!(text.starts_with(&expected), "{line}: {text}");
        let text = raw(&daemon, &head).text();
        assert!(
            text.starts_with(&format!("{seen} HTTP/1.1\r\n")),
            "{line}: {text}"
        );
    }
}

#[test]
fn the_zone_of_an_address_in_host_is_understood_and_kept_from_others() {
    let plugin = Daemon::start("http-echo-headers");
    for (host, seen) in [
        ("[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
        ("[fe80::1%eth0]", "[fe80::1]"),
    ] {
        for head in [
            format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
            format!("GET http://{host}/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"),
        ] {
            let answer = raw(&plugin, &head);
            assert_eq!(answer.status, 200, "{head}: {answer:?}");
            let line = format!("\nauthority {seen}\n");
            assert!(answer.text().contains(&line), "{head}: {answer:?}");
        }
    }
    for host in ["[fe80::1%]", "[fe80::1%25a/b]", "[1.2.3.4%25eth0]"] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(raw(&plugin, head).status, 400, "{host}");
    }
}

#[test]
fn malformed_chunk_extensions_are_refused() {
    let daemon = Daemon::start("stages");
    let post = |line: &str| {
        let head = "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
            x-test-handle: echo\r\ntransfer-encoding: chunked";
        raw(
            &daemon,
            format!("{head}\r\n\r\n{line}\r\nhello\r\n0\r\n\r\n"),
        )
    };
    for line in ["5;", "5;;", "5;=b", "5;a=\"b", "5;a=", "5;a b"] {
        assert_eq!(post(line).status, 400, "{line}");
    }
    for line in ["5", "5;a", "5 ; a = \"b;\\\"c\" ;d=e"] {
        let answer = post(line);
        assert_eq!(answer.text(), "hello", "{line}: {answer:?}");
    }
}

#[test]
fn names_with_underscores_are_mistaken_for_no_others() {
    let fields = "X_Forwarded_For: 10.0.0.1\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\
        X_Mine: 1\r\nForwarded: for=\"1.2.3.4\r\n";
    let head = format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
    let daemon = proxy(echoing()).start();
    let text = raw(&daemon, &head).text().to_lowercase();
    assert!(!text.contains('_') && !text.contains("1.2.3.4"), "{text}");
    assert!(
        text.contains("\r\nforwarded: for=127.0.0.1;host=\"h\";proto=http\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{text}"
    );
    // A plugin gets what can be nothing else.
    let daemon = Daemon::start("http-echo-headers");
    let text = raw(&daemon, &head).text();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| name.contains('_'))
        .collect();
    assert_eq!(names, ["x_mine"]);
    // Unless they are asked for.
    let daemon = proxy(echoing()).arg("--underscore-headers").start();
    let text = raw(&daemon, &head).text().to_lowercase();
    for field in [
        "x_forwarded_for: 10.0.0.1",
        "content_length: 5",
        "x_mine: 1",
    ] {
        assert!(
            text.contains(&format!("\r\n{field}\r\n")),
            "{field}: {text}"
        );
    }
}
