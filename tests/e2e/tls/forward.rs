use std::io::{Read, Write};

use super::proxy;
use super::server::{OK, Server, echo, read_head};
use crate::support::{Client, figures_are_the_daemons, get, request};

#[test]
fn bodies_go_both_ways_as_they_are() {
    let upstream = echo();
    let daemon = proxy(upstream.port).start();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for size in [0, 1, 16_384, 16_385, body.len()] {
        let answer = request(&daemon, "POST", "/", &[], &body[..size]);
        assert!(
            answer.status == 200 && answer.body == body[..size],
            "{size}"
        );
    }
}

#[test]
fn the_answer_may_come_while_the_request_is_on_its_way() {
    let upstream = Server::start("server.pem", |mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        // The chunks go back as they come, up to the last.
        let mut piece = vec![0; 32 << 10];
        let mut end = Vec::new();
        while !end.ends_with(b"\r\n0\r\n\r\n") {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the request is cut off");
            stream.write_all(&piece[..count]).unwrap();
            end.extend_from_slice(&piece[..count]);
            end.drain(..end.len().saturating_sub(7));
        }
        stream.flush().unwrap();
    });
    let daemon = proxy(upstream.port).start();
    // More than all buffers on the way hold.
    let body: Vec<u8> = (0..32u32 << 20).map(|n| (n % 251) as u8).collect();
    let mut chunked = Vec::new();
    for chunk in body.chunks(100_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let fields = [("transfer-encoding", "chunked")];
    let answer = request(&daemon, "POST", "/", &fields, &chunked);
    assert!(
        answer.status == 200 && answer.body == body,
        "{} with {} bytes",
        answer.status,
        answer.body.len()
    );
}

#[test]
fn the_upstream_sees_the_client_as_ever() {
    let upstream = Server::start("server.pem", |mut stream| {
        let head = read_head(&mut stream).unwrap();
        let name = stream.conn.server_name().unwrap_or("none").to_owned();
        let text = format!("{name}\n{head}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let daemon = proxy(upstream.port).start();
    let seen = request(&daemon, "GET", "/a?b", &[("host", "example.com")], b"").text();
    for line in [
        // The name that the certificate has to be for.
        "localhost",
        "GET /a?b HTTP/1.1",
        "host: example.com",
        // How the client asked, not how it goes on.
        "x-forwarded-proto: http",
    ] {
        assert!(
            seen.lines().any(|seen| seen.eq_ignore_ascii_case(line)),
            "{line} is not in {seen}"
        );
    }
}

#[test]
fn one_handshake_serves_many_requests() {
    let upstream = echo();
    let daemon = proxy(upstream.port).start();
    for _ in 0..10 {
        assert_eq!(request(&daemon, "POST", "/", &[], b"hello").text(), "hello");
    }
    assert_eq!(upstream.shaken(), 1);
}

#[test]
fn a_connection_that_the_upstream_closed_is_replaced() {
    // One answer each, and the end, which TLS announces.
    let upstream = Server::start("server.pem", |mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let daemon = proxy(upstream.port).start();
    for round in 1..=5 {
        assert_eq!(get(&daemon, "/").text(), "ok");
        assert_eq!(upstream.shaken(), round);
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_where_tls_says_so() {
    // RFC 9112 section 9.8: without a close of TLS's own, somebody on the way may have cut it off.
    let (begun, has_begun) = std::sync::mpsc::channel::<()>();
    let has_begun = std::sync::Mutex::new(has_begun);
    let upstream = Server::start("server.pem", move |mut stream| {
        let head = read_head(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it")
            .unwrap();
        if head.starts_with("GET /whole ") {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        } else {
            stream.flush().unwrap();
            // The client has it all before it turns out that it may not be all.
            has_begun.lock().unwrap().recv().unwrap();
        }
        // Not a reset, which would take along what the other side has not read.
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let daemon = proxy(upstream.port).start();
    assert_eq!(get(&daemon, "/whole").text(), "all of it");
    let mut client = Client::connect(&daemon);
    client.send("GET /cut HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(
        client.read_chunk().unwrap().as_deref(),
        Some(&b"all of it"[..])
    );
    begun.send(()).unwrap();
    assert!(client.is_closed(), "an end of it came");
    daemon.wait_for_log("its answer is cut off");
}

#[test]
fn bodies_stream_both_ways_in_little_memory() {
    const BYTES: usize = 64 << 20;
    let upstream = Server::start("server.pem", |mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut piece = vec![b'x'; 64 << 10];
        if head.starts_with("GET") {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            for _ in 0..BYTES / piece.len() {
                stream.write_all(&piece).unwrap();
            }
        } else {
            let mut left = BYTES;
            while left > 0 {
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0 && piece[..count].iter().all(|byte| *byte == b'y'));
                left -= count;
            }
            stream.write_all(OK.as_bytes()).unwrap();
        }
        stream.flush().unwrap();
    });
    let daemon = proxy(upstream.port).args(["--memory-max", "24Mi"]).start();
    let before = daemon.status_kib("VmRSS");
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    client.read_head().unwrap();
    for _ in 0..BYTES >> 20 {
        let piece = client.read_exactly(1 << 20).unwrap();
        assert!(piece.iter().all(|byte| *byte == b'x'));
    }
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {BYTES}\r\n\r\n"
    ));
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..BYTES >> 20 {
        client.send(&piece);
    }
    assert_eq!(client.read_response().text(), "ok");
    if figures_are_the_daemons() {
        let grown = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(grown < 8 << 10, "{grown} KiB for {BYTES} bytes");
    }
}
