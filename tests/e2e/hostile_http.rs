//! Requests that are malformed or meant to smuggle, and what must not come of them.
//!
//! Here are the heads. They are sent to `hello`, each with a whole request right behind it that must
//! never be answered: `hello` would repeat its path.

/// Chunked bodies that are none.
mod bodies;
/// What is hardly HTTP.
mod noise;

use crate::support::{Client, Daemon, Response, get};

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
            assert!(
                rest.is_empty(),
                "{:?}: more than one answer: {:?}",
                shown(),
                String::from_utf8_lossy(&rest)
            );
            assert!(
                !response.text().contains("smuggled"),
                "{:?}: {response:?}",
                shown()
            );
            Some(response)
        }
        Err(error) => {
            assert!(error.ends_with("came after \"\""), "{:?}: {error}", shown());
            None
        }
    }
}

/// Sends each case and wants its status; between them the daemon serves as ever.
fn assert_refused<H: AsRef<str>>(cases: impl IntoIterator<Item = (u16, H)>) {
    let daemon = Daemon::start("hello");
    for (status, head) in cases {
        let head = head.as_ref();
        let wire = format!("{head}{SMUGGLED}");
        let response = refusal(&daemon, wire.as_bytes());
        let got = response.as_ref().map(|response| response.status);
        assert_eq!(got, Some(status), "{head:?}: {response:?}");
        assert!(
            response.is_some_and(|response| !response.keep_alive),
            "{head:?}"
        );
        assert_eq!(get(&daemon, "/good").status, 200, "after {head:?}");
    }
}

#[test]
fn two_ways_to_tell_a_length_are_refused() {
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n0\r\n\r\n");
    let cases = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\ncontent-length: 0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 5\r\nContent-Length: 49",
        "Content-Length: 5, 5",
        "Content-Length: 5, 49",
    ];
    assert_refused(cases.map(|lines| (400, head(lines))));
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused([(400, old)]);
}

#[test]
fn a_length_that_is_not_a_plain_number_is_refused() {
    let cases = [
        "",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5;",
        "1e1",
        "5\u{0}",
        "18446744073709551616",
        "99999999999999999999999",
    ];
    let head = |value| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {value}\r\n\r\n");
    assert_refused(cases.map(|value| (400, head(value))));
}

#[test]
fn a_transfer_encoding_that_others_may_read_otherwise_is_refused() {
    let head = |line: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n0\r\n\r\n");
    let cases = [
        (400, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding: chunked, identity"),
        (400, "Transfer-Encoding: identity"),
        (400, "Transfer-Encoding: chunked, chunked"),
        (
            400,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
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
    ];
    assert_refused(cases.map(|(status, line)| (status, head(line))));
}

#[test]
fn lines_that_do_not_end_with_cr_lf_are_refused() {
    assert_refused([
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
    let cases = [
        "X : y",
        "X\t: y",
        " X: y",
        "X",
        ": y",
        "X Y: z",
        "X(: y",
        "X: a\u{0}b",
        "X: a\u{1}b",
        "X: a\u{7f}b",
        "X: a\u{1b}[31m",
        "X: a\r\n folded",
        "\u{e9}: y",
        "X\u{0}: y",
        "GET /x HTTP/1.1",
    ];
    assert_refused(cases.map(|line| (400, head(line))));
}

#[test]
fn a_host_that_is_missing_double_or_no_host_is_refused() {
    let head = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let cases = [
        "",
        "X: y\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: user@a\r\n",
        "Host: a/path\r\n",
        "Host: a:port\r\n",
        "Host: a:99999\r\n",
        "Host: a:80:80\r\n",
        "Host: [::1\r\n",
        "Host: [zz]\r\n",
        "Host: http://a\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
    ];
    assert_refused(cases.map(|lines| (400, head(lines))));
    assert_refused([(400, "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n")]);
}

#[test]
fn malformed_request_lines_are_refused() {
    assert_refused([
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
        (
            501,
            "AMETHODTHATISLONGERTHANANYTHATISKNOWN / HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        // Targets in no form, or in one for other methods.
        (400, "GET path HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET example.com:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET ftp://example.com/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET http:///path HTTP/1.1\r\nHost: h\r\n\r\n"),
        (
            400,
            "GET http://user@example.com/ HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (400, "GET /#fragment HTTP/1.1\r\nHost: h\r\n\r\n"),
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
    assert_refused([
        (
            417,
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: a-pony\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            417,
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, a-pony\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
}

#[test]
fn heads_past_the_limits_are_refused() {
    let fields: String = (0..97).map(|number| format!("X-{number}: v\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let large = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "v".repeat(16 << 10)
    );
    let name = format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{}: v\r\n\r\n",
        "N".repeat(16 << 10)
    );
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "p".repeat(8 << 10));
    let endless = "GET /".to_owned() + &"p".repeat(30 << 10);
    assert_refused([
        (431, &many),
        (431, &large),
        (431, &name),
        (414, &target),
        (414, &endless),
    ]);
}

#[test]
fn a_head_without_end_is_refused_before_it_fills_memory() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let line = format!("X: {}\r\n", "v".repeat(1000));
    let mut sent = 0;
    // What it takes afterwards it drops, so that the client can read this.
    while !client.has_news() {
        client.send(&line);
        sent += line.len();
        assert!(sent < 64 << 20, "no end of what is taken");
    }
    assert_eq!(client.read_response().status, 431);
    assert_eq!(get(&daemon, "/good").status, 200);
}
