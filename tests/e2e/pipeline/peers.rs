use std::process::Command;

use crate::support::{Daemon, Output, PATIENCE, run, skipped};

/// The client in Python: standard library alone.
const PYTHON: &str = include_str!("client.py");

/// All roles, and a token that everybody in this file knows.
fn daemon() -> Daemon {
    Daemon::builder("jwt-authenticator")
        .with("stages")
        .args(["--secret", "jwt_secret=key-of-the-test"])
        .plugin("jwt-authenticator:secrets=jwt_secret")
        .plugin("jwt-authenticator:paths=/private/*")
        .start()
}

fn is_here(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    let is_here = found.is_ok_and(|output| output.status.success());
    if !is_here {
        skipped(&format!("{program} is not installed"));
    }
    is_here
}

fn curl(daemon: &Daemon, path: &str, args: &[&str]) -> Output {
    let mut command = Command::new("curl");
    // Without whoever's own settings, which have to be refused first.
    command.args(["-q", "-sS", "-i", "--noproxy", "*", "--max-time", "120"]);
    command
        .args(args)
        .arg(format!("http://{}{path}", daemon.addr()));
    let output = run(command, 2 * PATIENCE);
    assert_eq!(output.code, 0, "{output:?}");
    output
}

#[test]
fn curl_goes_the_whole_way() {
    if !is_here("curl") {
        return;
    }
    let daemon = daemon();
    let answer = curl(&daemon, "/private/", &[]).stdout;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(
        answer.contains("WWW-Authenticate: Bearer realm=\"api\"\r\n"),
        "{answer}"
    );
    let answer = curl(&daemon, "/", &["-H", "x-test-limit: deny 0 10 60000 1500"]).stdout;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("Retry-After: 2\r\n"), "{answer}");
    // curl follows a redirect, and sends the body again where the status says so.
    let fields = ["-L", "-H", "x-test-handle: echo", "--data-binary", "hello"];
    let route = "x-test-route: redirect-preserve 307 /landed";
    let answer = curl(
        &daemon,
        "/",
        &["-H", route, "--max-redirs", "1", "--data-binary", "hello"],
    );
    assert!(
        answer.stdout.contains("Location: /landed\r\n"),
        "{answer:?}"
    );
    let chunked = [&fields[..], &["-H", "transfer-encoding: chunked"]].concat();
    for args in [&fields[..], &chunked] {
        let answer = curl(&daemon, "/", args).stdout;
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(answer.contains("Content-Length: 5\r\n"), "{answer}");
    }
    let answer = curl(&daemon, "/", &["-I"]).stdout;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn a_python_client_goes_the_whole_way() {
    if !is_here("python3") {
        return;
    }
    let daemon = daemon();
    let mut command = Command::new("python3");
    let port = daemon.addr().port().to_string();
    command.args(["-c", PYTHON, &port, "key-of-the-test"]);
    let output = run(command, 2 * PATIENCE);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.ends_with("all held\n"), "{output:?}");
}
