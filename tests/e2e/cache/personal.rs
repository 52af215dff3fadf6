//! Requests that tell whose they are without an authenticator, and streams: what neither is stored
//! from nor served to.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use crate::requests::{proxy, read_head};
use crate::support::Client;

/// A GET of `/api/me` with these fields, whose response is to be kept.
fn me(daemon: &Daemon, fields: Fields<'_>) -> Response {
    kept(daemon, "/api/me", fields)
}

#[test]
fn nobody_gets_the_page_of_another_session() {
    let sessions = ["session=a", "session=b"].map(|session| ("cookie", session));
    let [a, b] = &sessions;
    for order in [
        [&[*a][..], &[*b], &[]],
        [&[], &[*a], &[*b]],
        [&[*b], &[], &[*a]],
    ] {
        let daemon = Daemon::start("stages");
        for _ in 0..3 {
            for fields in order {
                let text = me(&daemon, fields).text();
                let seen: Vec<_> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("header cookie: "))
                    .collect();
                let own: Vec<_> = fields.iter().map(|(_, session)| *session).collect();
                assert_eq!(seen, own, "{order:?}");
            }
        }
        // What was made for a client without a cookie is stored, and is for such clients alone.
        eventually("a hit", || is_hit(&me(&daemon, &[])));
        assert!(!is_hit(&me(&daemon, &[*a])));
        let only = [*a, ("cache-control", "only-if-cached")];
        assert_eq!(get_with(&daemon, "/api/me", &only).status, 504);
    }
}

#[test]
fn what_is_expressly_public_or_depends_on_the_cookie_is_stored_for_those_who_have_one() {
    let daemon = Daemon::start("stages");
    let cookie = ("cookie", "session=a");
    for (number, control) in ["public", "s-maxage=600", "max-age=600, public"]
        .into_iter()
        .enumerate()
    {
        let steps = format!("set cache-control={control}");
        let path = format!("/{number}");
        let get = |fields: Fields<'_>| {
            let asked = [fields, &[("x-test-answer", steps.as_str())]].concat();
            kept(&daemon, &path, &asked)
        };
        get(&[cookie]);
        eventually("a hit", || is_hit(&get(&[cookie])));
        assert!(is_hit(&get(&[("cookie", "session=b")])), "{control}");
        assert!(is_hit(&get(&[])), "{control}");
    }
    let steps = (
        "x-test-answer",
        "set cache-control=max-age=600, must-revalidate",
    );
    for _ in 0..3 {
        assert!(!is_hit(&kept(&daemon, "/private", &[cookie, steps])));
    }
    let by = ("x-test-cache", "entry 3600000 vary=cookie");
    let get = |value: &str| get_with(&daemon, "/vary", &[("cookie", value), by]);
    eventually("a hit", || is_hit(&get("session=a")));
    assert!(!is_hit(&get("session=b")));
    assert!(is_hit(&get("session=a")));
}

#[test]
fn headers_that_the_owner_names_tell_clients_apart() {
    let daemon = Daemon::builder("stages")
        .plugin("stages:personal-headers=X-Device,x-test-cache-key")
        .start();
    let device = |name: &'static str| ("x-device", name);
    for fields in [
        &[device("one")][..],
        // A middleware that takes it out does not make its client anybody.
        &[device("one"), ("x-test-middleware", "drop x-device")],
        // The key does not depend on it.
        &[("x-test-cache-key", "empty x")],
    ] {
        for _ in 0..3 {
            assert!(!is_hit(&me(&daemon, fields)), "{fields:?}");
        }
    }
    eventually("a hit", || is_hit(&me(&daemon, &[])));
    assert!(!is_hit(&me(&daemon, &[device("two")])));
    // The key does.
    let key = ("x-test-cache-key", "key one");
    eventually("a hit", || is_hit(&me(&daemon, &[key])));
    assert!(!is_hit(&me(&daemon, &[("x-test-cache-key", "key two")])));
    // Others than those that were named tell nothing.
    eventually("a hit", || is_hit(&me(&daemon, &[("x-other", "1")])));
    let refused = Daemon::builder("stages")
        .plugin("stages:personal-headers=no name")
        .fails_to_pack();
    let said = "'no name' is no name of a header";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
}

/// An upstream that hands over each request's connection, once its head has come.
fn handing_over() -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (send, receive) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_head(&mut stream);
            if send.send(stream).is_err() {
                return;
            }
        }
    });
    (address, receive)
}

/// A daemon that would store all that comes from `to`, and have others wait for it longer than any
/// test does.
fn caching(to: SocketAddr) -> Daemon {
    proxy(to)
        .with("stage-cache")
        .args(["--config", "test.cache=for 3600000"])
        .timeout("request", "60m")
        .start()
}

fn subscribe(daemon: &Daemon, fields: &str) -> Client {
    let mut client = Client::connect(daemon);
    client.send(format!("GET /events HTTP/1.1\r\nhost: h\r\n{fields}\r\n"));
    client
}

#[test]
fn a_stream_without_end_is_neither_awaited_nor_stored() {
    for kind in [
        "text/event-stream",
        "multipart/x-mixed-replace; boundary=frame",
    ] {
        let (to, requests) = handing_over();
        let daemon = caching(to);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\ndata: ");
        let mut open = Vec::new();
        for number in 0..3 {
            let mut client = subscribe(&daemon, "");
            let mut upstream = requests.recv_timeout(crate::support::PATIENCE).unwrap();
            upstream.write_all(head.as_bytes()).unwrap();
            assert_eq!(client.read_head().unwrap().status, 200, "{kind} {number}");
            open.push((client, upstream));
        }
        // Nor is it replayed once it has ended.
        drop(open);
        let mut client = subscribe(&daemon, "");
        let mut upstream = requests.recv_timeout(crate::support::PATIENCE).unwrap();
        upstream.write_all(head.as_bytes()).unwrap();
        let answer = client.read_head().unwrap();
        assert!(!is_hit(&answer), "{answer:?}");
    }
}

#[test]
fn whoever_asks_for_events_waits_for_nobody() {
    let (to, requests) = handing_over();
    let daemon = caching(to);
    let accept = "accept: text/event-stream\r\n";
    // Neither gets a head before both have come that far.
    let clients = [subscribe(&daemon, accept), subscribe(&daemon, accept)];
    let upstreams = [(); 2].map(|()| requests.recv_timeout(crate::support::PATIENCE).unwrap());
    for mut upstream in upstreams {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        upstream.write_all(head.as_bytes()).unwrap();
    }
    for mut client in clients {
        assert_eq!(client.read_head().unwrap().status, 200);
    }
}
