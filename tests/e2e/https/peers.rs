use std::process::Command;

use super::{source, start};
use crate::support::{Daemon, Output, PATIENCE, run, skipped};

/// Requests of every kind over the standard library's own TLS, which is OpenSSL: it prints `ok`.
const PYTHON: &str = r#"
import http.client, ssl, sys
port, authority = int(sys.argv[1]), sys.argv[2]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection("localhost", port, context=context)
    for size in (0, 1, 100000):
        connection.request("POST", "/", body=b"x" * size)
        response = connection.getresponse()
        assert response.status == 200 and response.read() == b"x" * size, size
    connection.close()
print("ok")
"#;

/// The same with fetch, which keeps connections and reads while it sends.
const NODE: &str = r#"
const [port] = process.argv.slice(2);
(async () => {
    for (const size of [0, 1, 100000, 3000000]) {
        const body = 'x'.repeat(size);
        const response = await fetch(`https://localhost:${port}/`, { method: 'POST', body });
        const text = await response.text();
        if (response.status !== 200 || text !== body) throw new Error(`${size}`);
    }
    console.log('ok');
})().catch(error => { console.error(error); process.exit(1); });
"#;

fn is_here(program: &str, word: &str) -> bool {
    let found = Command::new(program).arg(word).output();
    let is_here = found.is_ok_and(|output| output.status.success());
    if !is_here {
        skipped(&format!("{program} is not installed"));
    }
    is_here
}

fn curl(daemon: &Daemon, args: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args([
            "-q",
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "120",
            "--cacert",
        ])
        .arg(source("ca.pem"));
    command
        .args(args)
        .arg(format!("https://localhost:{}/", daemon.https().port()));
    run(command, 2 * PATIENCE)
}

#[test]
fn curl_speaks_each_version() {
    if !is_here("curl", "--version") {
        return;
    }
    let (daemon, _files) = start("echo");
    for version in ["1.2", "1.3"] {
        let flag = format!("--tlsv{version}");
        let output = curl(
            &daemon,
            &[&flag, "--tls-max", version, "-i", "--data-binary", "hello"],
        );
        assert!(
            output.stdout.starts_with("HTTP/1.1 200 ") && output.stdout.ends_with("hello"),
            "{output:?}"
        );
    }
    // Asked for HTTP/2 as well it takes what there is.
    let output = curl(
        &daemon,
        &[
            "--http2",
            "-w",
            " %{http_version}",
            "--data-binary",
            "hello",
        ],
    );
    assert_eq!(output.stdout, "hello 1.1", "{output:?}");
    for version in ["1.0", "1.1"] {
        let output = curl(
            &daemon,
            &["--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0"],
        );
        assert_ne!(output.code, 0, "{output:?}");
    }
}

#[test]
fn python_speaks_each_version() {
    if !is_here("python3", "--version") {
        return;
    }
    let (daemon, _files) = start("echo");
    let mut command = Command::new("python3");
    command
        .args(["-c", PYTHON, &daemon.https().port().to_string()])
        .arg(source("ca.pem"));
    let output = run(command, PATIENCE);
    assert_eq!(output.stdout.trim(), "ok", "{output:?}");
}

#[test]
fn node_fetches() {
    if !is_here("node", "--version") {
        return;
    }
    let (daemon, files) = start("echo");
    let script = files.write("client.js", NODE.as_bytes());
    let mut command = Command::new("node");
    command.arg(script).arg(daemon.https().port().to_string());
    command.env("NODE_EXTRA_CA_CERTS", source("ca.pem"));
    let output = run(command, PATIENCE);
    assert_eq!(output.stdout.trim(), "ok", "{output:?}");
}

#[test]
fn openssl_resumes_sessions_and_finds_no_old_version() {
    if !is_here("openssl", "version") {
        return;
    }
    let (daemon, _files) = start("hello");
    let client = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &daemon.https().to_string(),
            "-servername",
            "localhost",
        ]);
        command.arg("-CAfile").arg(source("ca.pem")).args(args);
        run(command, PATIENCE)
    };
    let output = client(&["-tls1_2", "-reconnect"]);
    assert!(
        output.stdout.contains("Verify return code: 0 (ok)"),
        "{output:?}"
    );
    assert_eq!(
        output.stdout.matches("Reused, TLSv1.2").count(),
        5,
        "{output:?}"
    );
    assert!(
        output.stdout.contains("Secure Renegotiation IS supported"),
        "{output:?}"
    );
    let output = client(&["-tls1_3"]);
    assert!(
        output.stdout.contains("New, TLSv1.3") && output.code == 0,
        "{output:?}"
    );
    for version in ["-tls1", "-tls1_1"] {
        let output = client(&[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert_ne!(output.code, 0, "{version}: {output:?}");
    }
    for cipher in [
        "AES128-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "NULL",
    ] {
        let output = client(&["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]);
        assert_ne!(output.code, 0, "{cipher}: {output:?}");
    }
}
