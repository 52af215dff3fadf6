//! The admin interface: sockets, status, health, metrics, `zlayer status`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Builder, Client, Daemon, TempDir, ask, ask_raw, ask_tcp, at_rest, eventually, get, zlayer,
};

mod page;
mod questions;
mod trouble;

fn serving(guest: &str, folder: &TempDir) -> Builder {
    Daemon::builder(guest).data_dir(folder.path())
}

fn status(folder: &TempDir) -> Value {
    let answer = ask(folder, "/status");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_str(&answer.text()).unwrap()
}

/// Where it listens for `--admin-port`.
fn tcp_address(daemon: &Daemon) -> SocketAddr {
    let said = daemon.stdout();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("zlayer: admin interface on http://"));
    line.unwrap().parse().unwrap()
}

fn is_ready(folder: &TempDir) {
    eventually("a daemon that is well", || {
        ask(folder, "/healthz").status == 200
    });
}

#[test]
fn the_socket_answers_its_pages_and_nothing_else() {
    let folder = TempDir::new();
    let _daemon = serving("counter", &folder).start();
    is_ready(&folder);
    let socket = fs::metadata(folder.path().join("admin.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let health = ask(&folder, "/healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    let metrics = ask(&folder, "/metrics");
    let kind = metrics.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    for (request, wanted) in [
        ("HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz?x=1 HTTP/1.1\r\nhost: whatever\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        ("GET /status/ HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        (
            "POST /status HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            405,
        ),
        ("DELETE /metrics HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("GET /status HTTP/1.1\r\n\r\n", 400),
        ("GET /status HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("nonsense\r\n\r\n", 400),
    ] {
        let answer = ask_raw(folder.path(), request.as_bytes());
        assert_eq!(answer.status, wanted, "{request:?}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        let allow = answer.header("allow");
        assert_eq!(allow, (wanted == 405).then_some("GET, HEAD"));
        if request.starts_with("HEAD") {
            assert!(answer.body.is_empty(), "{answer:?}");
            assert_eq!(answer.header("content-length"), Some("3"));
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9000));
    let answer = ask_raw(folder.path(), long.as_bytes());
    assert_eq!(answer.status, 414, "{answer:?}");
}

#[test]
fn the_status_tells_what_became_of_requests_and_instances() {
    let folder = TempDir::new();
    let daemon = serving("hostile-plugin", &folder)
        .args(["--max-instances", "3", "--memory-max", "48Mi"])
        .start();
    at_rest(&folder);
    for (path, wanted) in [
        ("/", 200),
        ("/status-404", 404),
        ("/error", 502),
        ("/trap", 500),
        ("/pass", 404),
        ("/header-name", 502),
    ] {
        assert_eq!(get(&daemon, path).status, wanted, "{path}");
    }
    let mut client = Client::connect(&daemon);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.read_response().status, 400);
    // A request is counted when its answer is out, and the counts of two come in no order.
    let requests = json!({"none": 0, "1xx": 0, "2xx": 1, "3xx": 0, "4xx": 3, "5xx": 3});
    eventually("all requests", || {
        let told = status(&folder);
        told["requests"] == requests && told["plugins"][0]["requests"]["total"] == 6
    });

    let told = status(&folder);
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["address"], daemon.addr().to_string());
    assert_eq!(told["draining"], false);
    assert_eq!(
        (&told["healthy"], &told["trouble"]),
        (&json!(true), &Value::Null)
    );
    assert!(told["pid"].as_u64().unwrap() > 0 && told["uptime_seconds"].is_u64());
    assert_eq!(told["requests"], requests);
    let plugin = &told["plugins"][0];
    assert_eq!(plugin["name"], "hostile-plugin");
    assert_eq!(plugin["id"], "zlayer-tests:hostile-plugin");
    assert_eq!(plugin["title"], "Hostile plugin");
    assert_eq!(plugin["info_version"], "0.1.0");
    assert_eq!(plugin["roles"], json!(["handler"]));
    assert_eq!(plugin["asked"], json!(["config", "logging"]));
    assert_eq!(
        (&plugin["state"], &plugin["init_error"]),
        (&json!("ready"), &Value::Null)
    );
    let requests = &plugin["requests"];
    for (outcome, count) in [
        ("total", 6),
        ("answered", 2),
        ("plugin_error", 1),
        ("trap", 1),
        ("not_handled", 1),
        ("bad_answer", 1),
        ("deadline", 0),
    ] {
        assert_eq!(requests[outcome], count, "{outcome} in {requests}");
    }
    assert_eq!(plugin["traps"], 1);
    let trap = &plugin["last_traps"][0];
    assert_eq!(trap["kind"], "trap", "{trap}");
    assert!(
        trap["reason"].as_str().unwrap().contains("unreachable"),
        "{trap}"
    );
    let id = trap["request"].as_str().unwrap();
    daemon.wait_for_log(&format!("[{id}] GET /trap: "));
    let instances = &plugin["instances"];
    assert_eq!(
        (&instances["running"], &instances["max"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(instances["idle"], 1, "{plugin}");

    let memory = &told["memory"];
    assert_eq!(memory["limit_bytes"], 48 << 20);
    let parts = memory["parts"].as_object().unwrap();
    let sum: u64 = parts.values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(memory["used_bytes"], sum, "{memory}");
    assert!(parts["plugins"].as_u64().unwrap() > 1 << 20, "{memory}");
    assert!(told["store"]["state"].is_string(), "{told}");
}

#[test]
fn only_the_last_traps_are_kept_and_a_deadline_is_among_them() {
    let folder = TempDir::new();
    let daemon = serving("hostile-plugin", &folder)
        .timeout("request", crate::support::brief())
        .start();
    is_ready(&folder);
    for _ in 0..10 {
        assert_eq!(get(&daemon, "/trap").status, 500);
    }
    assert_eq!(get(&daemon, "/spin").status, 504);
    eventually("the deadline", || {
        status(&folder)["plugins"][0]["requests"]["deadline"] == 1
    });
    let plugin = &status(&folder)["plugins"][0];
    let last = plugin["last_traps"].as_array().unwrap();
    assert_eq!((last.len(), &plugin["traps"]), (8, &json!(10)));
    assert_eq!(last[7]["kind"], "deadline", "{last:?}");
    assert!(
        last[..7].iter().all(|trap| trap["kind"] == "trap"),
        "{last:?}"
    );
}

#[test]
fn a_plugin_whose_init_fails_makes_the_daemon_unhealthy() {
    for (init, case) in [
        ("missing", Some("config-missing")),
        ("failed", Some("failed")),
        ("trap", None),
    ] {
        let folder = TempDir::new();
        let _daemon = serving("hostile-plugin", &folder)
            .args(["--config", &format!("init={init}")])
            .start();
        eventually("a failed init", || {
            status(&folder)["plugins"][0]["state"] == "failed"
        });
        let told = status(&folder);
        assert_eq!(told["plugins"][0]["init_error"], json!(case), "{told}");
        assert_eq!(told["healthy"], false);
        let health = ask(&folder, "/healthz");
        assert_eq!(health.status, 503);
        assert!(health.text().contains("init failed: "), "{health:?}");
        let path = folder.path().to_str().unwrap();
        let shown = zlayer(["status", "--data-dir", path]);
        assert_eq!(shown.code, 4, "{shown:?}");
        assert!(
            shown
                .stdout
                .contains("NOT OK: plugin hostile-plugin: init failed"),
            "{shown:?}"
        );
    }
}

#[test]
fn a_draining_daemon_says_so_until_its_end() {
    let folder = TempDir::new();
    let mut daemon = serving("hostile-plugin", &folder)
        .timeout("drain", "1000")
        .timeout("request", "1000")
        .start();
    is_ready(&folder);
    let mut client = Client::connect(&daemon);
    client.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("a running request", || {
        status(&folder)["plugins"][0]["instances"]["running"] == 1
    });
    daemon.signal(15);
    eventually("the drain", || status(&folder)["draining"] == true);
    let health = ask(&folder, "/healthz");
    assert_eq!((health.status, health.text().as_str()), (503, "draining\n"));
    assert_eq!(daemon.end_at_once(15), 130);
}

#[test]
fn the_socket_goes_with_the_daemon_and_a_stale_one_is_replaced() {
    let folder = TempDir::new();
    let socket = folder.path().join("admin.sock");
    let mut daemon = serving("counter", &folder).start();
    assert!(socket.exists());
    daemon.signal(9);
    daemon.wait();
    assert!(socket.exists());
    let shown = zlayer(["status", "--socket", socket.to_str().unwrap()]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("no zlayer runs there"), "{shown:?}");

    let daemon = serving("counter", &folder).start();
    is_ready(&folder);
    assert_eq!(daemon.stop(), 0);
    assert!(!socket.exists());
}

#[test]
fn status_is_shown_to_people_and_to_programs() {
    let folder = TempDir::new();
    let path = folder.path().to_str().unwrap();
    let shown = zlayer(["status", "--data-dir", path]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.stderr.contains(path) && shown.stderr.contains("--data-dir"),
        "{shown:?}"
    );

    let daemon = serving("full-plugin", &folder)
        .args(["--config", "api_key=x"])
        .start();
    at_rest(&folder);
    let shown = zlayer(["status", "--data-dir", path]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    for words in [
        "health     ok\n",
        &format!("serving    http://{}, 0 connections\n", daemon.addr()),
        "zlayer-tests:full-plugin (Full plugin) 1.2.3-test, uses config, keyvalue, logging\n",
        " (handler): ready\n",
        "instances  0 running, 1 idle, at most ",
    ] {
        assert!(
            shown.stdout.contains(words),
            "no {words:?} in {}",
            shown.stdout
        );
    }
    let shown = zlayer(["status", "--data-dir", path, "--json"]);
    let told: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(told["plugins"][0]["state"], "ready");
}

#[test]
fn over_tcp_only_this_device_asks_and_no_web_page() {
    let folder = TempDir::new();
    let daemon = serving("counter", &folder)
        .args(["--admin-port", "0"])
        .start();
    is_ready(&folder);
    let address = tcp_address(&daemon);
    assert!(address.ip().is_loopback());
    let port = address.port();
    let own = format!("host: localhost:{port}\r\n");
    for (fields, wanted) in [
        (own.as_str(), 200),
        ("host: 127.0.0.1\r\n", 200),
        ("host: [::1]:1\r\n", 200),
        ("host: example.org\r\n", 421),
        ("host: localhost.example.org\r\n", 421),
        ("host: 192.168.0.1\r\n", 421),
        ("host: localhost\r\norigin: http://example.org\r\n", 403),
        ("host: localhost\r\nsec-fetch-site: cross-site\r\n", 403),
        ("host: localhost\r\nsec-fetch-site: none\r\n", 200),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\n{fields}\r\n");
        let answer = ask_tcp(address, request.as_bytes());
        assert_eq!(answer.status, wanted, "{fields:?}: {answer:?}");
    }
    let request = b"HEAD /healthz HTTP/1.1\r\nhost: example.org\r\n\r\n";
    let answer = ask_tcp(address, request);
    assert_eq!((answer.status, answer.body.len()), (421, 0), "{answer:?}");
    // An absolute target overrides Host.
    let request = "GET http://example.org/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask_tcp(address, request.as_bytes()).status, 421);
    // Over the Unix socket the name does not matter: no browser gets there.
    let request = b"GET /healthz HTTP/1.1\r\nhost: example.org\r\n\r\n";
    assert_eq!(ask_raw(folder.path(), request).status, 200);
}

#[test]
fn silent_clients_hold_places_but_not_the_daemon() {
    let folder = TempDir::new();
    let daemon = serving("counter", &folder).start();
    is_ready(&folder);
    let connect = || UnixStream::connect(folder.path().join("admin.sock")).unwrap();
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    assert_eq!(get(&daemon, "/incr/key").status, 200);
    drop(silent);
    is_ready(&folder);
    // Those who stay have to go in the end.
    let _silent: Vec<_> = (0..4).map(|_| connect()).collect();
    is_ready(&folder);
}

#[test]
fn a_daemon_without_room_for_the_socket_serves_without_it() {
    let folder = TempDir::new();
    let deep = folder.path().join("x".repeat(100));
    let daemon = Daemon::builder("counter").data_dir(&deep).start();
    daemon.wait_for_log("too long for a socket");
    assert_eq!(get(&daemon, "/incr/key").status, 200);
    assert!(leftovers(&deep).is_empty(), "{:?}", leftovers(&deep));
}

/// What the admin interface left in a folder.
fn leftovers(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("admin")).collect()
}
