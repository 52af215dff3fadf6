//! What proxies leave as it came: the case of names, bytes of values, dates, early hints.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use super::{proxy, proxy_with, read_head, saying, upstream};
use crate::support::{Client, Daemon, PATIENCE, get};

/// Everything that the daemon answers to this, up to the end of the connection.
fn raw(daemon: &Daemon, request: &str) -> Vec<u8> {
    let mut client = Client::connect(daemon);
    client.send(request);
    client.read_to_end()
}

/// An upstream that tells the head that it saw, and answers with this.
fn listening(answer: &'static [u8]) -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let (to, _) = upstream(move |mut stream: TcpStream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(answer);
        let _ = tell.send(head);
        let _ = stream.read(&mut [0]);
    });
    (to, told)
}

const SPELLED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-length: 2\r\nX-ODD-name: 1\r\nlower-case: 2\r\n\
                         ETag: \"a\"\r\nSet-Cookie: a\r\nConnection: close\r\n\r\nok";

#[test]
fn names_keep_their_case_both_ways() {
    let sent = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nX-MINE-too: 1\r\nlower: 2\r\n\
                User-Agent: firmware\r\nConnection: close\r\n\r\nhi";
    for guests in [&[][..], &["stage-middleware"]] {
        let (to, told) = listening(SPELLED);
        let daemon = guests
            .iter()
            .fold(proxy_with(to, ""), |daemon, guest| daemon.with(guest));
        let answer = String::from_utf8(raw(&daemon.start(), sent)).unwrap();
        let seen = told.recv_timeout(PATIENCE).unwrap();
        for line in [
            "Host: h",
            "Content-Length: 2",
            "X-MINE-too: 1",
            "lower: 2",
            "User-Agent: firmware",
            "X-Forwarded-For: 127.0.0.1",
            "Via: 1.1 zlayer",
        ] {
            assert!(
                seen.lines().any(|seen| seen == line),
                "{guests:?}: {line} is not in {seen}"
            );
        }
        for line in [
            "Content-length: 2",
            "X-ODD-name: 1",
            "lower-case: 2",
            "ETag: \"a\"",
            "Set-Cookie: a",
            "Connection: close",
        ] {
            assert!(
                answer.lines().any(|seen| seen == line),
                "{guests:?}: {line} is not in {answer}"
            );
        }
    }
}

#[test]
fn a_name_that_came_in_lower_case_goes_so() {
    let (to, told) = listening(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let daemon = proxy(to);
    let sent = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let answer = String::from_utf8(raw(&daemon, sent)).unwrap();
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        seen.contains("\r\nhost: h\r\n") && seen.contains("\r\ncontent-length: 2\r\n"),
        "{seen}"
    );
    assert!(answer.contains("\r\ncontent-length: 2\r\n"), "{answer}");
}

#[test]
fn values_keep_their_bytes_behind_a_middleware_that_changes_nothing() {
    let answer =
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\xe9\r\nSet-Cookie: a=\xe8\r\nSet-Cookie: b\r\n\
                   Set-Cookie: a=\xff\xfe\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (to, _told) = listening(answer);
    let daemon = proxy_with(to, "").with("stage-middleware").start();
    let came = raw(
        &daemon,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    let cookies: Vec<&[u8]> = came
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"Set-Cookie: "))
        .map(<[u8]>::trim_ascii_end)
        .collect();
    assert_eq!(cookies, [&b"a=\xe9"[..], b"a=\xe8", b"b", b"a=\xff\xfe"]);
}

#[test]
fn the_upstreams_dates_stay() {
    let daemon = proxy(saying(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Sun, 06 Nov 1994 09:49:37 GMT\r\n\
         Age: 7\r\nContent-Length: 0\r\n\r\n",
    ));
    let answer = get(&daemon, "/");
    for (name, value) in [
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires", "Sun, 06 Nov 1994 09:49:37 GMT"),
        ("age", "7"),
    ] {
        let values: Vec<_> = answer
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .collect();
        assert_eq!(values.len(), 1, "{name}: {answer:?}");
        assert_eq!(values[0].1, value);
    }
}

#[test]
fn a_reset_comes_without_content_however_its_end_comes() {
    for answer in [
        "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\n\r\n",
    ] {
        let (to, _told) = listening(answer.as_bytes());
        let response = get(&proxy(to), "/");
        assert_eq!(
            (response.status, response.body.len()),
            (205, 0),
            "{answer:?}"
        );
        assert_eq!(response.header("content-length"), Some("0"), "{answer:?}");
    }
}

/// An upstream that sends early hints, and its response when told to.
fn hinting() -> (std::net::SocketAddr, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let (to, _) = upstream(move |mut stream| {
        read_head(&mut stream);
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-More: 1\r\n\r\n";
        stream.write_all(hints.as_bytes()).unwrap();
        if wait.recv().is_ok() {
            let _ = stream.write_all(super::OK.as_bytes());
        }
    });
    (to, go)
}

#[test]
fn early_hints_are_early() {
    for (guest, more) in [(None, Some("1")), (Some("stage-middleware"), None)] {
        let (to, go) = hinting();
        let builder = proxy_with(to, "");
        let daemon = match guest {
            Some(guest) => builder.with(guest).start(),
            None => builder.start(),
        };
        let mut client = Client::connect(&daemon);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        // The response waits until the hints are here.
        let hints = client.read_head().unwrap();
        assert_eq!(hints.status, 103);
        assert_eq!(hints.header("link"), Some("</a.css>; rel=preload"));
        // What stages would make of the rest is not known.
        assert_eq!(hints.header("x-more"), more);
        go.send(()).unwrap();
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
        // The connection goes on.
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.read_head().unwrap().status, 103);
        go.send(()).unwrap();
        assert_eq!(client.read_response().status, 200);
    }
}

#[test]
fn old_clients_get_no_hints() {
    let (to, go) = hinting();
    let daemon = proxy(to);
    go.send(()).unwrap();
    let came = raw(&daemon, "GET / HTTP/1.0\r\n\r\n");
    assert!(
        came.starts_with(b"HTTP/1.1 200 "),
        "{}",
        came.escape_ascii()
    );
}

#[test]
fn the_upstream_decides_over_an_upload_that_waits_for_it() {
    let (tell, told) = mpsc::channel();
    let (to, _) = upstream(move |mut stream| {
        let head = read_head(&mut stream);
        if head.starts_with("POST /no") {
            let no = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(no.as_bytes()).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            tell.send((head, rest)).unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 4];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(super::OK.as_bytes()).unwrap();
            tell.send((head, body.to_vec())).unwrap();
        }
    });
    let daemon = proxy(to);
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let mut client = Client::connect(&daemon);
    client.send(head("/no"));
    // Nothing comes before it, so the client sends nothing.
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text()), (401, "no".to_owned()));
    assert!(!answer.keep_alive, "{answer:?}");
    drop(client);
    let (seen, rest) = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.contains("\r\nExpect: 100-continue\r\n"), "{seen}");
    assert!(rest.is_empty(), "{}", rest.escape_ascii());

    let mut client = Client::connect(&daemon);
    client.send(head("/yes"));
    assert_eq!(client.read_head().unwrap().status, 100);
    client.send("body");
    assert_eq!(client.read_response().text(), "ok");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().1, b"body");
}

#[test]
fn a_body_that_a_plugin_has_read_waits_for_nobody() {
    let (to, told) = listening(super::OK.as_bytes());
    let daemon = proxy_with(to, "")
        .plugin("stage-router:request-body=whole")
        .start();
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    // The client gets its go-ahead from the daemon, and the response after that.
    assert_eq!(client.read_head().unwrap().status, 100);
    client.send("body");
    assert_eq!(client.read_response().text(), "ok");
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(!seen.to_ascii_lowercase().contains("expect:"), "{seen}");
}

#[test]
fn a_head_that_is_too_large_is_named_with_how_large_it_may_be() {
    let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n", "a".repeat(33_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(257));
    for (start, told) in [
        (
            long,
            "its status line and headers have more than 32768 bytes",
        ),
        (many, "it has more than 256 headers"),
    ] {
        let (to, _) = upstream(move |mut stream: TcpStream| {
            read_head(&mut stream);
            let _ = stream.write_all(start.as_bytes());
            let _ = stream.write_all(b"Content-Length: 0\r\n\r\n");
            let _ = stream.read(&mut [0]);
        });
        let daemon = proxy(to);
        assert_eq!(get(&daemon, "/").status, 502);
        daemon.wait_for_log(&format!(
            "its answer has too large a head: {told}, and no flag allows more"
        ));
    }
}

#[test]
fn a_target_in_latin_1_is_passed_on_percent_encoded() {
    let (to, told) = listening(SPELLED);
    let daemon = proxy(to);
    let mut client = Client::connect(&daemon);
    client.send(b"GET /caf\xe9?q=\xfc HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.starts_with("GET /caf%E9?q=%FC HTTP/1.1\r\n"), "{seen}");
}

#[test]
fn a_half_closed_client_gets_its_response_however_long_the_upstream_is_silent() {
    let (to, _) = upstream(|mut stream: TcpStream| {
        read_head(&mut stream);
        // This upstream is slow: it takes longer than a client that is gone is waited for.
        std::thread::sleep(std::time::Duration::from_millis(3_500));
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        std::thread::sleep(std::time::Duration::from_millis(3_500));
        let _ = stream.write_all(b"2\r\nay\r\n0\r\n\r\n");
    });
    let daemon = proxy(to);
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.shutdown_write();
    let mut response = client.read_response();
    while response.status == 100 {
        // Sent to learn whether the client is still there.
        response = client.read_response();
    }
    assert_eq!(response.text(), "okay");
    assert!(client.is_closed());
}
