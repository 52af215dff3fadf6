use std::io::Write;
use std::net::TcpListener;
use std::thread;

use super::server::{OK, Server, echo};
use super::{file, forwarding, proxy};
use crate::support::{Builder, Daemon, TempDir, get, request, zlayer};

/// Expects a 502 that says nothing of `reason`, which the log has.
fn refused(daemon: Builder, port: u16, reason: &str) {
    let daemon = daemon.start();
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 502, "{reason}: {answer:?}");
    assert!(!answer.text().contains(reason), "{answer:?}");
    daemon.wait_for_log(&format!("upstream localhost:{port}: {reason}"));
}

/// An upstream that must not see a request.
fn proving(certificate: &str) -> Server {
    Server::start(certificate, |_| panic!("somebody trusts it"))
}

#[test]
fn a_certificate_for_another_name() {
    let upstream = proving("elsewhere.pem");
    let reason = "its certificate: invalid peer certificate: certificate not valid for name \
        \"localhost\"";
    refused(proxy(upstream.port), upstream.port, reason);
    assert_eq!(upstream.shaken(), 0);
}

#[test]
fn a_certificate_that_has_expired() {
    let upstream = proving("expired.pem");
    let reason = "its certificate: invalid peer certificate: certificate expired";
    refused(proxy(upstream.port), upstream.port, reason);
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let upstream = proving("server.pem");
    let others = forwarding(upstream.port)
        .arg("--tls-roots")
        .arg(file("other-ca.pem"));
    let reason = "its certificate: invalid peer certificate: UnknownIssuer";
    refused(others, upstream.port, reason);
    // The system's authorities do not, either, where it has any.
    let has_any = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists();
    let reason = match has_any {
        true => reason,
        false => "TLS: the root certificates in /etc/ssl/certs/ca-certificates.crt: ",
    };
    refused(forwarding(upstream.port), upstream.port, reason);
}

#[test]
fn an_upstream_that_does_not_speak_tls() {
    for said in [OK, ""] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.unwrap().write_all(said.as_bytes());
            }
        });
        refused(proxy(port), port, "TLS: ");
    }
}

#[test]
fn a_handshake_that_never_ends() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let route = format!("test.route=forward localhost {port} tls 200 0");
    let daemon = Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host("localhost")
        .arg("--tls-roots")
        .arg(file("ca.pem"))
        .start();
    assert_eq!(get(&daemon, "/").status, 504);
}

#[test]
fn one_that_is_refused_is_no_harm_to_others() {
    let good = echo();
    let bad = proving("expired.pem");
    let daemon = Daemon::builder("stage-router")
        .allow_host("localhost")
        .arg("--tls-roots")
        .arg(file("ca.pem"))
        .start();
    for (port, status) in [(bad.port, 502), (good.port, 200), (bad.port, 502)] {
        let route = format!("forward localhost {port} tls 60000 60000");
        let fields = [("x-test-route", &*route)];
        let answer = request(&daemon, "GET", "/", &fields, b"");
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn a_file_of_roots_that_is_no_use_is_refused_at_the_start() {
    let folder = TempDir::new();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    for (path, code, reason) in [
        (folder.path().join("missing.pem"), 1, "No such file"),
        (folder.path().to_owned(), 2, "it is not a file"),
        (write("empty.pem", ""), 2, "there are none"),
        (
            write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA"),
            2,
            "not valid PEM",
        ),
        (file("server.key"), 2, "there are none"),
    ] {
        let said = Daemon::builder("stage-router")
            .arg("--tls-roots")
            .arg(&path)
            .fails();
        assert_eq!(said.code, code, "{said:?}");
        for word in ["--tls-roots", &path.to_string_lossy(), reason] {
            assert!(said.stderr.contains(word), "{word}: {said:?}");
        }
    }
    assert!(zlayer(["run", "--help"]).stdout.contains("--tls-roots"));
}
