use std::io::Write;
use std::net::TcpListener;
use std::thread;

use super::file;
use super::server::{OK, Server, echo, read_head};
use crate::support::{Daemon, get, request};

/// A daemon whose plugin may ask anybody at `localhost`, and trusts who these roots vouch for.
fn fetcher(roots: &str) -> Daemon {
    Daemon::builder("fetch")
        .args(["--allow-host", "localhost"])
        .arg("--tls-roots")
        .arg(file(roots))
        .start()
}

#[test]
fn a_plugin_asks_over_tls() {
    let upstream = echo();
    let daemon = fetcher("ca.pem");
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = format!(
        "/relay?to=localhost:{}&scheme=https&connect=60000",
        upstream.port
    );
    for _ in 0..3 {
        let answer = request(&daemon, "POST", &path, &[], &body);
        assert!(
            answer.status == 200 && answer.body == body,
            "{}",
            answer.status
        );
    }
    assert_eq!(upstream.shaken(), 1);
}

#[test]
fn a_plugin_asks_as_the_guide_shows() {
    let upstream = Server::start("server.pem", |mut stream| {
        let head = read_head(&mut stream).unwrap();
        let length = head.len();
        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {length}\r\n\r\n{head}");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let authority = format!("localhost:{}", upstream.port);
    let daemon = fetcher("ca.pem");
    let answer = get(
        &daemon,
        &format!("/guide?url=https://{authority}/some/path"),
    );
    let expected = format!(
        "GET /some/path HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: zlayer-plugin/1.0\r\nCDN-Loop: zlayer-"
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.text().starts_with(&expected), "{answer:?}");
}

#[test]
fn failures_reach_the_plugin_by_their_names() {
    let ends = |certificate| Server::start(certificate, |_| panic!("somebody trusts it")).port;
    let plain = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = stream.unwrap().write_all(OK.as_bytes());
        }
    });
    let trusting = fetcher("ca.pem");
    let other = fetcher("other-ca.pem");
    for (daemon, port, wanted) in [
        (&trusting, ends("elsewhere.pem"), "TlsCertificateError"),
        (&trusting, ends("expired.pem"), "TlsCertificateError"),
        (&trusting, plain_port, "TlsProtocolError"),
        (&other, ends("server.pem"), "TlsCertificateError"),
    ] {
        let answer = get(
            daemon,
            &format!("/relay?to=localhost:{port}&scheme=https&connect=60000"),
        );
        let wanted = format!("ErrorCode::{wanted}");
        assert_eq!((answer.status, answer.text()), (502, wanted));
    }
}
