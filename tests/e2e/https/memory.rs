use std::io::Write;
use std::net::TcpStream;

use super::Files;
use super::client::{any_version, connect, get};
use crate::support::{Daemon, figures_are_the_daemons};

/// What a connection with TLS is charged (`CONNECTION_SHARE` and `TLS_SHARE`), in KiB.
const SHARE: u64 = 136;

#[test]
fn what_fewer_connections_come_of_is_told_with_what_each_takes() {
    let files = Files::new();
    let daemon =
        Daemon::builder("hello").args(["--memory-max", "64Mi", "--max-connections", "150"]);
    let daemon = files.serve(daemon, &["first"]).start();
    daemon.wait_for_log(&format!("{SHARE} KiB each; raise --memory-max 64Mi to "));
    let log = daemon.log();
    let wanted = log.split("raise --memory-max 64Mi to ").nth(1).unwrap();
    let wanted = wanted.lines().next().unwrap();
    // With so much there are as many as were asked for.
    let daemon =
        Daemon::builder("hello").args(["--memory-max", wanted, "--max-connections", "150"]);
    let daemon = files.serve(daemon, &["first"]).start();
    get(&daemon, "/");
    assert!(
        !daemon.log().contains("--max-connections 150: there are"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_connection_takes_no_more_than_it_is_charged() {
    const CONNECTIONS: u64 = 100;
    let files = Files::new();
    let daemon =
        Daemon::builder("hello").args(["--memory-max", "128Mi", "--max-connections", "120"]);
    let daemon = files.serve(daemon, &["first"]).start();
    for _ in 0..10 {
        get(&daemon, "/");
    }
    let before = daemon.status_kib("VmRSS");
    let config = any_version();
    let streams: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&daemon, "localhost", &config).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                .unwrap();
            super::client::read_response(&mut stream);
            stream
        })
        .collect();
    // And as many that have sent most of a record of the largest size, instead of a head.
    let mut record = vec![0x17, 3, 3, 0x41, 0];
    record.resize(16_000, 0);
    let partly = |stream: &TcpStream| (&*stream).write_all(&record).unwrap();
    if figures_are_the_daemons() {
        let idle = daemon.status_kib("VmRSS").saturating_sub(before) / CONNECTIONS;
        streams.iter().for_each(|stream| partly(&stream.sock));
        get(&daemon, "/");
        let busy = daemon.status_kib("VmRSS").saturating_sub(before) / CONNECTIONS;
        println!("{idle} KiB an idle connection, {busy} KiB with a record that is not whole");
        assert!(idle < SHARE && busy < SHARE, "{idle} KiB, {busy} KiB");
    }
}
