use tungstenite::Message;

use super::{close, closed, echoes, next, open, ping, pong, send};
use crate::support::{Daemon, brief};

#[test]
fn messages_of_every_kind_and_size() {
    let daemon = Daemon::start("stage-websocket");
    let mut socket = open(&daemon, "/", &[]);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        echoes(&mut socket, &"ö".repeat(size / 2));
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        send(&mut socket, bytes.clone());
        assert!(next(&mut socket) == Message::binary(bytes), "{size} bytes");
    }
    send(&mut socket, ping(b""));
    assert_eq!(next(&mut socket), pong(b""));
    send(&mut socket, pong(b"unasked"));
    send(&mut socket, "!drop");
    send(&mut socket, "!pong unasked");
    assert_eq!(next(&mut socket), pong(b"unasked"));
    assert_eq!(close(&mut socket, 3456), 3456);
}

#[test]
fn one_byte_too_many_closes_with_1009() {
    let daemon = Daemon::builder("stage-websocket")
        .args(["--max-message", "64Ki"])
        .start();
    let mut socket = open(&daemon, "/", &[]);
    echoes(&mut socket, &"x".repeat(64 << 10));
    send(&mut socket, "x".repeat((64 << 10) + 1));
    assert_eq!(closed(&mut socket), 1009);
}

#[test]
fn a_plugin_may_close() {
    let daemon = Daemon::start("stage-websocket");
    for (order, code) in [
        ("!close 1000 bye", 1000),
        ("!close 4001", 4001),
        ("!close-empty", 1005),
    ] {
        let mut socket = open(&daemon, "/", &[]);
        send(&mut socket, order);
        assert_eq!(closed(&mut socket), code, "{order}");
    }
}

#[test]
fn what_a_plugin_may_not_send_closes_with_1011() {
    let daemon = Daemon::builder("stage-websocket")
        .timeout("request", brief())
        .start();
    for order in [
        "!bad-text",
        "!long-ping",
        "!close 1005",
        "!close 1016 x",
        "!close-short",
        "!big 1048577",
        "!trap",
        "!spin",
        "!wait 60000 text late",
    ] {
        let mut socket = open(&daemon, "/", &[]);
        send(&mut socket, order);
        assert_eq!(closed(&mut socket), 1011, "{order}");
    }
    daemon.wait_for_log("] GET /: plugin stage-websocket: WebSocket closed: trap");
    echoes(&mut open(&daemon, "/", &[]), "still there");
}

#[test]
fn many_conversations_share_the_instances_and_none_waits_for_a_silent_one() {
    let daemon = Daemon::builder("stage-websocket")
        .args(["--max-instances", "2"])
        .start();
    let mut sockets: Vec<_> = (0..40).map(|_| open(&daemon, "/", &[])).collect();
    for round in 0..3 {
        for socket in &mut sockets {
            send(socket, format!("{round}"));
        }
        for socket in &mut sockets {
            assert_eq!(next(socket), Message::text(format!("{round}")));
        }
    }
}

#[test]
fn a_client_that_leaves_takes_the_plugins_work_with_it() {
    let daemon = Daemon::builder("stage-websocket")
        .args(["--max-instances", "1"])
        .timeout("request", "10m")
        .start();
    for is_reset in [false, true] {
        let mut socket = open(&daemon, "/", &[]);
        if is_reset {
            // What came and was not read makes a reset of the close.
            send(&mut socket, "hello");
            socket.get_ref().peek(&mut [0]).unwrap();
        }
        send(&mut socket, "!wait 600000 text late");
        drop(socket);
        // The one instance is free for the next.
        echoes(&mut open(&daemon, "/", &[]), "still there");
    }
    // One that has more to say is there, be its stream at its end.
    let mut socket = open(&daemon, "/", &[]);
    send(&mut socket, "!wait 1 text late");
    socket.close(None).unwrap();
    let half = socket.get_ref().shutdown(std::net::Shutdown::Write);
    half.unwrap();
    assert_eq!(next(&mut socket), Message::text("late"));
    assert_eq!(closed(&mut socket), 1005);
}

#[test]
fn a_silent_client_is_pinged_and_given_up() {
    let daemon = Daemon::builder("stage-websocket")
        .timeout("websocket-ping", brief())
        .start();
    let mut socket = open(&daemon, "/", &[]);
    // The library answers each ping when it is asked for the next message.
    for _ in 0..2 {
        assert!(matches!(next(&mut socket), Message::Ping(_)));
    }
    echoes(&mut socket, "hello");
    // A client that reads nothing answers nothing.
    let mut silent = crate::support::Client::connect(&daemon);
    silent.send(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(silent.read_head().unwrap().status, 101);
    let wire = silent.read_to_end();
    assert_eq!(wire[..2], [0x89, 10], "a ping of the daemon's own");
    let end: Vec<u8> = [&[0x88, 21, 3, 243][..], b"no answer to a ping"].concat();
    assert!(wire.ends_with(&end), "{wire:x?}");
}

#[test]
fn a_daemon_that_is_told_to_stop_says_goodbye() {
    let mut daemon = Daemon::start("stage-websocket");
    let mut socket = open(&daemon, "/", &[]);
    echoes(&mut socket, "hello");
    daemon.signal(15);
    assert_eq!(closed(&mut socket), 1001);
    drop(socket);
    assert_eq!(daemon.wait(), 0);
}
