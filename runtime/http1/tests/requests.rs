//! Tables of request heads: what passes, and what is refused with which error.
//!
//! Every entry is also fed byte by byte, since a head arrives in pieces of any size.
#![allow(clippy::unwrap_used, reason = "a failed test should panic")]

use zlayer_http1::RequestError::*;
use zlayer_http1::*;

/// A summary that reads like the request: method, path, query, authority, body, what follows.
fn summary(head: &RequestHead<'_, '_>) -> String {
    let body = match head.body {
        BodyLength::Empty => "empty".to_owned(),
        BodyLength::Fixed(length) => length.to_string(),
        BodyLength::Chunked => "chunked".to_owned(),
    };
    format!(
        "{} {} {} {} {body} {}{}",
        head.method,
        head.path(),
        head.query().unwrap_or("-"),
        head.authority().unwrap_or("-"),
        if head.keep_alive { "open" } else { "close" },
        if head.expect_continue { " expect" } else { "" },
    )
}

fn parse(input: &[u8], limits: &Limits) -> Result<Option<(String, usize)>, RequestError> {
    let mut slots = HeaderSlots::new();
    let parsed = RequestHead::parse(input, &mut slots, limits)?;
    Ok(parsed.map(|(head, length)| (summary(&head), length)))
}

#[test]
fn well_formed_heads_are_accepted() {
    for (input, expected) in WELL_FORMED {
        let shown = input.as_bytes().escape_ascii();
        let whole = Ok(Some(((*expected).to_owned(), input.len())));
        assert_eq!(
            parse(input.as_bytes(), &Limits::default()),
            whole,
            "{shown}"
        );
        for end in 0..input.len() {
            let part = parse(&input.as_bytes()[..end], &Limits::default());
            assert_eq!(part, Ok(None), "the first {end} bytes of {shown}");
        }
        let pipelined = format!("{input}\n\0 what follows is none of the head's business");
        assert_eq!(
            parse(pipelined.as_bytes(), &Limits::default()),
            whole,
            "pipelined {shown}"
        );
    }
    assert!(WELL_FORMED.len() >= 60, "{}", WELL_FORMED.len());
}

#[test]
fn malformed_heads_are_refused() {
    for (input, error) in MALFORMED {
        let shown = input.escape_ascii();
        assert_eq!(parse(input, &Limits::default()), Err(*error), "{shown}");
        let mut refused = false;
        for end in 0..input.len() {
            match parse(&input[..end], &Limits::default()) {
                Ok(None) => assert!(!refused, "{shown}: refused, then not, at {end}"),
                Ok(Some(_)) => panic!("{shown}: accepted at {end}"),
                Err(_) => refused = true,
            }
        }
    }
    assert!(MALFORMED.len() >= 60, "{}", MALFORMED.len());
}

/// Each with the summary it parses to.
const WELL_FORMED: &[(&str, &str)] = &[
    // Request lines.
    ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / - h empty open"),
    ("GET / HTTP/1.0\r\n\r\n", "GET / - - empty close"),
    (
        "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / - h empty open",
    ),
    ("PUT / HTTP/1.1\r\nHost: h\r\n\r\n", "PUT / - h empty open"),
    (
        "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
        "DELETE / - h empty open",
    ),
    (
        "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n",
        "PATCH / - h empty open",
    ),
    (
        "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD / - h empty open",
    ),
    (
        "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
        "TRACE / - h empty open",
    ),
    ("get / HTTP/1.1\r\nHost: h\r\n\r\n", "get / - h empty open"),
    (
        "M-SEARCH / HTTP/1.1\r\nHost: h\r\n\r\n",
        "M-SEARCH / - h empty open",
    ),
    (
        "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: h\r\n\r\n",
        "!#$%&'*+-.^_`|~ / - h empty open",
    ),
    (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\nHost: h\r\n\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / - h empty open",
    ),
    // Targets.
    (
        "GET /a/b/c HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a/b/c - h empty open",
    ),
    (
        "GET /a?b=c&d HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b=c&d h empty open",
    ),
    (
        "GET /a?b?c HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b?c h empty open",
    ),
    (
        "GET /a%20b?%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%20b %zz h empty open",
    ),
    (
        "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a/../b - h empty open",
    ),
    (
        "GET //h/p HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET //h/p - h empty open",
    ),
    (
        "GET /?a[]=b|c HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / a[]=b%7Cc h empty open",
    ),
    (
        "GET /http://x/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /http://x/ - h empty open",
    ),
    (
        "GET http://t/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /p q t empty open",
    ),
    (
        "GET http://t HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET / - t empty open",
    ),
    (
        "GET https://t:8443?q HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / q t:8443 empty open",
    ),
    ("GET HTTP://t/ HTTP/1.0\r\n\r\n", "GET / - t empty close"),
    (
        "GET http://[::1]:80/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / - [::1]:80 empty open",
    ),
    (
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * - h empty open",
    ),
    (
        "OPTIONS /a HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS /a - h empty open",
    ),
    (
        "OPTIONS http://t HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * - t empty open",
    ),
    (
        "CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n",
        "CONNECT  - t:443 empty open",
    ),
    (
        "CONNECT [::1]:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT  - [::1]:443 empty open",
    ),
    // Hosts.
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / - - empty open"),
    (
        "GET / HTTP/1.1\r\nHost:  \t \r\n\r\n",
        "GET / - - empty open",
    ),
    ("GET / HTTP/1.1\r\nhOsT:h\r\n\r\n", "GET / - h empty open"),
    (
        "GET / HTTP/1.1\r\nHost:\t h \t\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n",
        "GET / - h:8080 empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h:\r\n\r\n",
        "GET / - h: empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: 192.168.1.1:80\r\n\r\n",
        "GET / - 192.168.1.1:80 empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: [fe80::1]:80\r\n\r\n",
        "GET / - [fe80::1]:80 empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: a_b.local\r\n\r\n",
        "GET / - a_b.local empty open",
    ),
    ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / - h empty close"),
    // Header lines.
    (
        "GET / HTTP/1.1\r\nA: b\r\nHost: h\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\tc  d\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: :b:\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: é\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET /café?q={\"a\":[1]} HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /caf%C3%A9 q=%7B%22a%22:[1]%7D h empty open",
    ),
    (
        "GET /<b>|\\^` HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%3Cb%3E%7C%5C%5E%60 - h empty open",
    ),
    (
        "GET http://example.com?q=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / q=1 example.com empty open",
    ),
    (
        "OPTIONS http://example.com HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * - example.com empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]:8080\r\n\r\n",
        "GET / - [fe80::1%25eth0]:8080 empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: [fe80::1%eth0]\r\n\r\n",
        "GET / - [fe80::1%eth0] empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~9: x\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 2\r\n\r\n",
        "GET / - h empty open",
    ),
    // Bodies.
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
        "POST / - h 5 open",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "POST / - h 0 open",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nCONTENT-LENGTH:\t007 \r\n\r\n",
        "POST / - h 7 open",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "POST / - h 18446744073709551615 open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
        "GET / - h 5 open",
    ),
    (
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
        "POST / - - 5 close",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / - h chunked open",
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding:CHUNKED \r\n\r\n",
        "POST / - h chunked open",
    ),
    // Connections.
    (
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / - h empty close",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n",
        "GET / - h empty close",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "GET / - h empty close",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nConnection:\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: not-close\r\n\r\n",
        "GET / - h empty open",
    ),
    (
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "GET / - - empty open",
    ),
    (
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        "GET / - - empty close",
    ),
    // Expectations.
    (
        "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "PUT / - h 1 open expect",
    ),
    (
        "PUT / HTTP/1.1\r\nHost: h\r\nexpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT / - h chunked open expect",
    ),
    (
        "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        "PUT / - h empty open",
    ),
    (
        "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "PUT / - h 0 open",
    ),
    (
        "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "PUT / - - 1 close",
    ),
    (
        "PUT / HTTP/1.0\r\nExpect: more\r\nContent-Length: 1\r\n\r\n",
        "PUT / - - 1 close",
    ),
];

/// Each with the error it gets.
const MALFORMED: &[(&[u8], RequestError)] = &[
    // Line ends.
    (b"GET / HTTP/1.1\nHost: h\r\n\r\n", BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: h\n\r\n", BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\n", BareLineFeed),
    (b"GET / HTTP/1.1\nHost: h\n\n", BareLineFeed),
    (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareLineFeed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n", BareLineFeed),
    (b"GET / HTTP/1.1\rHost: h\r\n\r\n", BareCarriageReturn),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", BareCarriageReturn),
    (b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", BareCarriageReturn),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\rX", BareCarriageReturn),
    (b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareCarriageReturn),
    (b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", EmptyLines),
    // Methods.
    (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"\tGET / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"G\0T / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"GET\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", InvalidMethod),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\nHost: h\r\n\r\n", MethodTooLong),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", MethodTooLong),
    // Targets.
    (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET  HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /\r\n\r\n", InvalidTarget),
    (b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /\xff\x7f HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /\xff#b HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET \xff HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET http://\xff/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"G\xffT /\xff HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
    (b"GET /\xff HTTP/2.0\r\nHost: h\r\n\r\n", UnsupportedVersion),
    (b"GET /\xff HTTP/1.1 \r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET /\xff HTTP/1.1\r\nHost : h\r\n\r\n", SpaceBeforeColon),
    (b"GET /\xc3\xa9#b HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET \xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET http://u@t/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET http://t:99999/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"GET file:///a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"CONNECT t HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    (b"CONNECT u@t:443 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
    // Versions.
    (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTP/1.1\t\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / \r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTP/1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTP/01.1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / http/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTPS/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
    (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", UnsupportedVersion),
    (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", UnsupportedVersion),
    (b"GET / HTTP/9.9\r\nHost: h\r\n\r\n", UnsupportedVersion),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
    // Header lines.
    (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", FoldedHeader),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", FoldedHeader),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc: d\r\n\r\n", FoldedHeader),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA:\r\n b\r\n\r\n", FoldedHeader),
    (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", SpaceBeforeColon),
    (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", SpaceBeforeColon),
    (b"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\n(A): c\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA\0: c\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\xc3\xa9: c\r\n\r\n", InvalidHeaderName),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n", InvalidHeaderValue),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n", InvalidHeaderValue),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x1bc\r\n\r\n", InvalidHeaderValue),
    (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", InvalidHeaderValue),
    // Hosts.
    (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
    (b"GET http://t/ HTTP/1.1\r\n\r\n", MissingHost),
    (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", RepeatedHost),
    (b"GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n", RepeatedHost),
    (b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: h/a\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: h:port\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.1\r\nHost: h\xff\r\n\r\n", InvalidHost),
    (b"GET / HTTP/1.0\r\nHost: u@h\r\n\r\n", InvalidHost),
    (b"GET http://t/ HTTP/1.1\r\nHost:\r\n\r\n", InvalidHost),
    (b"CONNECT t:443 HTTP/1.1\r\nHost:\r\n\r\n", InvalidHost),
    // Bodies.
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", InvalidContentLength),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\n", InvalidContentLength),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n",
        InvalidContentLength,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        RepeatedContentLength,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ConflictingLengths,
    ),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInHttp10),
    (
        b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ConflictingLengths,
    ),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", InvalidTransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", InvalidTransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked,\r\n\r\n", InvalidTransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", ChunkedTwice),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ChunkedTwice,
    ),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", ChunkedNotLast),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", ChunkedNotLast),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        UnknownTransferEncoding,
    ),
    // Expectations.
    (b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", UnknownExpectation),
    (
        b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, more\r\nContent-Length: 1\r\n\r\n",
        UnknownExpectation,
    ),
];

#[test]
fn fields_are_found_whatever_their_case() {
    let input =
        b"GET /p?q HTTP/1.1\r\nHOST: h\r\nX-A: 1 \r\nx-a: 2\r\nConnection: X-A,, close\r\n\r\n";
    let mut slots = HeaderSlots::new();
    let (head, _) = RequestHead::parse(input, &mut slots, &Limits::default())
        .unwrap()
        .unwrap();
    assert_eq!(head.header("x-A"), Some(&b"1"[..]), "the first one");
    assert_eq!(head.header("host"), Some(&b"h"[..]));
    assert_eq!(head.header("x-b"), None);
    assert_eq!((head.target, head.origin_form()), (&b"/p?q"[..], "/p?q"));
    assert_eq!(head.version, Version::Http11);
    let names: Vec<_> = head.headers.iter().map(|header| header.name).collect();
    assert_eq!(names, ["HOST", "X-A", "x-a", "Connection"]);
    let options: Vec<_> = head.connection_options().collect();
    assert_eq!(options, [&b"X-A"[..], b"close"]);
}

#[test]
fn a_target_in_latin_1_is_read_like_any_other() {
    let input = b"GET /caf\xe9?q=\xfc HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nContent-Length: 3\r\n\r\n";
    for end in 0..input.len() {
        let mut slots = HeaderSlots::new();
        let parsed = RequestHead::parse(&input[..end], &mut slots, &Limits::default());
        assert!(matches!(parsed, Ok(None)), "{end}: {parsed:?}");
    }
    let whole = [&input[..], b"abc"].concat();
    let mut slots = HeaderSlots::new();
    let (head, length) = RequestHead::parse(&whole, &mut slots, &Limits::default())
        .unwrap()
        .unwrap();
    assert_eq!((head.method, length), ("GET", input.len()));
    assert_eq!(head.origin_form(), "/caf%E9?q=%FC");
    assert_eq!(head.target, b"/caf\xe9?q=\xfc");
    assert_eq!(head.header("x-a"), Some(&b"1"[..]));
    assert_eq!(head.body, BodyLength::Fixed(3));
    assert!(head.keep_alive);
    // The limits hold for it as for others.
    let few = Limits {
        headers: 2,
        ..Limits::default()
    };
    assert_eq!(parse(input, &few).unwrap_err(), TooManyHeaders);
    let short = Limits {
        target_bytes: 12,
        ..Limits::default()
    };
    assert_eq!(parse(input, &short).unwrap_err(), TargetTooLong);
}

#[test]
fn an_endless_head_is_refused_at_its_limit() {
    let limits = Limits {
        head_bytes: 64,
        ..Limits::default()
    };
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "b".repeat(32));
    assert_eq!(head.len(), 64);
    assert!(
        matches!(parse(head.as_bytes(), &limits), Ok(Some((_, 64)))),
        "64 bytes pass"
    );
    let longer = head.replace("A: ", "AA: ");
    for end in 0..64 {
        assert_eq!(parse(&longer.as_bytes()[..end], &limits), Ok(None), "{end}");
    }
    for end in 64..=longer.len() {
        assert_eq!(
            parse(&longer.as_bytes()[..end], &limits),
            Err(HeadTooLong),
            "{end}"
        );
    }
    // What follows a head does not count.
    let body = format!("{head}{}", "x".repeat(1000));
    assert!(matches!(parse(body.as_bytes(), &limits), Ok(Some((_, 64)))));
}

#[test]
fn an_endless_request_line_is_refused_as_a_target_too_long() {
    let limits = Limits {
        head_bytes: 64,
        ..Limits::default()
    };
    let line = format!("GET /{}", "a".repeat(100));
    assert_eq!(parse(&line.as_bytes()[..63], &limits), Ok(None));
    assert_eq!(parse(&line.as_bytes()[..64], &limits), Err(TargetTooLong));
    assert_eq!(parse(line.as_bytes(), &limits), Err(TargetTooLong));
}

#[test]
fn a_target_over_its_limit_is_refused_before_it_ends() {
    let limits = Limits {
        target_bytes: 4,
        ..Limits::default()
    };
    assert!(matches!(
        parse(b"GET /abc HTTP/1.1\r\nHost: h\r\n\r\n", &limits),
        Ok(Some(_))
    ));
    assert_eq!(
        parse(b"GET /abcd HTTP/1.1\r\nHost: h\r\n\r\n", &limits),
        Err(TargetTooLong)
    );
    assert_eq!(parse(b"GET /abc", &limits), Ok(None));
    assert_eq!(parse(b"GET /abcd", &limits), Err(TargetTooLong));
}

#[test]
fn the_default_limits_hold() {
    let limits = Limits::default();
    let target = |length: usize| {
        let target = format!("/{}", "a".repeat(length - 1));
        parse(
            format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(),
            &limits,
        )
        .map(|_| ())
    };
    assert_eq!(target(8 * 1024), Ok(()));
    assert_eq!(target(8 * 1024 + 1), Err(TargetTooLong));
    // What has to be encoded counts as it goes on.
    let encoded = |braces: usize, length: usize| {
        let target = format!("/{}{}", "{".repeat(braces), "a".repeat(length));
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        parse(head.as_bytes(), &limits).map(|_| ())
    };
    assert_eq!(encoded(2730, 1), Ok(()));
    assert_eq!(encoded(2730, 2), Err(TargetTooLong));
    assert_eq!(encoded(2731, 0), Err(TargetTooLong));
    let head = |length: usize| {
        let filler = "b".repeat(length - "GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".len());
        parse(
            format!("GET / HTTP/1.1\r\nHost: h\r\nA: {filler}\r\n\r\n").as_bytes(),
            &limits,
        )
        .map(|_| ())
    };
    assert_eq!(head(16 * 1024), Ok(()));
    assert_eq!(head(16 * 1024 + 1), Err(HeadTooLong));
}

#[test]
fn too_many_headers_are_refused() {
    let head = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "a:\r\n".repeat(count - 1)
        )
    };
    let limits = Limits::default();
    assert!(matches!(
        parse(head(MAX_HEADERS).as_bytes(), &limits),
        Ok(Some(_))
    ));
    assert_eq!(
        parse(head(MAX_HEADERS + 1).as_bytes(), &limits),
        Err(TooManyHeaders)
    );
    let few = Limits {
        headers: 2,
        ..limits
    };
    assert!(matches!(parse(head(2).as_bytes(), &few), Ok(Some(_))));
    assert_eq!(parse(head(3).as_bytes(), &few), Err(TooManyHeaders));
    let more_than_there_is_room_for = Limits {
        headers: usize::MAX,
        ..limits
    };
    let result = parse(
        head(MAX_HEADERS + 1).as_bytes(),
        &more_than_there_is_room_for,
    );
    assert_eq!(result, Err(TooManyHeaders));
}

#[test]
fn limits_of_zero_refuse_and_do_not_panic() {
    let limits = Limits {
        head_bytes: 0,
        target_bytes: 0,
        headers: 0,
        chunk_line_bytes: 0,
        extension_bytes: 0,
        trailer_bytes: 0,
    };
    assert!(parse(b"", &limits).is_err());
    assert!(parse(b"GET / HTTP/1.1\r\n\r\n", &limits).is_err());
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, &limits);
    assert_eq!(
        decoder.decode(b"0\r\n\r\n"),
        Err(BodyError::ChunkLineTooLong)
    );
}
