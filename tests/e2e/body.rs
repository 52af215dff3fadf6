//! Bodies in both directions: framing, trailers, streaming, back-pressure, memory.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::support::{
    Client, Daemon, PATIENCE, Response, figures_are_the_daemons, get, request, under_qemu,
};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";

/// What `/download` sends.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..251u8).cycle().take(bytes).collect()
}

/// What `/count` answers.
fn count(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{{\"bytes\":{},\"fnv1a\":\"{hash:016x}\"}}", body.len())
}

/// `body` in chunks of `size` bytes, and its end.
fn chunks(body: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    wire
}

#[test]
fn what_a_client_sends_wrongly_is_not_logged_as_the_plugins_fault() {
    // It has begun its response by then, and cannot go on with it.
    let mut daemon = Daemon::start("echo");
    for rest in ["3\r\nabc\r\nnonsense\r\n", "3\r\nab"] {
        let mut client = Client::connect(&daemon);
        client.send(format!("{CHUNKED}\r\n{rest}"));
        client.shutdown_write();
        let _ = client.read_to_end();
    }
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    assert!(!daemon.log().contains("cut off"), "{}", daemon.log());
}

#[test]
fn a_body_of_known_length_arrives_whole() {
    let daemon = Daemon::start("echo");
    for length in [0, 1, 4095, 4096, 65_537, 200_000] {
        let body = pattern(length);
        let response = request(&daemon, "POST", "/count", &[], &body);
        assert_eq!((response.status, response.text()), (200, count(&body)));
    }
}

#[test]
fn an_answer_of_known_length_arrives_whole() {
    let daemon = Daemon::start("echo");
    for length in [0, 1, 4095, 4096, 16_384, 65_537, 200_000] {
        let response = get(&daemon, &format!("/download?bytes={length}"));
        let announced = response.header("content-length").map(str::to_owned);
        assert_eq!(announced, Some(length.to_string()));
        assert!(response.body == pattern(length), "{length} bytes");
    }
}

#[test]
fn chunks_arrive_as_one_body_whatever_their_size() {
    let daemon = Daemon::start("echo");
    let body = pattern(20_000);
    let chunked = [("transfer-encoding", "chunked")];
    for size in [7, 255, 4096, 20_000] {
        let wire = chunks(&body, size, "");
        let counted = request(&daemon, "POST", "/count", &chunked, &wire);
        assert_eq!(counted.text(), count(&body), "chunks of {size}");
        let echoed = request(&daemon, "PUT", "/", &chunked, &wire);
        assert!(echoed.body == body, "chunks of {size}");
    }
}

#[test]
fn chunk_extensions_are_read_over() {
    let daemon = Daemon::start("echo");
    let wire = b"5;name=value;q=\"a b\"\r\nhello\r\n0;last\r\n\r\n";
    let chunked = [("Transfer-Encoding", "Chunked")];
    assert_eq!(
        request(&daemon, "POST", "/", &chunked, wire).text(),
        "hello"
    );
}

#[test]
fn trailers_go_both_ways_but_for_those_that_may_not() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    for _ in 0..2 {
        let end = "X-Checksum: abc\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\nX-Second: 2\r\n";
        client.send(format!(
            "{CHUNKED}Trailer: X-Checksum\r\nContent-Type: text/x\r\n\r\n"
        ));
        client.send(chunks(b"with trailers", 4, end));
        let answer = client.read_response();
        assert_eq!(answer.header("content-type"), Some("text/x"));
        let Response { body, trailers, .. } = answer;
        assert_eq!(body, b"with trailers");
        let trailers: Vec<_> = trailers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(trailers, [("x-checksum", "abc"), ("x-second", "2")]);
    }
}

#[test]
fn each_chunk_is_echoed_before_the_next_is_sent() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send(format!("{CHUNKED}\r\n"));
    client.send("5\r\nhello\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    for next in ["world", "still", "there"] {
        let echoed = client.read_chunk().unwrap().unwrap();
        assert_eq!(echoed.len(), 5);
        client.send(format!("5\r\n{next}\r\n"));
    }
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"there"[..]));
    client.send("0\r\n\r\n");
    assert_eq!(client.read_chunk().unwrap(), None);
}

#[test]
fn a_large_body_streams_through_little_memory() {
    let length: usize = if under_qemu() { 2 << 20 } else { 100 << 20 };
    let daemon = Daemon::builder("echo")
        .args(["--memory-max", "16Mi"])
        .start();
    let before = daemon.status_kib("VmRSS");
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    ));
    let piece = pattern(251 * 256);
    std::thread::scope(|scope| {
        let mut sending = client.socket().try_clone().unwrap();
        let piece = &piece;
        scope.spawn(move || {
            let mut left = length;
            while left > 0 {
                let now = left.min(piece.len());
                sending.write_all(&piece[..now]).unwrap();
                left -= now;
            }
        });
        assert_eq!(client.read_head().unwrap().status, 200);
        let mut read = 0;
        while let Some(chunk) = client.read_chunk().unwrap() {
            let at = read % 251;
            assert!(
                chunk[..] == pattern(at + chunk.len())[at..],
                "altered behind byte {read}"
            );
            read += chunk.len();
        }
        assert_eq!(read, length);
    });
    if figures_are_the_daemons() {
        let grown = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(grown < 12 << 10, "{length} bytes took {grown} KiB more");
    }
}

#[test]
fn an_upload_stops_where_nobody_reads_its_echo() {
    let offered: usize = 256 << 20;
    let daemon = Daemon::builder("echo")
        .args(["--memory-max", "16Mi"])
        .start();
    let before = daemon.status_kib("VmRSS");
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {offered}\r\n\r\n"
    ));
    let piece = pattern(251 * 64);
    let mut socket = client.socket().try_clone().unwrap();
    // What is looked at is that it stands still, and this is how long: a daemon that takes more makes it go on.
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut taken = 0;
    let stopped = loop {
        match socket.write(&piece) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
        // As much fits into the buffers of four sockets where these may be the largest.
        assert!(taken < offered, "no end of what is taken");
    };
    assert!(
        matches!(stopped.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{stopped}"
    );
    if figures_are_the_daemons() {
        let grown = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(grown < 12 << 10, "{taken} bytes took {grown} KiB");
    }
    // Others are served meanwhile.
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}

#[test]
fn a_slow_reader_gets_all_and_holds_up_nobody() {
    let length = if under_qemu() { 1 << 20 } else { 32 << 20 };
    let daemon = Daemon::builder("echo")
        .args(["--memory-max", "16Mi", "--threads", "1"])
        .start();
    let mut slow = Client::connect(&daemon);
    slow.send(format!(
        "GET /download?bytes={length} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    assert_eq!(slow.read_head().unwrap().status, 200);
    for _ in 0..5 {
        slow.read_exactly(251).unwrap();
        assert_eq!(get(&daemon, "/download?bytes=1000").body, pattern(1000));
    }
    let rest = slow.read_exactly(length - 5 * 251).unwrap();
    assert!(rest == pattern(rest.len()));
}

#[test]
fn a_body_that_the_plugin_leaves_unread_does_not_become_a_request() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..3 {
        client.send(format!(
            "POST /outer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ));
        let wire = chunks(inner.as_bytes(), 10, "");
        // At once: of a chunked body whose end is not in sight nobody knows how much is to come.
        client.send([format!("{CHUNKED}\r\n").as_bytes(), &wire].concat());
        for path in ["/outer", "/"] {
            let response = client.read_response();
            assert!(
                response.text().contains(&format!("\"path\":\"{path}\"")),
                "{response:?}"
            );
            assert!(response.keep_alive);
        }
    }
}

#[test]
fn a_large_body_that_nobody_reads_still_lets_the_answer_through() {
    let daemon = Daemon::start("hello");
    let body = vec![b'x'; 1 << 20];
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    let response = client.read_response();
    assert!(response.text().contains("/unread"));
    // The server does not read it all: it closes, and says so by that.
    let _ = client.try_send(&body);
    assert!(client.is_closed());
}

#[test]
fn a_chunked_body_that_breaks_off_is_not_taken_for_whole() {
    let daemon = Daemon::start("echo");
    for wire in [
        "5\r\nhel",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n",
    ] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "{}\r\n{wire}",
            CHUNKED.replace("POST /", "POST /count")
        ));
        client.shutdown_write();
        let response = client.read_response();
        assert_eq!(response.status, 400, "{wire:?}: {response:?}");

        // Echoed, it is a broken answer, not a shorter one.
        let mut client = Client::connect(&daemon);
        client.send(format!("{}\r\n", CHUNKED.replace("POST /", "POST /greet")));
        assert_eq!(client.read_head().unwrap().status, 200);
        client.read_greeting();
        client.send(wire);
        let part = if wire == "5\r\nhel" { "hel" } else { "hello" };
        let echoed = client.read_chunk().unwrap();
        assert_eq!(echoed.as_deref(), Some(part.as_bytes()), "{wire:?}");
        client.shutdown_write();
        assert!(client.is_closed(), "{wire:?}: an end of the echo");
    }
}

#[test]
fn a_body_shorter_than_announced_is_not_taken_for_whole() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send("POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    client.shutdown_write();
    assert_eq!(client.read_response().status, 400);
}

#[test]
fn bodies_of_many_clients_do_not_mix() {
    let daemon = Daemon::start("echo");
    std::thread::scope(|scope| {
        for client in 0..8u8 {
            let daemon = &daemon;
            scope.spawn(move || {
                let body = vec![b'a' + client; 50_000];
                for _ in 0..3 {
                    let response = request(daemon, "POST", "/", &[], &body);
                    assert!(response.status == 200 && response.body == body);
                }
            });
        }
    });
}

#[test]
fn an_answer_goes_on_while_its_client_reads_in_small_pieces() {
    let daemon = Daemon::start("echo");
    let client = Client::connect(&daemon);
    let mut socket = client.socket();
    socket
        .write_all(b"GET /download?bytes=30000 HTTP/1.0\r\n\r\n")
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 100]);
    loop {
        match socket.read(&mut piece).unwrap() {
            0 => break,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
    assert!(all.ends_with(&pattern(30_000)));
}
