use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::{any_version, begin, config, connect, get, read_response};
use super::{Files, source, start};
use crate::support::{Daemon, eventually, hangups_reach_a_child};

/// Which of the certificates for `localhost` a client gets.
fn shown(daemon: &Daemon) -> &'static str {
    let stream = connect(daemon, "localhost", &any_version()).unwrap();
    let certificate = &stream.conn.peer_certificates().unwrap()[0];
    let names = ["first", "renewed", "rsa"];
    let of = |name: &&&str| {
        CertificateDer::from_pem_file(source(&format!("{name}.pem"))).unwrap() == *certificate
    };
    names.iter().find(of).unwrap()
}

/// Puts the files of `name` in the place of those that are served.
fn replace(files: &Files, name: &str) {
    files.put(&format!("{name}.pem"), "first.pem");
    files.put(&format!("{name}.key"), "first.key");
}

#[test]
fn a_hangup_has_the_files_read_anew_and_ends_nothing() {
    if !hangups_reach_a_child() {
        return;
    }
    let (mut daemon, files) = start("hello");
    assert_eq!(shown(&daemon), "first");
    let mut open = connect(&daemon, "localhost", &any_version()).unwrap();
    replace(&files, "renewed");
    daemon.signal(1);
    daemon.wait_for_log("the TLS certificates were read anew");
    assert_eq!(shown(&daemon), "renewed");
    // One that was open goes on.
    open.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut open).status, 200);
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn a_hangup_still_drains_a_daemon_without_certificates() {
    if !hangups_reach_a_child() {
        return;
    }
    let mut daemon = Daemon::start("hello");
    daemon.signal(1);
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn changed_files_are_seen_without_a_signal() {
    let (daemon, files) = start("hello");
    for name in ["renewed", "rsa", "first"] {
        replace(&files, name);
        eventually("the new certificate", || shown(&daemon) == name);
    }
}

#[test]
fn a_new_file_that_is_no_use_leaves_the_old_certificate_and_is_told() {
    if !hangups_reach_a_child() {
        return;
    }
    let (daemon, files) = start("hello");
    for (what, bytes, reason) in [
        (
            "first.pem",
            &b""[..],
            "first.pem: it is empty; the certificates that were read before stay in use",
        ),
        (
            "first.key",
            b"noise",
            "first.key: there is no private key in PEM in it",
        ),
    ] {
        files.write(what, bytes);
        daemon.signal(1);
        daemon.wait_for_log(reason);
        assert_eq!(shown(&daemon), "first");
        replace(&files, "first");
        daemon.signal(1);
    }
    // The key of another pair, without a signal.
    files.put("renewed.key", "first.key");
    eventually("a warning", || {
        assert_eq!(shown(&daemon), "first");
        daemon
            .log()
            .contains("it is not the key of the certificate")
    });
    files.put("renewed.pem", "first.pem");
    eventually("the new pair", || shown(&daemon) == "renewed");
}

#[test]
fn no_request_is_lost_while_certificates_change() {
    let (daemon, files) = start("hello");
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for keep in [false, true] {
            let (daemon, stop, done) = (&daemon, &stop, &done);
            scope.spawn(move || {
                let config = any_version();
                let mut kept = connect(daemon, "localhost", &config).unwrap();
                while !stop.load(Ordering::SeqCst) {
                    if !keep {
                        kept = connect(daemon, "localhost", &config).unwrap();
                    }
                    kept.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                        .unwrap();
                    assert_eq!(read_response(&mut kept).status, 200);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..20 {
            replace(&files, ["renewed", "first"][round % 2]);
            daemon.signal(1);
            let before = done.load(Ordering::SeqCst);
            eventually("requests", || done.load(Ordering::SeqCst) >= before + 5);
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn tickets_hold_across_a_reload() {
    if !hangups_reach_a_child() {
        return;
    }
    let (daemon, _files) = start("hello");
    let config = config(&[&rustls::version::TLS13]);
    let resumed = || {
        let socket = TcpStream::connect(daemon.https()).unwrap();
        let mut stream = begin(socket, "localhost", &Arc::clone(&config)).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .unwrap();
        assert_eq!(read_response(&mut stream).status, 200);
        stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    };
    assert!(!resumed() && resumed());
    daemon.signal(1);
    daemon.wait_for_log("read anew");
    assert!(resumed());
    assert_eq!(get(&daemon, "/").status, 200);
}
