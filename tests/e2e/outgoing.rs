//! Requests that plugins send: where they may go, what they bring back, and how they fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::{Builder, Daemon, PATIENCE, TempDir, ask, eventually, get, refusing, request};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A daemon that may ask anybody at 127.0.0.1.
fn fetcher() -> Builder {
    Daemon::builder("fetch").args(["--allow-host", "127.0.0.1"])
}

/// A server that answers each connection's first request with `script`, for as long as the suite runs.
fn server(script: impl Fn(TcpStream, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            script(stream, String::from_utf8_lossy(&head).into_owned());
        }
    });
    address
}

/// A server that says these bytes and closes.
fn saying(answer: &'static str) -> SocketAddr {
    server(move |mut stream, _| {
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// What a relayed GET fails with.
fn error(daemon: &Daemon, query: &str) -> String {
    let answer = get(daemon, &format!("/relay?{query}"));
    assert_eq!(answer.status, 502, "{answer:?}");
    answer.text()
}

#[test]
fn a_plugin_that_waits_for_an_upstream_until_its_time_is_up_is_logged_with_both_and_the_flag() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let daemon = fetcher().timeout("request", "1s").start();
    let answer = get(&daemon, &format!("/guide?url=http://{address}/"));
    assert_eq!(answer.status, 504, "{answer:?}");
    let id = answer.header("x-request-id").unwrap();
    daemon.wait_for_log(&format!(
        "[{id}] GET /guide: plugin fetch: failed: the plugin did not answer in time (--timeout request): \
         it waits for the upstream {address}"
    ));
}

#[test]
fn a_plugin_asks_as_the_guide_shows() {
    let address = server(|mut stream, head| {
        let length = head.len();
        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {length}\r\n\r\n{head}");
        let _ = stream.write_all(answer.as_bytes());
    });
    let daemon = fetcher().start();
    let answer = get(&daemon, &format!("/guide?url=http://{address}/some/path"));
    assert_eq!(answer.status, 201, "{answer:?}");
    let expected = format!(
        "GET /some/path HTTP/1.1\r\nHost: {address}\r\nUser-Agent: zlayer-plugin/1.0\r\nCDN-Loop: zlayer-"
    );
    assert!(answer.text().starts_with(&expected), "{answer:?}");
}

#[test]
fn a_plugin_may_write_a_body_before_it_sends_the_request() {
    let address = server(|mut stream, head| {
        let head = head.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = Vec::new();
        let mut piece = [0; 4096];
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "it broke off");
            body.extend_from_slice(&piece[..count]);
        }
        let bytes = body.iter().filter(|byte| **byte == b'e').count();
        let status = if bytes >= 32 << 10 {
            "201 Created"
        } else {
            "400 Bad Request"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
    });
    let daemon = fetcher().start();
    for kib in [32, 1024] {
        let answer = get(&daemon, &format!("/early?to={address}&kib={kib}"));
        assert_eq!(answer.status, 201, "{kib}: {answer:?}");
    }
    let answer = get(&daemon, &format!("/early?to={address}&kib=2048"));
    assert_eq!(answer.status, 502, "{answer:?}");
}

#[test]
fn a_plugin_that_asks_its_own_daemon_is_stopped_after_a_few_rounds() {
    // An instance for each round: without a bound it would be their number that ends it.
    let daemon = fetcher().args(["--max-instances", "12"]).start();
    let own = format!("http://{}/guide?url=", daemon.addr());
    let answer = get(&daemon, &format!("/guide?url={}", own.repeat(9)));
    assert_eq!(answer.status, 508, "{answer:?}");
    daemon.wait_for_log("failed: the request came by this daemon 4 times before");
    // A few are all right: this one ends with a plugin that is asked for nothing.
    let answer = get(&daemon, &format!("/guide?url={}", own.repeat(2)));
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(
        answer.text().contains("HttpRequestUriInvalid"),
        "{answer:?}"
    );
}

#[test]
fn the_guides_way_of_reading_gets_a_body_that_comes_in_pieces() {
    let address = server(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        // Whoever does not wait for it sees nothing of it. It waits for nothing: a pause well below the daemon's
        // quarter of a second is what this test is about.
        thread::sleep(Duration::from_millis(30));
        for _ in 0..20 {
            let _ = stream.write_all(b"4\r\nzlay\r\n");
            thread::yield_now();
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    let daemon = fetcher().start();
    let whole = "zlay".repeat(20);
    // The daemon waits a quarter of a second for it, and a busy machine may take longer to send it.
    eventually("a body that came in time", || {
        let answer = get(&daemon, &format!("/guide?url=http://{address}/"));
        assert!(answer.status == 200, "{answer:?}");
        assert!(whole.starts_with(&answer.text()), "{answer:?}");
        answer.text() == whole
    });
}

#[test]
fn bodies_stream_through_a_plugin_both_ways() {
    let echo = Daemon::start("echo");
    let daemon = fetcher().args(["--max-body", "64Ki"]).start();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = format!("/relay?to={}", echo.addr());
    // Of known length, and in chunks.
    let answer = request(&daemon, "POST", &path, &[], &body);
    assert!(
        answer.status == 200 && answer.body == body,
        "{}",
        answer.status
    );
    let mut chunked = Vec::new();
    for piece in body.chunks(100_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let fields = [("transfer-encoding", "chunked")];
    let answer = request(&daemon, "POST", &path, &fields, &chunked);
    assert!(
        answer.status == 200 && answer.body == body,
        "{}",
        answer.status
    );
    let path = format!("{path}&path=/download?bytes=2000000");
    let answer = get(&daemon, &path);
    assert_eq!(answer.header("content-length"), Some("2000000"));
    assert!(answer.body == body[..2_000_000]);
}

#[test]
fn hosts_that_are_not_allowed_are_denied_counted_and_named() {
    let address = saying(OK);
    let port = address.port();
    let other = saying(OK).port();
    let folder = TempDir::new();
    let daemon = Daemon::builder("fetch")
        .data_dir(folder.path())
        .args(["--allow-host", &format!("127.0.0.1:{port}")])
        .args(["--allow-host", "*.example.com"])
        .start();
    assert_eq!(
        get(&daemon, &format!("/relay?to=127.0.0.1:{port}")).text(),
        "ok"
    );
    for to in [
        &*format!("127.0.0.1:{other}"),
        &format!("localhost:{port}"),
        &format!("127.0.0.1.:{port}"),
        "example.com",
        "127.0.0.1",
    ] {
        assert_eq!(
            error(&daemon, &format!("to={to}")),
            "ErrorCode::HttpRequestDenied",
            "{to}"
        );
    }
    daemon.wait_for_log(&format!("--allow-host localhost:{port} allows it"));
    let key = format!("`wasm.allowed_hosts: [\"127.0.0.1:{other}\"]` in its service to");
    daemon.wait_for_log(&key);
    // Once for each host, however often it is asked for.
    assert_eq!(
        error(&daemon, &format!("to=localhost:{port}")),
        "ErrorCode::HttpRequestDenied"
    );
    let told = format!("a request to localhost:{port}: ");
    assert_eq!(daemon.log().matches(&told).count(), 1, "{}", daemon.log());
    let metrics = ask(&folder, "/metrics").text();
    let counted = "\nzlayer_denied_calls_total{plugin=\"fetch\",interface=\"http-client\"} 6\n";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(ask(&folder, "/status").text().contains("\"http-client\""));
}

#[test]
fn without_a_flag_and_against_one_everything_is_denied() {
    let address = saying(OK);
    let query = format!("to={address}");
    let daemon = Daemon::start("fetch");
    assert_eq!(error(&daemon, &query), "ErrorCode::HttpRequestDenied");
    daemon.wait_for_log(&format!("--allow-host {address} allows it"));
    let daemon = Daemon::builder("fetch")
        .allow_host("127.0.0.1")
        .args(["--deny", "http-client"])
        .start();
    assert_eq!(error(&daemon, &query), "ErrorCode::HttpRequestDenied");
    daemon.wait_for_log("http-client");
}

#[test]
fn failures_reach_the_plugin_by_their_names() {
    let daemon = Daemon::builder("fetch")
        .allow_host("*")
        .allow_host("localhost")
        .start();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (address, silent))
        .unwrap();
    for (query, wanted) in [
        (format!("to={}", refusing()), "ErrorCode::ConnectionRefused"),
        (
            format!("to={}&first=100", silent.0),
            "ErrorCode::HttpResponseTimeout",
        ),
        (
            format!("to={}", saying("220 mail\r\n")),
            "ErrorCode::HttpProtocolError",
        ),
        (
            format!("to={}", saying("HTTP/1.1 200 OK\r\n")),
            "ErrorCode::ConnectionTerminated",
        ),
        ("to=u@h".to_owned(), "ErrorCode::HttpRequestUriInvalid"),
    ] {
        assert_eq!(error(&daemon, &query), wanted, "{query}");
    }
    // A label longer than a name may have (RFC 1035 section 2.3.4): unknown without asking anybody.
    let unknown = error(&daemon, &format!("to={}.invalid", "a".repeat(64)));
    assert!(unknown.starts_with("ErrorCode::DnsError("), "{unknown}");
    daemon.wait_for_log("it refused the connection");
}

#[test]
fn an_answer_that_breaks_off_or_stands_still_is_not_whole() {
    let daemon = fetcher().start();
    for breaks_off in [true, false] {
        let (begun, has_begun) = std::sync::mpsc::channel::<()>();
        let to = server(move |mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            // The client has this part before the rest does not come.
            let _ = has_begun.recv();
            if !breaks_off {
                // Until the other side has had enough.
                let _ = stream.read(&mut [0]);
            }
        });
        // As much patience as it takes to see the first part, where that is what comes to an end.
        let between = if breaks_off { 600_000 } else { 2000 };
        let mut client = crate::support::Client::connect(&daemon);
        client.send(format!(
            "GET /relay?to={to}&between={between} HTTP/1.1\r\nhost: h\r\n\r\n"
        ));
        let head = client.read_head().unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-length"), Some("10"), "{head:?}");
        assert_eq!(client.read_exactly(4).unwrap(), b"half");
        begun.send(()).unwrap();
        assert!(client.is_closed(), "more came");
    }
}

#[test]
fn a_pattern_that_is_no_host_is_refused() {
    for pattern in ["http://h/", "h:0", "*h", ""] {
        let said = crate::support::zlayer(["run", "--wasm", "x.cwasm", "--allow-host", pattern]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains("is not a host"), "{said:?}");
    }
}
