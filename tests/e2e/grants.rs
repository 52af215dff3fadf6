//! What a plugin takes part in and reaches only where it was granted: hosts to forward to.

use std::net::{SocketAddr, TcpListener};

use crate::support::{Daemon, TempDir, ask_tcp, get, request};

/// Asks a router of the tests to forward a request to this host and port.
fn forward(daemon: &Daemon, host: &str, port: u16) -> crate::support::Response {
    let route = format!("forward {host} {port}");
    let fields = [
        ("x-test-route", route.as_str()),
        ("authorization", "Bearer hunter2"),
        ("cookie", "session=hunter3"),
    ];
    request(daemon, "GET", "/status", &fields, b"")
}

/// Whether nobody connected to it.
fn is_untouched(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err()
}

#[test]
fn a_router_without_hosts_forwards_nowhere() {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = upstream.local_addr().unwrap().port();
    for builder in [
        Daemon::builder("stages"),
        Daemon::builder("stages").args(["--deny", "http-client"]),
        Daemon::builder("stages").allow_host("192.0.2.1"),
        Daemon::builder("stages").allow_host("127.0.0.1:1"),
        // Nor does a stage that may fail have the request go on to a handler.
        Daemon::builder("stages").plugin("stages:on-failure=open"),
    ] {
        let daemon = builder.start();
        let response = forward(&daemon, "127.0.0.1", port);
        assert_eq!(response.status, 502, "{response:?}");
        let told = format!(
            "plugin stages may not send there, its host is not allowed: --allow-host 127.0.0.1:{port} "
        );
        daemon.wait_for_log(&told);
        daemon.wait_for_log(&format!("--plugin stages:allow-hosts=127.0.0.1:{port} "));
        assert!(!response.text().contains("127.0.0.1"), "{response:?}");
    }
    assert!(is_untouched(&upstream));
}

#[test]
fn a_host_of_its_own_is_one_plugins_alone() {
    let upstream = Daemon::start("hello");
    let port = upstream.addr().port();
    let daemon = Daemon::builder("stage-router")
        .plugin(&format!("stage-router:allow-hosts=127.0.0.1:{port}"))
        // A router needs no more than a host.
        .args(["--deny", "http-client"])
        .start();
    assert_eq!(forward(&daemon, "127.0.0.1", port).status, 200);
    let daemon = Daemon::builder("stage-router")
        .allow_host(upstream.addr())
        .plugin("stage-router:allow-hosts=")
        .start();
    assert_eq!(forward(&daemon, "127.0.0.1", port).status, 502);
}

#[test]
fn nothing_of_this_device_is_reached_that_is_not_named() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages")
        .data_dir(folder.path())
        .allow_host("*")
        .allow_host("*.localhost")
        .args(["--admin-port", "0"])
        .start();
    let said = daemon.stdout();
    let port = said.split("admin interface on http://127.0.0.1:").nth(1);
    let port: u16 = port.unwrap().lines().next().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask_tcp(address, health).status, 200);
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "::1",
        "[::1]",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "localhost",
        // Names that lead there, whoever answers for them.
        "a.localhost",
        "a.localhost.",
    ] {
        let response = forward(&daemon, host, port);
        assert_eq!(response.status, 502, "{host}: {response:?}");
        assert!(!response.text().contains("memory"), "{response:?}");
    }
    // Nor where a cloud keeps its machines' credentials.
    for host in ["169.254.169.254", "fe80::1", "fd00:ec2::254"] {
        let response = forward(&daemon, host, 80);
        assert_eq!(response.status, 502, "{host}: {response:?}");
    }
    daemon.wait_for_log("127.0.0.1 is a loopback address, which has to be named: --allow-host");
    daemon.wait_for_log("169.254.169.254 is a link-local address");
    // What is named is reached at that port, by that name.
    let named = Daemon::builder("stages")
        .allow_host(format!("localhost:{port}"))
        .start();
    assert_eq!(forward(&named, "localhost", port).status, 200);
    assert_eq!(forward(&named, "127.0.0.1", port).status, 502);
    assert_eq!(
        forward(&named, "localhost", named.addr().port()).status,
        502
    );
    let named = Daemon::builder("stages")
        .allow_host(format!("127.0.0.1:{port}"))
        .allow_host("a.localhost")
        .start();
    assert_eq!(forward(&named, "a.localhost", port).status, 200);
}

#[test]
fn what_a_plugin_asks_for_itself_is_checked_by_address_too() {
    let upstream = Daemon::start("hello");
    let port = upstream.addr().port();
    let daemon = Daemon::builder("fetch")
        .allow_host("*")
        .allow_host("*.localhost")
        .start();
    for host in [
        "127.0.0.1",
        "a.localhost",
        "localhost",
        "[::ffff:127.0.0.1]",
    ] {
        let response = get(&daemon, &format!("/relay?to={host}:{port}"));
        let told = response.text();
        assert!(told.contains("HttpRequestDenied"), "{host}: {told}");
    }
    daemon.wait_for_log(&format!(
        "a request to a.localhost:{port}: plugin fetch may not"
    ));
    let daemon = Daemon::builder("fetch").allow_host("127.0.0.1").start();
    assert_eq!(
        get(&daemon, &format!("/relay?to=127.0.0.1:{port}")).status,
        200
    );
}
