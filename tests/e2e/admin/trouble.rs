//! What goes wrong beside the plugin: the store, the folder, the sockets' clients.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::https::Files;
use crate::support::{TempDir, ask, ask_tcp, eventually, get, zlayer};

use super::{is_ready, serving, status, tcp_address};

#[test]
fn a_store_that_fails_makes_the_daemon_unhealthy_until_it_is_mended() {
    let folder = TempDir::new();
    let kv = folder.path().join("kv");
    fs::write(&kv, "no folder").unwrap();
    let daemon = serving("counter", &folder).start();
    eventually("a failing store", || {
        status(&folder)["store"]["state"] == "failing"
    });
    eventually("a plugin that is ready", || {
        status(&folder)["plugins"][0]["state"] == "ready"
    });
    let told = status(&folder);
    assert_eq!(told["healthy"], false, "{told}");
    assert!(told["trouble"].as_str().unwrap().starts_with("store: "));
    let health = ask(&folder, "/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.text().starts_with("store: "), "{health:?}");
    let shown = zlayer(["status", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(shown.code, 4, "{shown:?}");
    assert!(shown.stdout.contains("NOT OK: store: "), "{shown:?}");

    fs::remove_file(&kv).unwrap();
    is_ready(&folder);
    assert_eq!(get(&daemon, "/incr/key").status, 200);
}

#[test]
fn a_part_of_the_memory_that_is_not_used_is_not_told_as_used() {
    let files = Files::new();
    for with_tls in [false, true] {
        let folder = TempDir::new();
        let mut daemon = serving("hello", &folder);
        if with_tls {
            daemon = files.serve(daemon, &["first"]);
        }
        let daemon = daemon.start();
        is_ready(&folder);
        assert_eq!(get(&daemon, "/").status, 200);
        // A fresh instance a request, which has gone.
        eventually("no instance", || {
            status(&folder)["memory"]["parts"]["instances"] == json!(0)
        });
        let memory = &status(&folder)["memory"];
        let parts = memory["parts"].as_object().unwrap();
        let sum: u64 = parts.values().map(|bytes| bytes.as_u64().unwrap()).sum();
        assert_eq!(memory["used_bytes"], sum, "{memory}");
        assert!(parts["log"].as_u64().unwrap() > 0, "{memory}");
    }
}

#[test]
fn slow_clients_over_tcp_keep_nobody_from_the_unix_socket() {
    let folder = TempDir::new();
    let daemon = serving("hello", &folder)
        .args(["--admin-port", "0"])
        .start();
    is_ready(&folder);
    let address = tcp_address(&daemon);
    let _slow: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET ").unwrap();
            stream
        })
        .collect();
    for _ in 0..4 {
        let shown = zlayer(["status", "--data-dir", folder.path().to_str().unwrap()]);
        assert_eq!(shown.code, 0, "{shown:?}");
    }
}

#[test]
fn slow_clients_over_tcp_keep_nobody_from_tcp() {
    let folder = TempDir::new();
    let daemon = serving("hello", &folder)
        .args(["--admin-port", "0"])
        .start();
    is_ready(&folder);
    let address = tcp_address(&daemon);
    // Each would have two seconds, four at a time: a minute for all, and a watchdog does not wait so long.
    let _slow: Vec<_> = (0..120)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET ").unwrap();
            stream
        })
        .collect();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask_tcp(address, request).status, 200);
}

#[test]
fn what_lies_in_the_sockets_way_is_named() {
    let folder = TempDir::new();
    let private = folder.path().join(".admin");
    fs::create_dir(&private).unwrap();
    fs::write(private.join("mine"), "a file").unwrap();
    let daemon = serving("hello", &folder).start();
    daemon.wait_for_log(&format!("{} is in the way", private.display()));
    assert_eq!(get(&daemon, "/").status, 200);
}
