//! Upstreams that are only sloppy, and what is not to be understood.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{proxy, read_head, saying, upstream};
use crate::support::{Client, get};

/// An upstream that says the same to each request, and stays connected unless told otherwise.
fn repeating(answer: &'static str, closing: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    upstream(move |mut stream| {
        thread::spawn(move || {
            while !read_head(&mut stream).is_empty() {
                if stream.write_all(answer.as_bytes()).is_err() || closing {
                    return;
                }
            }
        });
    })
}

#[test]
fn what_means_one_thing_is_read_and_the_connection_is_not_used_again() {
    for (answer, closing) in [
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", true),
        (
            "HTTP/1.1 200 OK\r\nX-Own : 1\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nX-Own: \x01 1\x07\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nX-Own:\r\n 1\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        ("\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("http/1.2  200\tOK\r\nContent-Length: 2\r\n\r\nok", false),
        (
            "HTTP/1.1 200 OK\r\n first: 1\r\nX-Own: 1\r\nno field\r\nX Y: 2\r\n: 3\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno field\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0",
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
    ] {
        let (to, count) = repeating(answer, closing);
        let daemon = proxy(to);
        for round in 1..=2 {
            let response = get(&daemon, "/");
            assert_eq!(
                (response.status, response.text()),
                (200, "ok".to_owned()),
                "{answer:?}"
            );
            assert_eq!(count.load(Ordering::SeqCst), round, "{answer:?}");
            if answer.contains("X-Own") {
                assert_eq!(response.header("x-own"), Some("1"), "{answer:?}");
            }
            let names = response.headers.iter();
            let names: Vec<_> = names.map(|(name, _)| name.to_ascii_lowercase()).collect();
            for odd in ["first", "no field", "x y", ""] {
                assert!(!names.iter().any(|name| name == odd), "{answer:?}: {odd}");
            }
            let lengths = response.headers.iter();
            let lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            assert!(lengths.count() <= 1, "{answer:?}");
        }
    }
}

#[test]
fn many_headers_are_no_reason_to_refuse() {
    let fields: String = (0..98).map(|n| format!("X-Module-{n}: {n}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let response = get(&proxy(saying(answer.leak())), "/");
    assert_eq!((response.status, response.text()), (200, "ok".to_owned()));
    assert_eq!(response.header("x-module-97"), Some("97"));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_by_name() {
    for (fields, said) in [
        (
            "Content-Length: 2\r\nContent-Length: 3",
            "header \"Content-Length\": Content-Length is sent more than once",
        ),
        (
            "Content-Length: 2 bytes",
            "header \"Content-Length\": Content-Length is not a decimal number",
        ),
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Content-Length and Transfer-Encoding exclude each other",
        ),
        (
            "Content Length: 2",
            "header \"Content Length\": a header name is not a token",
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            "header \"transfer-encoding\": the only transfer coding supported is chunked",
        ),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok");
        let to = saying(answer.leak());
        let daemon = proxy(to);
        assert_eq!(get(&daemon, "/").status, 502, "{fields}");
        daemon.wait_for_log(&format!("upstream {to}: its answer is not valid HTTP: "));
        daemon.wait_for_log(said);
    }
}

#[test]
fn clients_are_held_to_the_rules() {
    let daemon = proxy(saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    for request in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: \x01\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\na",
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(&daemon);
        client.send(request);
        assert_eq!(client.read_response().status, 400, "{request:?}");
    }
}
