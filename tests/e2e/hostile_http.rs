//! Requests that are malformed or meant to smuggle, and what must not come of them.
//!
//! What is refused at the head is sent to `hello`, with a whole request right behind it that must
//! never be answered: `hello` would repeat its path. Bodies are sent to `echo`, which reads them.

use crate::support::{Client, Daemon, Response, get, under_qemu};

/// Behind each malformed request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends `wire`; reads the one answer there may be, and the end of the connection behind it.
/// `None` if the server closed without an answer.
fn refusal(daemon: &Daemon, wire: &[u8]) -> Option<Response> {
    let mut client = Client::connect(daemon);
    // The server may close before it has all of a long one.
    let _ = client.try_send(wire);
    one_refusal(client, wire)
}

/// Reads the one answer to `wire` that there may be, as [`refusal`] does.
fn one_refusal(mut client: Client, wire: &[u8]) -> Option<Response> {
    let shown = || String::from_utf8_lossy(&wire[..wire.len().min(200)]).into_owned();
    match client.try_read_response() {
        Ok(response) => {
            let rest = client.read_to_end();
            assert!(rest.is_empty(), "{:?}: more than one answer: {:?}", shown(), String::from_utf8_lossy(&rest));
            assert!(!response.keep_alive, "{:?}: kept open: {response:?}", shown());
            assert!(!response.text().contains("smuggled"), "{:?}: {response:?}", shown());
            Some(response)
        }
        Err(error) => {
            assert!(error.ends_with("came after \"\""), "{:?}: {error}", shown());
            None
        }
    }
}

/// Sends each case and wants its status; between them the daemon serves as ever.
fn assert_refused(cases: &[(u16, &str)]) {
    let daemon = Daemon::start("hello");
    for (status, head) in cases {
        let wire = format!("{head}{SMUGGLED}");
        let response = refusal(&daemon, wire.as_bytes());
        let got = response.as_ref().map(|response| response.status);
        assert_eq!(got, Some(*status), "{head:?}: {response:?}");
        assert_eq!(get(&daemon, "/good").status, 200, "after {head:?}");
    }
}

#[test]
fn two_ways_to_tell_a_length_are_refused() {
    assert_refused(&[
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 44\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ]);
}

#[test]
fn a_length_that_is_not_a_plain_number_is_refused() {
    for value in ["", "+5", "-1", "0x5", "5 5", "5;", "1e1", "5\u{0}", "18446744073709551616", "99999999999999999999999"] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {value}\r\n\r\n");
        assert_refused(&[(400, &head)]);
    }
}

#[test]
fn a_transfer_encoding_that_others_may_read_otherwise_is_refused() {
    let head = |line: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n0\r\n\r\n");
    for (status, line) in [
        (400, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding: chunked, identity"),
        (400, "Transfer-Encoding: identity"),
        (400, "Transfer-Encoding: chunked, chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding:"),
        (400, "Transfer-Encoding: ,chunked"),
        (400, "Transfer-Encoding: chunked;q=1"),
        (400, "Transfer-Encoding: \"chunked\""),
        (400, "Transfer-Encoding: \u{b}chunked"),
        (400, "Transfer-Encoding:\r\n chunked"),
        (400, "Transfer-Encoding: x\r\n\tchunked"),
        (400, "Transfer-Encoding : chunked"),
        (400, " Transfer-Encoding: chunked"),
        (400, "X: y\rTransfer-Encoding: chunked"),
        (400, "X: y\nTransfer-Encoding: chunked"),
        (400, "Transfer\u{0}-Encoding: chunked"),
        (501, "Transfer-Encoding: gzip, chunked"),
    ] {
        assert_refused(&[(status, &head(line))]);
    }
}

#[test]
fn lines_that_do_not_end_with_cr_lf_are_refused() {
    assert_refused(&[
        (400, "GET / HTTP/1.1\nHost: h\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
        (400, "GET / HTTP/1.1\rHost: h\r\r"),
        (400, "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
        (400, "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]);
}

#[test]
fn malformed_header_lines_are_refused() {
    let head = |line: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
    for line in [
        "X : y", "X\t: y", " X: y", "X", ": y", "X Y: z", "X(: y", "X: a\u{0}b", "X: a\u{1}b",
        "X: a\u{7f}b", "X: a\u{1b}[31m", "X: a\r\n folded", "\u{e9}: y", "X\u{0}: y", "GET /x HTTP/1.1",
    ] {
        assert_refused(&[(400, &head(line))]);
    }
}

#[test]
fn a_host_that_is_missing_double_or_no_host_is_refused() {
    let head = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    for lines in [
        "", "X: y\r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b\r\n",
        "Host: a, b\r\n", "Host: user@a\r\n", "Host: a/path\r\n", "Host: a:port\r\n",
        "Host: a:99999\r\n", "Host: a:80:80\r\n", "Host: [::1\r\n", "Host: [zz]\r\n",
        "Host: http://a\r\n", "Host: a?b\r\n", "Host: a#b\r\n",
    ] {
        assert_refused(&[(400, &head(lines))]);
    }
    assert_refused(&[(400, "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n")]);
}

#[test]
fn malformed_request_lines_are_refused() {
    assert_refused(&[
        // HTTP/0.9, and what is left out or too much.
        (400, "GET /\r\n\r\n"),
        (400, "GET\r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
        (400, "GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET / a HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, " GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        // Methods that are no tokens.
        (400, "G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "G\u{e9}T / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "\u{0}GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (501, "AMETHODTHATISLONGERTHANANYTHATISKNOWN / HTTP/1.1\r\nHost: h\r\n\r\n"),
        // Targets in no form, or in one for other methods.
        (400, "GET path HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET example.com:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET ftp://example.com/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET http:///path HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET http://user@example.com/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET /#fragment HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET /\u{0} HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET /\u{7f} HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "CONNECT example.com HTTP/1.1\r\nHost: h\r\n\r\n"),
        // Versions.
        (400, "GET / HTTP/1\r\nHost: h\r\n\r\n"),
        (400, "GET / http/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET / HTTP/1.1x\r\nHost: h\r\n\r\n"),
        (400, "GET / HTTP/01.1\r\nHost: h\r\n\r\n"),
        (400, "GET / ICY/1.1\r\nHost: h\r\n\r\n"),
        (505, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
        (505, "GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
        // The preface of HTTP/2 by prior knowledge (RFC 9113, 3.4).
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ]);
}

#[test]
fn an_expectation_that_cannot_be_met_is_refused() {
    assert_refused(&[
        (417, "POST / HTTP/1.1\r\nHost: h\r\nExpect: a-pony\r\nContent-Length: 0\r\n\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, a-pony\r\nContent-Length: 0\r\n\r\n"),
    ]);
}

#[test]
fn heads_past_the_limits_are_refused() {
    let fields: String = (0..97).map(|number| format!("X-{number}: v\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "v".repeat(16 << 10));
    let name = format!("GET / HTTP/1.1\r\nHost: h\r\n{}: v\r\n\r\n", "N".repeat(16 << 10));
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "p".repeat(8 << 10));
    let endless = "GET /".to_owned() + &"p".repeat(30 << 10);
    assert_refused(&[(431, &many), (431, &large), (431, &name), (414, &target), (414, &endless)]);
}

#[test]
fn a_head_without_end_is_refused_before_it_fills_memory() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let line = format!("X: {}\r\n", "v".repeat(1000));
    let mut sent = 0;
    // Goes on until the server is gone.
    while client.try_send(&line).is_ok() {
        sent += line.len();
        assert!(sent < 64 << 20, "no end of what is taken");
    }
    assert_eq!(get(&daemon, "/good").status, 200);
}

#[test]
fn other_protocols_are_refused() {
    let daemon = Daemon::start("hello");
    // The beginning of a TLS 1.2 ClientHello: record and handshake headers, version, random.
    let mut tls = vec![0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3];
    tls.extend((0..200u8).map(|byte| byte.wrapping_mul(37)));
    for (name, wire) in [
        ("TLS", tls.as_slice()),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("SMTP", b"EHLO example.com\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
        ("SOCKS 5", b"\x05\x01\x00"),
        ("PROXY", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("zeros", &[0; 100]),
        ("ones", &[0xff; 100]),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(wire);
        client.shutdown_write_if_open();
        if let Some(response) = one_refusal(client, wire) {
            assert!((400..600).contains(&response.status), "{name}: {response:?}");
        }
        assert_eq!(get(&daemon, "/good").status, 200, "after {name}");
    }
}

/// Chunked bodies that are none, all wanting an end of the connection.
const BAD_CHUNKS: &[&str] = &[
    "\r\n",
    "x\r\n",
    "-1\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
    "10000000000000000\r\n",
    "5\nhello\n0\n\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\u{0}b\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nNo colon\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "5\r\nhello\r\n0\r\nX: a\u{0}b\r\n\r\n",
];

#[test]
fn a_malformed_chunk_is_an_error_to_the_plugin_and_the_end_of_the_connection() {
    let daemon = Daemon::start("echo");
    for body in BAD_CHUNKS {
        let wire = format!(
            "POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}{}",
            SMUGGLED.replace("/smuggled", "/download?bytes=1")
        );
        let response = refusal(&daemon, wire.as_bytes());
        let status = response.as_ref().map(|response| response.status);
        assert_eq!(status, Some(400), "{body:?}: {response:?}");
        assert_eq!(get(&daemon, "/download?bytes=1").body, [0], "after {body:?}");
    }
}

#[test]
fn a_malformed_chunk_that_the_plugin_does_not_read_ends_the_connection() {
    let daemon = Daemon::start("hello");
    for body in BAD_CHUNKS {
        let wire = format!(
            "POST /first HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
        );
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        let response = client.read_response();
        assert!(response.status >= 400 || response.text().contains("/first"), "{response:?}");
        let rest = client.read_to_end();
        assert!(rest.is_empty(), "{body:?}: {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(get(&daemon, "/good").status, 200);
}

#[test]
fn chunk_extensions_and_trailers_have_an_end() {
    let daemon = Daemon::start("echo");
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(300));
    // Each short, together more than all extensions of a body may take.
    let many_extensions = format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(100) + "0\r\n\r\n";
    let long_trailer = format!("0\r\nX: {}\r\n\r\n", "t".repeat(5000));
    let many_trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(97));
    for body in [long_extension, many_extensions, long_trailer, many_trailers] {
        let wire = format!(
            "POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let response = refusal(&daemon, wire.as_bytes());
        let status = response.as_ref().map(|response| response.status);
        assert!(status.is_some_and(|status| [400, 431].contains(&status)), "{response:?}");
        assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
    }
}

#[test]
fn random_bytes_bring_nothing_but_well_formed_refusals() {
    let daemon = Daemon::start("hello");
    let mut random = Random(0x5eed_0001);
    for round in 0..if under_qemu() { 60 } else { 400 } {
        let length = random.below(300) + 1;
        let wire: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        client.shutdown_write_if_open();
        if let Some(response) = one_refusal(client, &wire) {
            assert!((400..600).contains(&response.status), "round {round}: {response:?}");
        }
    }
    assert_eq!(get(&daemon, "/good").status, 200);
}

#[test]
fn altered_requests_bring_nothing_but_well_formed_answers() {
    let daemon = Daemon::start("echo");
    let corpus: [&[u8]; 3] = [
        b"GET /download?bytes=5 HTTP/1.1\r\nHost: localhost\r\nX-Field: value\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n3\r\nbye\r\n0\r\nX-Sum: 1\r\n\r\n",
    ];
    let special = b"\r\n\0 \t:;,/\\\"0a-+\x7f\xff";
    let mut random = Random(0x5eed_0002);
    for round in 0..if under_qemu() { 60 } else { 400 } {
        let mut wire = corpus[round % corpus.len()].to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(wire.len());
            let byte = special[random.below(special.len())];
            match random.below(4) {
                0 => wire[at] = byte,
                1 => wire.insert(at, byte),
                2 => drop(wire.remove(at)),
                _ => wire.truncate(at + 1),
            }
        }
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        client.shutdown_write_if_open();
        // Whole answers up to the end of the stream, or up to one that is cut off with it.
        loop {
            match client.try_read_response() {
                Ok(response) => assert!((200..600).contains(&response.status), "{round}: {response:?}"),
                Err(error) if error.contains("the end of the stream came") || error.contains("reset") => break,
                Err(error) => panic!("{round}: {error} for {:?}", String::from_utf8_lossy(&wire)),
            }
        }
    }
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}

/// A sequence that looks random and is the same in every run (xorshift, George Marsaglia).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
