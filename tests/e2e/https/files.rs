use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Files;
use super::client::get;
use crate::support::{Daemon, TempDir, ask_raw, hangups_reach_a_child, key_dir};

#[test]
fn files_that_are_no_use_end_the_start_and_are_named() {
    let files = Files::new();
    let (certificate, key) = (
        files.put("first.pem", "first.pem"),
        files.put("first.key", "first.key"),
    );
    let exposed = files.put("first.key", "exposed.key");
    fs::set_permissions(&exposed, PermissionsExt::from_mode(0o644)).unwrap();
    let absent = exposed.with_file_name("absent.pem");
    for (certificate, key, code, reason) in [
        (
            &certificate,
            &exposed,
            2,
            "exposed.key: its mode is 0644, so that others than its owner may use it; run `chmod 600 ",
        ),
        (
            &certificate,
            &files.put("second.key", "second.key"),
            2,
            "second.key: it is not the key of the certificate",
        ),
        (
            &certificate,
            &files.put("encrypted.key", "encrypted.key"),
            2,
            "encrypted.key: it is encrypted",
        ),
        (
            &certificate,
            &files.write("empty.key", b""),
            2,
            "empty.key: it is empty",
        ),
        (
            &key,
            &certificate,
            2,
            "it holds a private key and no certificate; --tls-cert and --tls-key may have changed places",
        ),
        (&absent, &key, 1, "absent.pem: cannot be read by account "),
    ] {
        let output = Daemon::builder("hello")
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .args(["--tls-port", "0"])
            .fails();
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(reason), "{reason}: {output:?}");
    }
}

#[test]
fn flags_that_hang_on_others_say_so() {
    for (words, reason) in [
        (
            &["--tls-port", "0"][..],
            "--tls-port: HTTPS wants a certificate",
        ),
        (
            &["--redirect-http"],
            "--redirect-http: there is no HTTPS to go to",
        ),
        (
            &["--tls-key", "a"],
            "--tls-key: wants one for each --tls-cert",
        ),
        (
            &["--tls-credential", "site"],
            "--tls-credential: CREDENTIALS_DIRECTORY is not set",
        ),
        (&["--proxy-protocol"], "--proxy-protocol: whose headers"),
        (
            &["--trusted-proxy", "10.0.0.1/8"],
            "10.0.0.0/8 for all of it",
        ),
    ] {
        let output = Daemon::builder("hello").args(words.iter().copied()).fails();
        assert!(output.stderr.contains(reason), "{words:?}: {output:?}");
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_served_with_a_warning() {
    let files = Files::new();
    files.put("first.key", "expired.key");
    let certificate = files.put("expired.pem", "expired.pem");
    let key = certificate.with_extension("key");
    let daemon = Daemon::builder("hello")
        .arg("--tls-cert")
        .arg(certificate)
        .arg("--tls-key")
        .arg(key);
    let daemon = daemon.args(["--tls-port", "0"]).start();
    daemon.wait_for_log("expired.pem: has expired at Fri, 01 Jan 2021 00:00:00 GMT, so clients refuse it; this device's clock says");
}

#[test]
fn credentials_of_systemd_are_two_files_or_one() {
    let files = Files::new();
    for name in ["first.crt", "first.key"] {
        files.put(&name.replace("crt", "pem"), name);
    }
    let both = [
        fs::read(super::source("second.pem")).unwrap(),
        fs::read(super::source("second.key")).unwrap(),
    ];
    let both = files.write("site", &both.concat());
    // As systemd leaves them where the unit runs as root.
    for name in ["first.crt", "first.key", "site"] {
        fs::set_permissions(both.with_file_name(name), PermissionsExt::from_mode(0o440)).unwrap();
    }
    let daemon = Daemon::builder("hello")
        .env("CREDENTIALS_DIRECTORY", both.parent().unwrap())
        .args([
            "--tls-credential",
            "first",
            "--tls-credential",
            "site",
            "--tls-port",
            "0",
        ])
        .start();
    assert_eq!(get(&daemon, "/").status, 200);
    let config = super::client::any_version();
    assert!(super::client::connect(&daemon, "second.test", &config).is_ok());
}

#[test]
fn a_key_of_roots_is_read_before_root_is_dropped() {
    if !rustix::process::geteuid().is_root() {
        return crate::support::skipped("only root can become another account");
    }
    if !hangups_reach_a_child() {
        return;
    }
    let (files, keys) = (Files::new(), TempDir::new());
    fs::copy(key_dir().join("suite.pub"), keys.path().join("suite.pub")).unwrap();
    fs::set_permissions(keys.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = Daemon::builder("hello")
        .keys(Some(keys.path()))
        .args(["--user", "12345:12345"]);
    let daemon = files.serve(daemon, &["first"]).start();
    assert_eq!(get(&daemon, "/").status, 200);
    // It cannot be read again, and the one that was stays in use.
    daemon.signal(1);
    daemon.wait_for_log("cannot be read by account 12345");
    assert_eq!(get(&daemon, "/").status, 200);
    // What is the account's own can.
    for name in ["first.key", "first.pem"] {
        let file = files.put(name, name);
        std::os::unix::fs::chown(&file, Some(12345), Some(12345)).unwrap();
    }
    daemon.signal(1);
    daemon.wait_for_log("the TLS certificates were read anew");
}

#[test]
fn a_daemon_says_where_it_serves_and_status_too() {
    let (files, data) = (Files::new(), TempDir::new());
    let daemon = Daemon::builder("hello").data_dir(data.path());
    let daemon = files.serve(daemon, &["first"]).start();
    assert_ne!(daemon.https().port(), daemon.addr().port());
    let ask = |path: &str| {
        ask_raw(
            data.path(),
            format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes(),
        )
        .text()
    };
    let address = daemon.https();
    let (text, json) = (ask("/status.txt"), ask("/status"));
    assert!(text.contains(&format!("https://{address}\n")), "{text}");
    assert!(
        json.contains(&format!("\"https_address\":\"{address}\"")),
        "{json}"
    );
    assert!(text.contains(": holds, "), "{text}");
    assert!(json.contains("\"not_after_unix_seconds\":"), "{json}");
}
