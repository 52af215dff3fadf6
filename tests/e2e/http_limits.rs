//! Connections that are slow, silent, too many, half-closed or gone.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Daemon, PATIENCE, brief, get};

const GET: &str = "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn assert_alive(daemon: &Daemon) {
    let response = get(daemon, "/alive");
    assert_eq!(response.status, 200, "{response:?}");
}

/// Whether nothing has come so far.
fn is_silent(client: &Client) -> bool {
    let mut socket = client.socket();
    socket.set_nonblocking(true).unwrap();
    let read = socket.read(&mut [0; 1]);
    socket.set_nonblocking(false).unwrap();
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_connection_over_the_limit_waits_and_is_served_later() {
    // With one thread the daemon looks at all sockets between two pieces of one client's.
    let daemon = Daemon::builder("echo")
        .args(["--max-connections", "2", "--threads", "1"])
        .start();
    let mut holders = [Client::connect(&daemon), Client::connect(&daemon)];
    for holder in &mut holders {
        // In the middle of a request nobody is asked to leave.
        holder.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nfirst");
        assert_eq!(holder.read_head().unwrap().status, 200);
        assert_eq!(holder.read_chunk().unwrap().as_deref(), Some(&b"first"[..]));
    }
    let mut third = Client::connect(&daemon);
    third.send("GET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let [first, mut second] = holders;
    // The daemon goes on meanwhile, and could have served the third one long ago.
    for _ in 0..50 {
        second.send("piece");
        assert_eq!(second.read_chunk().unwrap().as_deref(), Some(&b"piece"[..]));
    }
    assert!(is_silent(&third), "served over the limit");
    drop(first);
    assert_eq!(third.read_response().body, [0]);
    // Nobody lost a place by it.
    second.send("later");
    assert_eq!(second.read_chunk().unwrap().as_deref(), Some(&b"later"[..]));
}

#[test]
fn an_idle_connection_makes_room_for_a_new_one() {
    // With two threads the one that has sent the first answer may stand still while the other one sends
    // the second: which connection is idle sooner is then a matter of luck.
    let daemon = Daemon::builder("hello")
        .args(["--max-connections", "2", "--threads", "1"])
        .start();
    let mut idle = [Client::connect(&daemon), Client::connect(&daemon)];
    for client in &mut idle {
        client.send(GET);
        assert_eq!(client.read_response().status, 200);
    }
    let mut third = Client::connect(&daemon);
    third.send(GET);
    assert_eq!(third.read_response().status, 200);
    assert!(idle[0].is_closed(), "the longest idle one leaves");
}

/// A daemon with four places that would wait longer than this test for a head.
fn crowded() -> Daemon {
    Daemon::builder("hello")
        .args(["--max-connections", "4", "--threads", "1"])
        .timeout("head", "1000")
        .timeout("idle", "1000")
        .start()
}

#[test]
fn connections_without_a_whole_head_make_room() {
    let daemon = crowded();
    let mut held = Vec::new();
    for part in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        for _ in 0..8 {
            let mut client = Client::connect(&daemon);
            client.send(part);
            held.push(client);
        }
        assert_alive(&daemon);
    }
    // Nor does half of a second request hold a place that others need.
    for _ in 0..8 {
        let mut client = Client::connect(&daemon);
        client.send(GET);
        assert_eq!(client.read_response().status, 200);
        client.send(&GET[..5]);
        held.push(client);
    }
    assert_alive(&daemon);
}

#[test]
fn a_head_on_its_way_is_not_given_up_before_older_ones() {
    let daemon = crowded();
    let half = || {
        let mut client = Client::connect(&daemon);
        client.send(&GET[..5]);
        client
    };
    let mut old: Vec<_> = (0..4).map(|_| half()).collect();
    let mut honest = half();
    let newer: Vec<_> = (0..3).map(|_| half()).collect();
    for client in &mut old {
        assert!(client.is_closed(), "a place for each newer one");
    }
    honest.send(&GET[5..]);
    assert_eq!(honest.read_response().status, 200);
    drop(newer);
}

#[test]
fn a_flood_of_half_heads_does_not_shut_others_out() {
    let daemon = Daemon::builder("hello")
        .args(["--max-connections", "64"])
        .timeout("head", "1000")
        .start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut flood = VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                let mut client = Client::connect(&daemon);
                let _ = client.try_send(&GET[..5]);
                flood.push_back(client);
                if flood.len() > 160 {
                    // More than there are places: the oldest one has to leave, and never does so by itself.
                    let oldest = flood.pop_front();
                    assert!(oldest.is_some_and(|mut client| client.is_closed()));
                }
            }
        });
        let (mut answered, end) = (0, Instant::now() + PATIENCE);
        while answered < 10 && Instant::now() < end {
            // No panic before the flood was told to end.
            let Ok(mut client) = Client::try_connect(&daemon) else {
                continue;
            };
            let sent = client.try_send(GET);
            answered += u32::from(sent.is_ok() && client.try_read_response().is_ok());
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(answered, 10, "in spite of the flood");
    });
}

#[test]
fn a_head_that_does_not_come_in_time_is_given_up() {
    let daemon = Daemon::builder("hello").timeout("head", brief()).start();
    for part in [
        "G",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let mut client = Client::connect(&daemon);
        client.send(part);
        let response = client.read_response();
        assert_eq!(
            (response.status, response.keep_alive),
            (408, false),
            "{part:?}"
        );
        assert!(client.is_closed());
    }
    assert_alive(&daemon);
}

#[test]
fn a_head_that_drips_gets_no_more_time_than_another() {
    let daemon = Daemon::builder("hello").timeout("head", brief()).start();
    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\n");
    let mut socket = client.socket();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut answer = [0; 12];
    let mut dripped = 0;
    // One byte at a time for as long as the server takes them.
    while let Err(error) = socket.peek(&mut answer) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        client.send(if dripped == 0 { "X" } else { "x" });
        dripped += 1;
        assert!(dripped < 3000, "a minute of drops, and still listened to");
        socket = client.socket();
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read_response().status, 408);
    assert_alive(&daemon);
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let daemon = Daemon::builder("hello")
        .timeout("head", brief())
        .timeout("idle", brief())
        .start();
    // From the start, and after an answer.
    let mut silent = Client::connect(&daemon);
    let mut idle = Client::connect(&daemon);
    idle.send(GET);
    assert_eq!(idle.read_response().status, 200);
    assert!(silent.is_closed());
    assert!(idle.is_closed());
    assert_alive(&daemon);
}

#[test]
fn silent_connections_do_not_hold_their_places_for_ever() {
    let daemon = Daemon::builder("hello")
        .args(["--max-connections", "4"])
        .timeout("head", brief())
        .start();
    let _silent: Vec<_> = (0..12).map(|_| Client::connect(&daemon)).collect();
    assert_alive(&daemon);
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let daemon = Daemon::builder("echo")
        .timeout("stall", brief())
        .timeout("request", "1000")
        .start();
    for framing in [
        "Content-Length: 100\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    ] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "POST /count HTTP/1.1\r\nHost: localhost\r\n{framing}"
        ));
        let response = client.read_response();
        assert_eq!(response.status, 408, "{response:?}");
        assert!(client.is_closed());

        // An answer that has begun is cut off, so that it cannot pass for whole.
        let mut client = Client::connect(&daemon);
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}"));
        assert_eq!(client.read_head().unwrap().status, 200);
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"half"[..]));
        assert!(client.is_closed(), "more came, or an end");
    }
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}

#[test]
fn a_body_of_next_to_nothing_holds_no_instance_for_the_time_of_a_request() {
    let daemon = Daemon::builder("echo")
        .args(["--max-instances", "1"])
        .timeout("stall", brief())
        .timeout("request", "1000")
        .start();
    let head = "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n";
    for (expect, body) in [("", ""), ("", "half"), ("Expect: 100-continue\r\n", "")] {
        let mut client = Client::connect(&daemon);
        client.send(format!("{head}{expect}\r\n{body}"));
        if !expect.is_empty() {
            // The plugin asks for the body at once.
            assert_eq!(client.read_response().status, 100);
        }
        let response = client.read_response();
        assert_eq!(response.status, 408, "{expect:?} {body:?}: {response:?}");
        assert!(client.is_closed());
    }
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let daemon = Daemon::builder("echo")
        .args(["--max-connections", "1"])
        .timeout("stall", brief())
        .start();
    let mut client = Client::connect(&daemon);
    // More than the kernel's buffers hold.
    client.send("GET /download?bytes=1000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // The only place gets free although its holder neither reads nor closes.
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
    assert!(client.try_read_response().is_err(), "cut off, so not whole");
}

#[test]
fn a_plugin_past_its_deadline_is_answered_for_with_504_and_a_request_id() {
    let daemon = Daemon::builder("hostile")
        .timeout("request", brief())
        .start();
    let mut client = Client::connect(&daemon);
    client.send("GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.read_response();
    assert_eq!(response.status, 504);
    let id = response.header("x-request-id").unwrap().to_owned();
    assert!(
        !id.is_empty() && response.text().contains(&id),
        "{response:?}"
    );
    daemon.wait_for_log(&id);
    assert_alive(&daemon);
}

#[test]
fn a_client_that_has_closed_its_half_gets_its_answers() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send(
        "GET /download?bytes=100000 HTTP/1.1\r\nHost: localhost\r\n\r\n\
         POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello\
         POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nagain\r\n0\r\n\r\n",
    );
    client.shutdown_write();
    assert_eq!(client.read_response().body.len(), 100_000);
    assert_eq!(client.read_response().text(), "hello");
    assert_eq!(client.read_response().text(), "again");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_has_closed_its_half_early_is_closed() {
    let daemon = Daemon::start("hello");
    for part in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut client = Client::connect(&daemon);
        client.send(part);
        client.shutdown_write();
        assert!(client.is_closed(), "answered half a request: {part:?}");
    }
    assert_alive(&daemon);
}

#[test]
fn clients_that_vanish_give_their_places_back_and_disturb_nobody() {
    let daemon = Daemon::builder("echo")
        .args(["--max-connections", "8", "--max-instances", "4"])
        .start();
    let mut steady = Client::connect(&daemon);
    steady.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n");
    steady.read_head().unwrap();
    for round in 0..10 {
        // In the middle of a head, of a body, and of an answer, with and without what a reset needs.
        for part in [
            "GET / HTTP/1.1\r\nHo",
            "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nsome",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nw",
            "GET /download?bytes=50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            let mut client = Client::connect(&daemon);
            client.send(part);
            if part.starts_with("GET /download") && round % 2 == 0 {
                client.read_exactly(10_000).unwrap();
            }
        }
        steady.send("abc");
        assert_eq!(steady.read_chunk().unwrap().as_deref(), Some(&b"abc"[..]));
    }
    assert_eq!(steady.read_chunk().unwrap(), None);
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}
