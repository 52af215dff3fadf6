use std::net::TcpListener;
use std::thread;

use miniz_oxide::inflate::decompress_to_vec;
use tungstenite::handshake::server::{Request, Response as ServerAnswer};

use super::{BINARY, TEXT, closed, frame, inflated, next, open};
use crate::support::Daemon;

/// "Hello", and "Hello" again as a reference to the one before (RFC 7692 sections 7.2.3.1 and 7.2.3.2).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

const OFFER: Option<&str> = Some("permessage-deflate");

fn echo() -> Daemon {
    Daemon::start("websocket-echo")
}

#[test]
fn nothing_is_compressed_that_nobody_asked_for() {
    let daemon = echo();
    for offer in [
        None,
        Some("x-webkit-deflate-frame"),
        Some("permessage-deflate; server_max_window_bits=7"),
        Some("permessage-deflate; unknown"),
    ] {
        let (mut client, agreed) = open(&daemon, offer);
        assert_eq!(agreed, None, "{offer:?}");
        let long = "again and again ".repeat(100);
        client.send(frame(true, false, TEXT, long.as_bytes()));
        assert_eq!(next(&mut client), (0x81, long.into_bytes()));
        // Then the bit that says so is a reserved one (RFC 6455 section 5.2).
        client.send(frame(true, true, TEXT, HELLO));
        assert_eq!(closed(&mut client), 1002, "{offer:?}");
    }
}

#[test]
fn an_offer_is_answered_with_what_holds() {
    let daemon = echo();
    for (offer, more) in [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        (
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
        (
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
    ] {
        let (mut client, agreed) = open(&daemon, Some(offer));
        let expected = format!(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover{more}"
        );
        assert_eq!(agreed, Some(expected), "{offer}");
        client.send(frame(true, true, TEXT, HELLO));
        assert_eq!(inflated(&mut client, TEXT), b"Hello");
    }
}

#[test]
fn a_message_cannot_refer_to_the_one_before() {
    let daemon = echo();
    let (mut client, _) = open(&daemon, OFFER);
    for _ in 0..2 {
        client.send(frame(true, true, TEXT, HELLO));
        assert_eq!(inflated(&mut client, TEXT), b"Hello");
    }
    // What was before is gone. Whoever refers to it all the same is told so; no plugin gets a guess.
    client.send(frame(true, true, TEXT, AGAIN));
    assert_eq!(closed(&mut client), 1007);
}

#[test]
fn the_daemon_never_refers_to_the_one_before() {
    let daemon = echo();
    let (mut client, _) = open(&daemon, OFFER);
    let long: Vec<u8> = (0..100_000u32).map(|n| (n / 7 % 89) as u8).collect();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        client.send(frame(true, false, BINARY, &long));
        let (first, mut payload) = next(&mut client);
        assert_eq!(first, 0xc2);
        sizes.push(payload.len());
        payload.extend_from_slice(b"\0\0\xff\xff\x01\0\0\xff\xff");
        // Each is a stream of its own.
        assert!(decompress_to_vec(&payload).unwrap() == long);
    }
    assert!(sizes.iter().all(|size| *size < long.len() / 3), "{sizes:?}");
}

#[test]
fn messages_come_in_fragments_pings_between_them_and_others_not_compressed() {
    let daemon = echo();
    let (mut client, _) = open(&daemon, OFFER);
    client.send(frame(false, true, TEXT, &HELLO[..3]));
    client.send(frame(true, false, 9, b"?"));
    client.send(frame(true, false, 0, &HELLO[3..]));
    assert_eq!(next(&mut client), (0x8a, b"?".to_vec()));
    assert_eq!(inflated(&mut client, TEXT), b"Hello");
    for size in [0, 1, 63, 64, 65_535, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        client.send(frame(true, false, BINARY, &bytes));
        assert!(inflated(&mut client, BINARY) == bytes, "{size}");
    }
    // The bit stands on the first frame of a message alone.
    client.send(frame(false, true, TEXT, &HELLO[..3]));
    client.send(frame(true, true, 0, &HELLO[3..]));
    assert_eq!(closed(&mut client), 1002);
}

#[test]
#[expect(
    clippy::result_large_err,
    reason = "what a callback of tungstenite's returns"
)]
fn an_upstream_hears_nothing_of_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = thread::spawn(move || {
        let mut offered = true;
        let look = |asked: &Request, answer: ServerAnswer| {
            offered = asked.headers().contains_key("sec-websocket-extensions");
            Ok(answer)
        };
        let stream = listener.accept().unwrap().0;
        let mut socket = tungstenite::accept_hdr(stream, look).unwrap();
        for _ in 0..2 {
            let message = socket.read().unwrap();
            socket.send(message).unwrap();
        }
        offered
    });
    let route = format!("test.route=forward 127.0.0.1 {port}");
    let daemon = Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host("127.0.0.1")
        .start();
    let (mut client, agreed) = open(&daemon, OFFER);
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(agreed.as_deref(), Some(expected));
    for _ in 0..2 {
        client.send(frame(true, true, TEXT, HELLO));
        assert_eq!(inflated(&mut client, TEXT), b"Hello");
    }
    assert!(!upstream.join().unwrap(), "the offer went on");
}

#[test]
fn what_is_no_compressed_data_closes_with_1007() {
    let daemon = echo();
    // A block of no known kind; a stored one whose two lengths differ; text that is no UTF-8.
    for payload in [
        &b"\x06\xff\xff"[..],
        b"\x00\x05\x00\x00\x00Hello\x00",
        b"\x00\x01\x00\xfe\xff\xff\x00",
    ] {
        let (mut client, _) = open(&daemon, OFFER);
        client.send(frame(true, true, TEXT, payload));
        assert_eq!(closed(&mut client), 1007, "{payload:x?}");
    }
    let (mut client, _) = open(&daemon, OFFER);
    client.send(frame(true, true, TEXT, HELLO));
    assert_eq!(inflated(&mut client, TEXT), b"Hello");
}
