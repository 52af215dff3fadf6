use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use rustls::version::{TLS12, TLS13};
use tungstenite::Message;

use super::client::{any_version, ask, config, connect, get, read_response};
use super::{Files, start};
use crate::support::Daemon;

#[test]
fn bodies_go_both_ways_as_they_are() {
    let (daemon, _files) = start("echo");
    let body: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    for size in [0, 1, 16_384, 16_385, body.len()] {
        let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..size]).unwrap();
        assert!(read_response(&mut stream).body == body[..size], "{size}");
    }
    assert_eq!(
        get(&daemon, "/download?bytes=5000000").body.len(),
        5_000_000
    );
    // One that is read whole before it is answered.
    let (daemon, _files) = start("http-echo-headers");
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5000000\r\n\r\n")
        .unwrap();
    stream.write_all(&vec![b'x'; 5_000_000]).unwrap();
    let told = read_response(&mut stream).text();
    assert!(told.contains("\nbody 5000000 "), "{told}");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let (daemon, _files) = start("http-echo-headers");
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    let requests: String = (0..50)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: h\r\n\r\n"))
        .collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for n in 0..50 {
        let told = read_response(&mut stream);
        assert!(told.text().starts_with(&format!("GET /{n}\n")), "{told:?}");
    }
}

#[test]
fn plugins_are_told_what_was_agreed_on() {
    let files = Files::new();
    let daemon = files.serve(Daemon::builder("stages"), &["first"]).start();
    for (version, number, cipher) in [
        (&TLS12, "1.2", "TLS_ECDHE_ECDSA_WITH_"),
        (&TLS13, "1.3", "TLS_AES_"),
    ] {
        for name in ["localhost", "127.0.0.1"] {
            let mut stream = connect(&daemon, name, &config(&[version])).unwrap();
            let request = "GET / HTTP/1.1\r\nhost: h\r\nx-test-middleware: seen\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let text = read_response(&mut stream).text();
            let seen = text
                .lines()
                .find_map(|line| line.strip_prefix("header x-seen-client: "))
                .unwrap();
            // Addresses are no names that could be asked for.
            let asked = match name {
                "localhost" => "Some(\"localhost\")",
                _ => "None",
            };
            assert!(seen.starts_with("127.0.0.1 "), "{seen}");
            assert!(
                seen.contains(&format!(" Some(\"{number}\") Some(\"{cipher}")),
                "{seen}"
            );
            assert!(seen.ends_with(&format!(" {asked}")), "{seen}");
            assert!(text.contains("context scheme: https\n"), "{text}");
        }
    }
    let plain = crate::support::request(&daemon, "GET", "/", &[("x-test-middleware", "seen")], b"");
    assert!(!plain.text().contains("context scheme"), "{}", plain.text());
    assert!(
        plain.text().contains(" None None Some(\"localhost\")"),
        "{}",
        plain.text()
    );
}

#[test]
fn a_handler_of_wasi_http_sees_the_scheme() {
    let (daemon, _files) = start("http-echo-headers");
    assert!(get(&daemon, "/").text().contains("\nscheme https\n"));
    let plain = crate::support::get(&daemon, "/").text();
    assert!(!plain.contains("\nscheme https\n"), "{plain}");
}

#[test]
fn upstreams_are_told_that_the_client_spoke_tls() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                head.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(&head).unwrap();
        }
    });
    let files = Files::new();
    let route = format!("test.route=forward {} {}", address.ip(), address.port());
    let daemon = Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host(address);
    let daemon = files.serve(daemon, &["first"]).start();
    let seen = ask(&daemon, "/", "x-forwarded-proto: http\r\n")
        .text()
        .to_ascii_lowercase();
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert!(
        seen.contains("for=127.0.0.1;host=\"localhost\";proto=https\r\n"),
        "{seen}"
    );
}

#[test]
fn a_response_is_read_although_the_body_was_not_wanted() {
    // The handler refuses by the head; the client sends on, and reads only then.
    let files = Files::new();
    let daemon = files.serve(Daemon::builder("stages"), &["first"]).start();
    for _ in 0..10 {
        let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: h\r\nx-test-auth: denied no\r\ncontent-length: 300000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'x'; 300_000]).unwrap();
        let told = read_response(&mut stream);
        assert!(matches!(told.status, 401 | 403), "{told:?}");
    }
}

#[test]
fn an_end_is_told_by_tls_too_and_half_closed_clients_get_their_response() {
    let (daemon, _files) = start("echo");
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    stream
        .write_all(b"GET /download?bytes=3000000 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .unwrap();
    // This half is at its end, as TLS and as TCP have it.
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    // Without a `close_notify` this would be an error: somebody could have cut it off.
    stream.read_to_end(&mut all).unwrap();
    assert!(all.len() > 3_000_000, "{}", all.len());
    // An idle connection that the daemon ends is ended properly, too.
    let files = Files::new();
    let brief = files
        .serve(Daemon::builder("hello"), &["first"])
        .timeout("idle", "1s")
        .start();
    let mut stream = connect(&brief, "localhost", &any_version()).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).status, 200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_websocket_is_carried_on_over_tls() {
    let files = Files::new();
    let daemon = files
        .serve(Daemon::builder("websocket-echo"), &["first"])
        .start();
    let stream = connect(&daemon, "localhost", &any_version()).unwrap();
    let url = format!("wss://localhost:{}/", daemon.https().port());
    let (mut socket, _) = tungstenite::client(url, stream).unwrap();
    for size in [0, 1, 16_384, 200_000] {
        let message = Message::text("x".repeat(size));
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "{size}");
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn records_without_content_are_read_and_lead_nowhere() {
    // A client may send them (RFC 8446 section 5.4), and nobody else has to wait for it.
    let (daemon, _files) = start("hello");
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    for _ in 0..100 {
        stream.conn.refresh_traffic_keys().unwrap();
        if stream.flush().is_err() {
            break;
        }
    }
    assert_eq!(get(&daemon, "/").status, 200);
    // Whoever sends what is no record is told, and closed.
    let mut stream = connect(&daemon, "localhost", &any_version()).unwrap();
    let mut raw: &TcpStream = &stream.sock;
    raw.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
    raw.write_all(&[0; 32]).unwrap();
    let error = stream.read(&mut [0]).unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
    assert_eq!(get(&daemon, "/").status, 200);
}
