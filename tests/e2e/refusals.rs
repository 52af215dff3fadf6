//! Uploads that are refused before they have come: whoever sends them reads the response, also if it
//! sends all of the body first.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use crate::support::{Client, Daemon, PATIENCE, TempDir, get, run, skipped};

/// More than all buffers on the way hold.
const LARGE: usize = 30_000_000;
/// How often each program tries: a reset in the wrong moment need not come every time.
const TIMES: usize = 10;

/// Sends `BYTES` to `URL` with the header fields behind it, a connection each time, and prints what
/// it gets.
const PYTHON: &str = r#"
import http.client, sys
host, path, size, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
fields = dict(field.split(": ", 1) for field in sys.argv[5:])
body = b"x" * size
for _ in range(times):
    connection = http.client.HTTPConnection(host, timeout=100)
    connection.request("POST", path, body, fields)
    response = connection.getresponse()
    response.read()
    print(response.status, response.getheader("connection"), flush=True)
    connection.close()
"#;

/// The same with Node's own `fetch`.
const NODE: &str = r#"
const [host, path, size, times, ...list] = process.argv.slice(1);
const headers = Object.fromEntries(list.map(field => field.split(": ")));
const body = Buffer.alloc(Number(size), "x");
(async () => {
    for (let n = 0; n < Number(times); n++) {
        const response = await fetch(`http://${host}${path}`, { method: "POST", body, headers });
        await response.text();
        console.log(response.status, response.headers.get("connection"));
    }
})().catch(error => { console.error(error); process.exit(1); });
"#;

/// Whether a program is there to be the client. Says so where it is not.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        skipped(&format!("there is no {program}"));
    }
    there
}

/// What a client's program prints for each of its uploads.
fn uploads(
    words: &[&str],
    daemon: &Daemon,
    path: &str,
    bytes: usize,
    fields: &[&str],
) -> Vec<String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command.args([&daemon.addr().to_string(), path]);
    command.args([bytes.to_string(), TIMES.to_string()]);
    let output = run_program(command, fields);
    output.lines().map(str::to_owned).collect()
}

fn run_program(mut command: Command, fields: &[&str]) -> String {
    command.args(fields);
    let output = run(command, PATIENCE);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

/// Who refuses an upload, how it is asked to, and with which status.
fn refusing() -> [(Daemon, &'static str, &'static [&'static str], u16); 3] {
    [
        // An authenticator.
        (
            Daemon::start("stages"),
            "/",
            &["x-test-auth: denied no"],
            401,
        ),
        // A typed handler that takes no such body.
        (Daemon::start("stages"), "/", &[], 413),
        // A plugin that responds without a look at it.
        (Daemon::start("hostile"), "/", &[], 200),
    ]
}

#[test]
fn pythons_http_client_reads_why_its_upload_was_refused() {
    if !have("python3") {
        return;
    }
    for (daemon, path, fields, status) in refusing() {
        let told = uploads(&["python3", "-c", PYTHON], &daemon, path, LARGE, fields);
        assert_eq!(told, vec![format!("{status} close"); TIMES]);
        assert_eq!(get(&daemon, "/").status, 200);
    }
}

#[test]
fn nodes_fetch_reads_why_its_upload_was_refused() {
    if !have("node") {
        return;
    }
    for (daemon, path, fields, status) in refusing() {
        let told = uploads(&["node", "-e", NODE, "--"], &daemon, path, LARGE, fields);
        assert_eq!(told, vec![format!("{status} close"); TIMES]);
    }
}

#[test]
fn curl_reads_why_its_upload_was_refused() {
    if !have("curl") {
        return;
    }
    let folder = TempDir::new();
    for (daemon, path, fields, status) in refusing() {
        for bytes in [256 << 10, 2 << 20, 10_000_000] {
            let file = folder.path().join(bytes.to_string());
            std::fs::write(&file, vec![b'x'; bytes]).unwrap();
            // With `Expect: 100-continue`, as curl sends it for what is large, and without.
            for expect in [&[][..], &["-H", "Expect:"]] {
                for _ in 0..TIMES {
                    let mut command = Command::new("curl");
                    command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]);
                    command
                        .arg("--data-binary")
                        .arg(format!("@{}", file.display()));
                    command.args(fields.iter().flat_map(|field| ["-H", field]));
                    command.args(expect);
                    command.arg(format!("http://{}{path}", daemon.addr()));
                    // A small one fits the handler that takes bodies.
                    let taken = status == 413 && bytes <= 1 << 20;
                    let expected = if taken { 200 } else { status };
                    assert_eq!(run_program(command, &[]), expected.to_string(), "{bytes}");
                }
            }
        }
    }
}

#[test]
fn a_response_to_a_body_that_nobody_reads_says_that_the_connection_closes() {
    let daemon = Daemon::start("hostile");
    for framing in [
        format!("Content-Length: {LARGE}\r\n\r\n"),
        "Transfer-Encoding: chunked\r\n\r\n1C9C380\r\n".to_owned(),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}"));
        client.send(vec![b'x'; LARGE]);
        let response = client.read_response();
        assert_eq!((response.status, response.keep_alive), (200, false));
        assert!(client.is_closed());
    }
    // A rest that is as good as here is taken in, and the connection stays.
    let mut client = Client::connect(&daemon);
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
        client.send([b'x'; 60_000]);
        let response = client.read_response();
        assert_eq!((response.status, response.keep_alive), (200, true));
    }
}

#[test]
fn a_body_that_a_plugin_begins_to_read_and_gives_up_is_taken_in() {
    // It reads the body of a request that it refuses afterwards.
    let daemon = Daemon::builder("stages")
        .args(["--max-body", "64Ki"])
        .plugin("stages:request-body=whole")
        .start();
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..100 {
        client.send("8000\r\n");
        client.send([b'x'; 0x8000]);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let response = client.read_response();
    assert_eq!((response.status, response.keep_alive), (413, false));
    assert!(client.is_closed());
}

#[test]
fn an_upstreams_own_refusal_reaches_a_client_that_still_sends() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = upstream.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(
                b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n",
            )
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // As a server should, it takes in what is on its way.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let daemon = Daemon::builder("stage-router")
        .args(["--allow-host".to_owned(), to.to_string()])
        .start();
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-test-route: forward 127.0.0.1 {} 5000 60000\r\n\
         Content-Length: {LARGE}\r\n\r\n",
        to.port()
    ));
    client.send(vec![b'x'; LARGE]);
    let response = client.read_response();
    assert_eq!((response.status, response.text().as_str()), (403, "no\n"));
    assert!(!response.keep_alive, "{response:?}");
    drop(client);
    serving.join().unwrap();
}

#[test]
fn who_is_refused_and_does_not_go_makes_room_for_others() {
    let daemon = Daemon::builder("hostile")
        .args(["--max-connections", "1"])
        .start();
    let mut refused = Client::connect(&daemon);
    refused.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n\r\nsome"
    ));
    assert_eq!(refused.read_response().status, 200);
    // It could go on for long, but for others.
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_client_that_has_closed_its_half_gets_all_of_a_long_response_at_its_own_pace() {
    const BYTES: usize = 20_000_000;
    /// Bytes that are taken a second.
    const RATE: usize = 3_000_000;
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "GET /download?bytes={BYTES} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    client.shutdown_write();
    assert_eq!(client.read_head().unwrap().status, 200);
    let mut taken = 0;
    while taken < BYTES {
        let piece = (BYTES - taken).min(RATE / 10);
        client.read_exactly(piece).unwrap();
        taken += piece;
        // This client is slow: it takes seconds, as the response does on a slow network.
        thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(client.is_closed());
}
