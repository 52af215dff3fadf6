use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::{client, trusting};
use crate::https::Files;
use crate::support::{Daemon, get, request};

const SEEN: (&str, &str) = ("x-test-middleware", "seen");

#[test]
fn six_clients_behind_a_proxy_have_a_limit_each() {
    let mut daemon = trusting("sliding-window-limiter").with("hello");
    for n in 1..=6 {
        daemon = daemon
            .arg("--config")
            .arg(format!("rate_limits.192.0.2.{n}=2"));
    }
    let daemon = daemon.start();
    let status = |n: u32, forged: &str| {
        let list = format!("{forged}192.0.2.{n}");
        request(&daemon, "GET", "/", &[("x-forwarded-for", &list)], b"").status
    };
    for n in 1..=6 {
        assert_eq!(
            [status(n, ""), status(n, ""), status(n, "")],
            [200, 200, 429],
            "{n}"
        );
        // What the client itself wrote changes nothing.
        assert_eq!(status(n, "203.0.113.9, "), 429);
    }
}

#[test]
fn a_proxy_that_is_trusted_says_who_the_client_is() {
    let daemon = trusting("stages").start();
    for (fields, address) in [
        (&[("x-forwarded-for", "192.0.2.1")][..], "192.0.2.1 0"),
        (
            &[("x-forwarded-for", "203.0.113.9, 192.0.2.1:4711, 127.0.0.9")],
            "192.0.2.1 4711",
        ),
        (
            &[(
                "forwarded",
                "for=203.0.113.9, for=\"[2001:db8::7]:4711\";proto=https",
            )],
            "2001:db8::7 4711",
        ),
    ] {
        let answer = request(&daemon, "GET", "/", &[&[SEEN], fields].concat(), b"");
        let (context, metadata) = client(&answer);
        assert_eq!(metadata, address, "{fields:?}");
        assert_eq!(context, address.split(' ').next().unwrap());
    }
}

#[test]
fn whoever_is_not_trusted_is_the_client_whatever_it_says() {
    for daemon in [
        Daemon::builder("stages"),
        Daemon::builder("stages").args(["--trusted-proxy", "10.0.0.0/8"]),
    ] {
        let daemon = daemon.start();
        let fields = [
            SEEN,
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.1;proto=https"),
        ];
        let answer = request(&daemon, "GET", "/", &fields, b"");
        let (context, metadata) = client(&answer);
        assert_eq!(context, "127.0.0.1");
        assert!(metadata.starts_with("127.0.0.1 "), "{metadata}");
        assert!(
            !answer.text().contains("context scheme"),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_client_that_spoke_tls_with_the_proxy_is_not_sent_in_circles() {
    let files = Files::new();
    let daemon = files
        .serve(trusting("stages"), &["first"])
        .arg("--redirect-http")
        .start();
    for fields in [
        &[("x-forwarded-proto", "https")][..],
        &[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ],
        &[("forwarded", "for=192.0.2.1;proto=https")],
    ] {
        let answer = request(&daemon, "GET", "/", fields, b"");
        assert_eq!(answer.status, 200, "{fields:?}: {answer:?}");
        assert!(
            answer.text().contains("context scheme: https\n"),
            "{}",
            answer.text()
        );
    }
    // One that did not is sent to the proxy's own port.
    let fields = [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "site.example:80"),
        ("host", "inner:8080"),
    ];
    let answer = request(&daemon, "GET", "/a", &fields, b"");
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("https://site.example/a"))
    );
    // A handler of wasi:http sees the scheme.
    let daemon = trusting("http-echo-headers").start();
    let answer = request(&daemon, "GET", "/", &[("x-forwarded-proto", "https")], b"");
    assert!(
        answer.text().contains("\nscheme https\n"),
        "{}",
        answer.text()
    );
    assert!(!get(&daemon, "/").text().contains("\nscheme https\n"));
}

#[test]
fn upstreams_get_what_a_trusted_proxy_says_and_the_chain() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let upstream = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                head.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(&head).unwrap();
        }
    });
    let route = format!("test.route=forward {} {}", upstream.ip(), upstream.port());
    let with = |daemon: crate::support::Builder| {
        let daemon = daemon
            .args(["--config", &route])
            .allow_host(upstream)
            .start();
        let fields = [
            ("host", "inner"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "site.example"),
        ];
        request(&daemon, "GET", "/", &fields, b"")
            .text()
            .to_ascii_lowercase()
    };
    let believed = with(trusting("stage-router"));
    let replaced = with(Daemon::builder("stage-router"));
    for (seen, host, scheme) in [
        (&believed, "site.example", "https"),
        (&replaced, "inner", "http"),
    ] {
        for line in [
            "x-forwarded-for: 192.0.2.1, 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {host}"),
            format!("x-forwarded-proto: {scheme}"),
            // What this daemon itself saw.
            "forwarded: for=127.0.0.1;host=\"inner\";proto=http".to_owned(),
        ] {
            assert!(
                seen.lines().any(|seen| seen == line),
                "{line} is not in {seen}"
            );
        }
    }
}
