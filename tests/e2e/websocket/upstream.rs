use std::net::TcpListener;

use tungstenite::Message;

use super::{close, closed, echoes, next, open, ping, pong, send, try_open};
use crate::support::Daemon;

/// A daemon that sends all to `upstream`, with more plugins between.
fn before(upstream: &Daemon, plugins: &[&str]) -> Daemon {
    let address = upstream.addr();
    let (host, port) = (address.ip(), address.port());
    let mut daemon = Daemon::builder("stage-router")
        .allow_host(host)
        .args(["--config", &format!("test.route=forward {host} {port}")]);
    for plugin in plugins {
        daemon = daemon.with(plugin);
    }
    daemon.start()
}

#[test]
fn without_a_plugin_messages_pass_between_client_and_upstream() {
    let upstream = Daemon::start("stage-websocket");
    let daemon = before(&upstream, &[]);
    let fields = [
        ("x-test-upgrade", "protocol"),
        ("sec-websocket-protocol", "a, b"),
    ];
    let (mut socket, response) = try_open(&daemon, "/", &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "a");
    for size in [1, 1000, 1 << 20] {
        echoes(&mut socket, &"x".repeat(size));
    }
    send(&mut socket, ping(b"far"));
    assert_eq!(next(&mut socket), pong(b"far"));
    send(&mut socket, "!close 4321 far");
    assert_eq!(closed(&mut socket), 4321);
    // Requests that ask for nothing of the kind are proxied as ever.
    assert_eq!(crate::support::get(&daemon, "/").status, 404);
}

#[test]
fn a_plugin_sees_both_directions() {
    let upstream = Daemon::start("stage-websocket");
    let daemon = before(&upstream, &["stage-websocket"]);
    let mut socket = open(&daemon, "/", &[]);
    echoes(&mut socket, "hello");
    // An order for the plugin here is obeyed here, and its answer goes on.
    send(&mut socket, "!text from here");
    assert_eq!(next(&mut socket), Message::text("from here"));
    send(&mut socket, "!text !text from there");
    assert_eq!(next(&mut socket), Message::text("from there"));
    // What comes back goes through the plugin as well.
    send(&mut socket, "!text ^text from the way back");
    assert_eq!(next(&mut socket), Message::text("from the way back"));
    send(&mut socket, ping(b"near"));
    assert_eq!(next(&mut socket), pong(b"near"));
    assert_eq!(close(&mut socket, 3000), 3000);
}

#[test]
fn an_upstream_that_refuses_is_heard_and_one_that_is_not_there_is_502() {
    let upstream = Daemon::start("stage-websocket");
    let daemon = before(&upstream, &[]);
    let answer = try_open(&daemon, "/", &[("x-test-upgrade", "reject 418 no tea")]);
    let answer = answer.err().unwrap();
    assert_eq!((answer.status, answer.text.contains("no tea")), (418, true));
    // One that is no WebSocket server answers as it would.
    let plain = Daemon::start("hello");
    let daemon = before(&plain, &["stage-websocket"]);
    assert_eq!(try_open(&daemon, "/", &[]).err().unwrap().status, 200);
    drop(plain);
    let gone = try_open(&daemon, "/", &[]).err().unwrap();
    assert_eq!(gone.status, 502, "{gone:?}");
}

#[test]
fn an_upstreams_failure_is_not_the_plugins() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let route = format!("test.route=forward 127.0.0.1 {port} 20000 300");
    let daemon = Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host("127.0.0.1")
        .with("stage-websocket")
        .with("hello")
        .plugin("stage-websocket:on-failure=open")
        .start();
    // Not the handler's answer, though the plugin may fail; nor the plugin's status.
    assert_eq!(try_open(&daemon, "/", &[]).err().unwrap().status, 504);
    drop(silent);
    assert_eq!(try_open(&daemon, "/", &[]).err().unwrap().status, 502);
    // A plugin that does fail is passed, and the router's word holds.
    let trapped = try_open(&daemon, "/", &[("x-test-upgrade", "trap")]);
    assert_eq!(trapped.err().unwrap().status, 502);
}

#[test]
fn the_upstreams_fields_reach_the_client() {
    let upstream = Daemon::start("stage-websocket");
    let daemon = before(&upstream, &[]);
    let steps = "accept-with add set-cookie=a;add set-cookie=b;add x-more=1";
    let (_, response) = try_open(&daemon, "/", &[("x-test-upgrade", steps)]).unwrap();
    let cookies = response.headers().get_all("set-cookie").iter();
    assert_eq!(cookies.collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(response.headers()["x-more"], "1");
}

#[test]
fn an_upstream_that_dies_closes_the_client() {
    let upstream = Daemon::start("stage-websocket");
    let daemon = before(&upstream, &["stage-websocket"]);
    let mut socket = open(&daemon, "/", &[]);
    echoes(&mut socket, "hello");
    drop(upstream);
    assert_eq!(closed(&mut socket), 1011);
}
