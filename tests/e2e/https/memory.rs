use std::io::Write;
use std::net::TcpStream;

use super::Files;
use super::client::{any_version, connect, get};
use crate::support::{Daemon, figures_are_the_daemons};

/// What a connection with TLS is charged (`CONNECTION_SHARE` and `TLS_SHARE`), in KiB.
const SHARE: u64 = 136;

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
        assert!(idle <= busy && busy < SHARE, "{idle} KiB, {busy} KiB");
    }
}
