//! One address takes what it can get, in eight ways; all requests of another one are served meanwhile,
//! and the memory stays under its ceiling. How long they take, the benchmark of the same name tells.

use std::net::Ipv4Addr;

use serde_json::Value;
use zlayer_bench::attack::{Attack, connect_from};

use crate::support::{Client, Daemon, TempDir, ask, eventually, figures_are_the_daemons};

/// The attacker's address.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The address of the client that is looked at.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Requests of the other client, on one connection and on as many new ones.
const REQUESTS: usize = 40;
/// `--memory-max`, and what the process has beside it: its own pages and copies of files.
const MEMORY_KIB: (u64, u64) = (64 << 10, 16 << 10);
/// Places of a daemon with all its flags at their defaults.
const PLACES: u64 = 192;

/// A figure of the daemon's status.
fn status(folder: &TempDir, read: impl Fn(&Value) -> Option<u64>) -> u64 {
    let status: Value = serde_json::from_str(&ask(folder, "/status").text()).unwrap();
    read(&status).unwrap_or_else(|| panic!("not in {status}"))
}

fn client(daemon: &Daemon) -> Client {
    Client::over(connect_from(OTHER, daemon.addr().port(), false).unwrap())
}

/// One request of the other client's, which has to be served.
fn served(client: &mut Client) {
    client.send("GET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.read_response();
    assert_eq!((response.status, &*response.body), (200, &[0][..]));
}

fn others_are_served(attack: Attack) {
    let folder = TempDir::new();
    let daemon = Daemon::builder("websocket-echo")
        .with("echo")
        .args(["--memory-max", "64Mi", "--data-dir"])
        .arg(folder.path())
        .start();
    let mut kept = client(&daemon);
    served(&mut kept);
    let attacking = attack.begin(ATTACKER, daemon.addr().port());
    match attack {
        // Of most of these no request is seen: they are gone by then.
        Attack::Resets => {}
        Attack::Floods | Attack::Pipelines => eventually("an attack", || {
            status(&folder, |status| {
                let classes = status["requests"].as_object()?.values();
                Some(classes.filter_map(Value::as_u64).sum())
            }) > 500
        }),
        // All places are taken.
        _ => eventually("an attack", || {
            status(&folder, |status| status["connections"].as_u64()) >= PLACES - 1
        }),
    }
    for _ in 0..REQUESTS {
        served(&mut kept);
        served(&mut client(&daemon));
    }
    drop(attacking);
    served(&mut kept);
    if figures_are_the_daemons() {
        let peak = daemon.status_kib("VmHWM");
        assert!(peak < MEMORY_KIB.0 + MEMORY_KIB.1, "{peak} KiB");
    }
}

#[test]
fn slow_heads() {
    others_are_served(Attack::SlowHeads);
}

#[test]
fn slow_bodies() {
    others_are_served(Attack::SlowBodies);
}

#[test]
fn slow_readers() {
    others_are_served(Attack::SlowReaders);
}

#[test]
fn idle_connections() {
    others_are_served(Attack::Idle);
}

#[test]
fn idle_websockets() {
    others_are_served(Attack::IdleWebSockets);
}

#[test]
fn floods() {
    others_are_served(Attack::Floods);
}

#[test]
fn pipelines() {
    others_are_served(Attack::Pipelines);
}

#[test]
fn resets() {
    others_are_served(Attack::Resets);
}
