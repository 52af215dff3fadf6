//! A plugin's life: init, requests, what it is told about them, instances, shutdown.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Client, Daemon, PATIENCE, eventually, get, request};

/// The guide's full plugin with the configuration that it needs.
fn full_plugin() -> Daemon {
    let builder = Daemon::builder("full-plugin");
    builder.args(["--config", "api_key=k-1"]).start()
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(body)))
}

#[test]
fn a_missing_configuration_value_fails_the_plugin_and_not_the_runtime() {
    let daemon = Daemon::start("full-plugin");
    // Told at the start, before anybody asks.
    daemon.wait_for_log("plugin full-plugin: init failed: config-missing: api_key");
    for _ in 0..3 {
        let answer = get(&daemon, "/api/items");
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
        assert!(!answer.text().contains("api_key"), "{answer:?}");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_request_reaches_the_plugin_whole_and_its_answer_the_client() {
    let daemon = full_plugin();
    let answer = request(
        &daemon,
        "POST",
        "/api/items?a=1&b=%20",
        &[],
        b"twelve bytes",
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut told = parsed(&answer.body);
    told["request_id"] = Value::Null;
    // How far the clock is to be trusted is the machine's affair; `tls::clock` looks at it.
    let context = told["context"].as_object_mut().unwrap();
    assert!(context.remove("clock").is_some(), "{answer:?}");
    assert_eq!(
        told,
        json!({
            "request_id": null,
            "method": "POST",
            "path": "/api/items",
            "query": "a=1&b=%20",
            "body_len": 12,
            "context": { "client_ip": "127.0.0.1" },
        })
    );
    let bare = parsed(&get(&daemon, "/api/").body);
    assert_eq!(
        (&bare["query"], &bare["body_len"]),
        (&Value::Null, &json!(0))
    );
}

#[test]
fn the_request_id_that_the_plugin_is_given_stands_in_its_log_records() {
    let daemon = full_plugin();
    let mut seen = Vec::new();
    for path in ["/api/first", "/api/second"] {
        let told = parsed(&get(&daemon, path).body);
        let id = told["request_id"].as_str().unwrap().to_owned();
        daemon.wait_for_log(&format!("INFO  plugin full-plugin: [{id}] GET {path}\n"));
        seen.push(id);
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn the_clients_address_cannot_be_forged() {
    let daemon = full_plugin();
    let forged = [
        ("x-forwarded-for", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
        ("client_ip", "203.0.113.7"),
        ("client-ip", "203.0.113.7"),
        ("x-request-id", "mine"),
    ];
    let answer = request(&daemon, "GET", "/api/who", &forged, b"");
    let told = parsed(&answer.body);
    assert_eq!(told["context"]["client_ip"], "127.0.0.1");
    assert_ne!(told["request_id"], "mine");
}

#[test]
fn a_request_that_is_passed_through_is_not_found() {
    let daemon = full_plugin();
    for path in ["/", "/apis", "/api", "/other/api/"] {
        assert_eq!(get(&daemon, path).status, 404, "{path}");
    }
    assert_eq!(get(&daemon, "/api/").status, 200);
}

#[test]
fn the_text_of_an_error_goes_to_the_log_and_never_to_the_client() {
    let daemon = full_plugin();
    let answer = get(&daemon, "/api/error");
    assert_eq!(answer.status, 502);
    let id = answer.header("x-request-id").unwrap();
    assert!(answer.text().contains(id), "{answer:?}");
    let shown = format!("{answer:?}");
    assert!(!shown.contains("log alone"), "{shown}");
    let needle = format!("[{id}] GET /api/error: ");
    daemon.wait_for_log(&needle);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(&needle)).unwrap();
    assert!(
        line.contains("full-plugin") && line.contains("this text is for the log alone"),
        "{line}"
    );
    // An error that a plugin answers is no fault of its instance.
    assert_eq!(get(&daemon, "/api/").status, 200);
}

#[test]
fn capabilities_and_info_are_told_once() {
    for _ in 0..4 {
        let daemon = full_plugin();
        // Several first instances at once, as the clients do not wait for the daemon's own.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(get(&daemon, "/api/").status, 200));
            }
        });
        let line =
            "zlayer-tests:full-plugin (Full plugin) 1.2.3-test, uses config, keyvalue, logging\n";
        daemon.wait_for_log(line);
        assert_eq!(daemon.log().matches(line).count(), 1, "{}", daemon.log());
    }
}

#[test]
fn shutdown_is_called_when_the_daemon_drains() {
    let mut daemon = full_plugin();
    assert_eq!(get(&daemon, "/api/").status, 200);
    assert!(!daemon.log().contains("shutting down"));
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let log = daemon.log();
    assert!(log.contains("plugin full-plugin: shutting down\n"), "{log}");
    assert!(log.contains(": stopped\n"), "{log}");
}

#[test]
fn instances_of_a_typed_plugin_are_kept() {
    let daemon = Daemon::builder("counter")
        .args(["--max-instances", "1"])
        .start();
    for expected in 1..=5 {
        assert_eq!(get(&daemon, "/instance").text(), expected.to_string());
    }
}

#[test]
fn as_many_instances_as_allowed_serve_any_number_of_clients() {
    const CLIENTS: usize = 64;
    const EACH: usize = 5;
    const INSTANCES: usize = 4;
    let count = INSTANCES.to_string();
    let daemon = Daemon::builder("counter")
        .args(["--max-instances", &count])
        // However slow they are.
        .timeout("request", "10m")
        .start();
    // Each answer is how many requests the instance behind it has had.
    let mut answers: BTreeMap<usize, usize> = BTreeMap::new();
    let all: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(&daemon);
                    (0..EACH)
                        .map(|_| {
                            client.send("GET /instance HTTP/1.1\r\nhost: localhost\r\n\r\n");
                            let answer = client.read_response();
                            assert_eq!(answer.status, 200, "{answer:?}");
                            answer.text().parse().unwrap()
                        })
                        .collect::<Vec<usize>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    for answer in all {
        *answers.entry(answer).or_default() += 1;
    }
    assert_eq!(answers.values().sum::<usize>(), CLIENTS * EACH);
    // Every instance answers 1, 2, 3 and so on: as many answered 1 as there were instances, and
    // never more answered N + 1 than N.
    let made = answers[&1];
    assert!((1..=INSTANCES).contains(&made), "{made} instances");
    let counts: Vec<usize> = answers.values().copied().collect();
    assert!(
        counts.is_sorted_by(|fewer, more| fewer >= more),
        "{answers:?}"
    );
    assert_eq!(
        answers.keys().copied().collect::<Vec<_>>(),
        (1..=answers.len()).collect::<Vec<_>>()
    );
}

#[test]
fn a_body_longer_than_allowed_is_refused_however_it_is_framed() {
    const LIMIT: usize = 1 << 20;
    let daemon = full_plugin();
    let whole = vec![b'w'; LIMIT];
    let told = parsed(&request(&daemon, "PUT", "/api/", &[], &whole).body);
    assert_eq!(told["body_len"], json!(LIMIT));

    // Announced: refused before a byte of it is sent.
    let mut client = Client::connect(&daemon);
    let length = LIMIT + 1;
    client.send(format!(
        "PUT /api/ HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
    ));
    let answer = client.read_response();
    assert_eq!(answer.status, 413);
    assert!(
        answer.text().contains(&LIMIT.to_string()),
        "the bound is named: {answer:?}"
    );

    // Not announced: refused at the byte too many.
    let mut client = Client::connect(&daemon);
    client.send("PUT /api/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in whole.chunks(64 << 10) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(client.read_response().status, 413);
    assert_eq!(get(&daemon, "/api/").status, 200);
}

#[test]
fn the_bound_on_bodies_can_be_set() {
    let builder = Daemon::builder("full-plugin");
    let daemon = builder
        .args(["--config", "api_key=k", "--max-body", "4Ki"])
        .start();
    assert_eq!(
        request(&daemon, "POST", "/api/", &[], &[b'x'; 4096]).status,
        200
    );
    assert_eq!(
        request(&daemon, "POST", "/api/", &[], &[b'x'; 4097]).status,
        413
    );
}

#[test]
fn the_contracts_methods_reach_a_typed_plugin_and_others_are_not_implemented() {
    let daemon = full_plugin();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = request(&daemon, method, "/api/", &[], b"");
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(parsed(&answer.body)["method"], method);
    }
    let answer = request(&daemon, "HEAD", "/api/", &[], b"");
    assert_eq!(answer.status, 200);
    daemon.wait_for_log("] HEAD /api/");
    for method in ["BREW", "PROPFIND", "get"] {
        let answer = request(&daemon, method, "/api/", &[], b"");
        assert_eq!(answer.status, 501, "{method}");
    }
}

#[test]
fn the_guides_http_handler_answers_as_the_guide_says() {
    let daemon = Daemon::start("hello");
    for (method, path) in [("GET", "/"), ("POST", "/api/test?a=b"), ("BREW", "/%22%5C")] {
        let answer = request(&daemon, method, path, &[], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            parsed(&answer.body),
            json!({ "method": method, "path": path })
        );
    }
    assert!(
        daemon
            .stdout()
            .starts_with("zlayer: serving hello (http-handler) on http://127.")
    );
}

#[test]
fn a_wasi_http_handler_is_fresh_for_each_request_unless_it_is_reused() {
    assert_eq!(status_beside_a_full_instance("/grow-report", "1"), 200);
    assert_eq!(status_beside_a_full_instance("/grow-report", "1000"), 503);
}

#[test]
fn a_reused_instance_is_replaced_after_its_share_of_requests() {
    // The first request is the one that fills the memory, the second finds that it is kept.
    assert_eq!(status_beside_a_full_instance("/grow-report", "2"), 200);
    assert_eq!(status_beside_a_full_instance("/grow-report", "3"), 503);
}

/// Has an instance of `hostile` fill all memory by `fill`, keeps the next request busy, and
/// answers what a third one gets: 503 if the full instance was kept for the second one (there is no
/// memory for another), 200 if each had an instance of its own.
pub(crate) fn status_beside_a_full_instance(fill: &str, reuse: &str) -> u16 {
    let flags = ["--reuse", reuse, "--memory-max", "16Mi"];
    let daemon = Daemon::builder("hostile").args(flags).start();
    // Connections are accepted in order: when the last one is answered, all have their memory.
    let mut holder = TcpStream::connect(daemon.addr()).unwrap();
    holder.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut other = Client::connect(&daemon);
    let mut filler = Client::connect(&daemon);
    filler.send(format!("GET {fill} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let filled = filler.read_response().status;
    assert_eq!(filled, if fill == "/grow" { 500 } else { 200 });
    // An instance may still be at its end when its answer has come: until it is gone or idle there is no memory.
    let mut ask = |path: &str| {
        other.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        other.read_response().status
    };
    eventually("memory for a second request", || ask("/") == 200);
    eventually("an instance that holds", || begins_to_hold(&mut holder));
    ask("/")
}

/// Asks for an answer that never ends; whether it has begun, or was refused for want of memory.
fn begins_to_hold(stream: &mut TcpStream) -> bool {
    stream
        .write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
        if text.contains("held\n") {
            return true;
        }
        let refused = text.starts_with("HTTP/1.1 503 ");
        if refused
            && text.contains("\r\n\r\n503 ")
            && text.lines().count() > 2
            && text.ends_with('\n')
        {
            // The body is two lines.
            let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
            if body.lines().count() == 2 {
                return false;
            }
        }
    }
}
