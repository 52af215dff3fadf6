use miniz_oxide::deflate::compress_to_vec;

use super::{BINARY, closed, frame, inflated, open};
use crate::support::{Builder, Client, Daemon, figures_are_the_daemons};

/// Bytes of a message at most, in these tests.
const LIMIT: usize = 64 << 10;
const OFFER: Option<&str> = Some("permessage-deflate");

/// `count` times a MiB of zeros, compressed: about a thousandth of that.
fn zeros(count: usize) -> Vec<u8> {
    let mut message = compress_to_vec(&vec![0; 1 << 20], 6).repeat(count);
    // Behind a final block another has to come (RFC 7692 section 7.2.3.4).
    message.push(0);
    message
}

fn echo() -> Builder {
    Daemon::builder("websocket-echo")
        .args(["--max-message", &LIMIT.to_string()])
        .args(["--memory-max", "24Mi"])
}

/// It gives up no message that has begun, however long an emulator takes.
fn patient() -> Builder {
    echo()
        .timeout("stall", "20m")
        .timeout("websocket-ping", "20m")
}

/// A conversation in which a message went there and back.
fn talking(daemon: &Daemon) -> Client {
    let (mut client, _) = open(daemon, OFFER);
    let small = compress_to_vec(b"hello", 6);
    client.send(frame(true, true, BINARY, &[&small[..], b"\0"].concat()));
    assert_eq!(inflated(&mut client, BINARY), b"hello");
    client
}

#[test]
fn the_limit_is_for_what_a_message_becomes() {
    let daemon = echo().start();
    let packed = |size: usize| {
        let mut message = compress_to_vec(&vec![b'x'; size], 6);
        message.push(0);
        assert!(message.len() < LIMIT / 100);
        frame(true, true, BINARY, &message)
    };
    let mut client = talking(&daemon);
    client.send(packed(LIMIT));
    assert!(inflated(&mut client, BINARY) == vec![b'x'; LIMIT]);
    client.send(packed(LIMIT + 1));
    assert_eq!(closed(&mut client), 1009);
}

#[test]
fn a_message_that_grows_without_end_costs_no_more_than_one_that_fits() {
    let daemon = echo().start();
    let mut clients: Vec<Client> = (0..16).map(|_| talking(&daemon)).collect();
    let before = daemon.status_kib("VmHWM");
    // Each would be a hundred MiB; as one frame, and in fragments of which only the last would end it.
    let bomb = zeros(100);
    assert!(bomb.len() < 2 * LIMIT, "{}", bomb.len());
    let whole = frame(true, true, BINARY, &bomb);
    let mut parts = frame(false, true, BINARY, &bomb[..1000]);
    for part in bomb[1000..].chunks(1000) {
        parts.extend(frame(false, false, 0, part));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        // It may be closed before all is out.
        let _ = client.try_send(if index % 2 == 0 { &whole } else { &parts });
    }
    for client in &mut clients {
        assert_eq!(closed(client), 1009);
    }
    if figures_are_the_daemons() {
        let grown = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(grown < 8 << 10, "{grown} KiB");
    }
    talking(&daemon);
}

#[test]
fn blocks_of_nothing_end_too() {
    let daemon = echo().start();
    let mut client = talking(&daemon);
    // Empty stored blocks: on the wire for ever, and no message at all.
    let nothing = b"\0\0\0\xff\xff".repeat(1 << 12);
    client.send(frame(false, true, BINARY, &nothing));
    for _ in 0..20 {
        let _ = client.try_send(frame(false, false, 0, &nothing));
    }
    assert_eq!(closed(&mut client), 1009);
    talking(&daemon);
}

#[test]
fn messages_that_find_no_memory_are_told_so_and_harm_nobody() {
    let daemon = patient().start();
    // Each has begun a message, and holds what inflating takes; a ping comes between its fragments.
    let begun = || {
        let (mut client, _) = open(&daemon, OFFER);
        client.send(frame(false, true, BINARY, b"\xf2"));
        client.send(frame(true, false, 9, b"?"));
        let first = super::next(&mut client);
        (client, first)
    };
    let mut open_ones = Vec::new();
    let code = loop {
        match begun() {
            (client, (0x8a, _)) => open_ones.push(client),
            (_, (_, payload)) => break u16::from_be_bytes([payload[0], payload[1]]),
        }
        assert!(open_ones.len() < 1000, "nobody counts them");
    };
    assert_eq!(code, 1013);
    assert!(open_ones.len() > 10, "{}", open_ones.len());
    open_ones.truncate(open_ones.len() / 2);
    // Their memory comes back when the daemon has seen that they are gone.
    crate::support::eventually("room for another", || begun().1.0 == 0x8a);
    talking(&daemon);
}
