//! The router's `forward`: the daemon as a reverse proxy.

mod heads;
mod nginx;
mod personal;
mod sloppy;
mod unshown;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{
    Builder, Client, Daemon, PATIENCE, figures_are_the_daemons, get, refusing, request, under_qemu,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A daemon that forwards everything to `to`, with what `times` says behind the port.
fn proxy_with(to: SocketAddr, times: &str) -> Builder {
    let route = format!("test.route=forward {} {}{times}", to.ip(), to.port());
    Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host(to)
}

fn proxy(to: SocketAddr) -> Daemon {
    proxy_with(to, "").start()
}

/// An upstream that runs `script` for each connection, and how many there were.
fn upstream(script: impl Fn(TcpStream) + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            script(stream);
        }
    });
    (address, count)
}

/// Reads a head; empty when the connection ends first.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// An upstream that answers one request a connection with these bytes.
fn saying(answer: &'static str) -> SocketAddr {
    let script = move |mut stream: TcpStream| {
        read_head(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
    };
    upstream(script).0
}

#[test]
fn the_upstream_sees_the_client_and_the_client_sees_the_upstream() {
    let (to, _) = upstream(|mut stream| {
        let head = read_head(&mut stream);
        let length = head.len();
        let answer = format!(
            "HTTP/1.1 203 x\r\nx-own: 1\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: {length}\r\n\r\n{head}"
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let daemon = proxy(to);
    let fields = [
        ("host", "example.com"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-mine", "1"),
        ("connection", "close, x-secret"),
        ("x-secret", "1"),
    ];
    let answer = request(&daemon, "GET", "/some/path?a=b", &fields, b"");
    assert_eq!((answer.status, answer.header("x-own")), (203, Some("1")));
    assert_eq!(answer.header("x-hop"), None);
    let seen = answer.text();
    for line in [
        "GET /some/path?a=b HTTP/1.1",
        "host: example.com",
        "x-forwarded-for: 10.0.0.1, 127.0.0.1",
        "x-forwarded-host: example.com",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1;host=\"example.com\";proto=http",
        "via: 1.1 zlayer",
        "x-mine: 1",
    ] {
        assert!(
            seen.lines().any(|seen| seen.eq_ignore_ascii_case(line)),
            "{line} is not in {seen}"
        );
    }
    assert!(
        !seen.contains("x-secret") && !seen.contains("connection"),
        "{seen}"
    );
}

#[test]
fn a_chain_of_proxies_of_one_name_is_no_loop() {
    let (to, _) = upstream(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let daemon = proxy(to);
    let via = ["1.1 zlayer"; 8].join(", ");
    let fields = [("host", "a"), ("via", &via), ("connection", "close")];
    assert_eq!(request(&daemon, "GET", "/", &fields, b"").status, 200);
}

#[test]
fn a_client_cannot_take_out_what_the_proxy_says_of_it() {
    let (to, _) = upstream(|mut stream| {
        let head = read_head(&mut stream);
        let length = head.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}");
        let _ = stream.write_all(answer.as_bytes());
    });
    let daemon = proxy(to);
    let named = "close, x-forwarded-for, forwarded, via, x-forwarded-host, x-forwarded-proto";
    let fields = [
        ("host", "example.com"),
        ("x-forwarded-for", "10.0.0.1"),
        ("connection", named),
    ];
    let seen = request(&daemon, "GET", "/", &fields, b"").text();
    for line in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: example.com",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1;host=\"example.com\";proto=http",
        "via: 1.1 zlayer",
    ] {
        assert!(
            seen.lines().any(|seen| seen.eq_ignore_ascii_case(line)),
            "{line} is not in {seen}"
        );
    }
}

#[test]
fn an_upstream_does_not_work_for_clients_that_went_away() {
    let (tell, told) = std::sync::mpsc::channel();
    let (to, _) = upstream(move |mut stream| {
        read_head(&mut stream);
        // Nothing is said: the end comes only because the client has gone.
        let _ = tell.send(());
        let mut byte = [0];
        match stream.read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => drop(tell.send(())),
        }
    });
    let daemon = proxy_with(to, " 0 600000")
        .args(["--timeout", "request=5m"])
        .start();
    let mut client = Client::connect(&daemon);
    client.send("GET /slow HTTP/1.1\r\nhost: h\r\n\r\n");
    told.recv_timeout(PATIENCE).unwrap();
    client.reset();
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_request_that_waits_for_the_one_before_is_answered_too() {
    let (to, _) = upstream(|mut stream| {
        thread::spawn(move || {
            loop {
                if read_head(&mut stream).is_empty() {
                    return;
                }
                stream.write_all(OK.as_bytes()).unwrap();
            }
        });
    });
    let daemon = proxy(to);
    let mut client = Client::connect(&daemon);
    let get = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    // At once, and one by one.
    client.send(get.repeat(3));
    client.shutdown_write();
    for _ in 0..3 {
        assert_eq!(client.read_response().text(), "ok");
    }
    let mut client = Client::connect(&daemon);
    for _ in 0..3 {
        client.send(get);
        assert_eq!(client.read_response().text(), "ok");
    }
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let (to, count) = upstream(|mut stream| {
        thread::spawn(move || {
            while !read_head(&mut stream).is_empty() {
                stream.write_all(OK.as_bytes()).unwrap();
            }
        });
    });
    let daemon = proxy(to);
    for _ in 0..20 {
        assert_eq!(get(&daemon, "/").text(), "ok");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn failures_are_told_apart() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    for (to, times, status, log) in [
        (refusing(), "", 502, "it refused the connection"),
        (
            saying("SSH-2.0-x\r\n"),
            "",
            502,
            "its answer is not valid HTTP",
        ),
        (
            saying("HTTP/1.1 200 OK\r\n"),
            "",
            502,
            "the connection ended before an answer",
        ),
        (
            saying("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"),
            "",
            502,
            "its answer is not valid HTTP: status 999",
        ),
        (
            silent.local_addr().unwrap(),
            " 5000 100",
            504,
            "it did not answer in time",
        ),
    ] {
        let daemon = proxy_with(to, times).start();
        let answer = get(&daemon, "/");
        assert_eq!(answer.status, status, "{log}: {answer:?}");
        let id = answer.header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty() && !answer.text().contains(log), "{answer:?}");
        daemon.wait_for_log(&format!("upstream {to}: {log}"));
    }
}

#[test]
fn an_upstream_that_is_slower_than_a_request_is_named_with_flag_and_router() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = silent.local_addr().unwrap();
    let daemon = proxy_with(to, "").timeout("request", "1s").start();
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 504, "{answer:?}");
    let id = answer.header("x-request-id").unwrap_or_default();
    daemon.wait_for_log(&format!(
        "[{id}] GET /: failed: upstream {to}: it did not answer within 1s (--timeout request) \
         (forwarded by plugin stage-router)"
    ));
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    for (head, part, rest) in [
        ("content-length: 100000", "half", ""),
        ("transfer-encoding: chunked", "4\r\nhalf\r\n", ""),
        (
            "transfer-encoding: chunked",
            "4\r\nhalf\r\n",
            "no-size\r\nx\r\n",
        ),
    ] {
        let (begun, has_begun) = std::sync::mpsc::channel::<()>();
        let (to, _) = upstream(move |mut stream| {
            read_head(&mut stream);
            let first = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}");
            stream.write_all(first.as_bytes()).unwrap();
            // The client has this part before it turns out that there is no whole.
            let _ = has_begun.recv();
            let _ = stream.write_all(rest.as_bytes());
        });
        let daemon = proxy(to);
        let mut client = Client::connect(&daemon);
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = client.read_head().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let came = client.read_exactly(part.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&came), part);
        begun.send(()).unwrap();
        assert!(client.is_closed(), "{head} {rest:?}: more came");
        daemon.wait_for_log("its answer is cut off");
        // And it is no plugin's.
        daemon.wait_for_log(&format!("upstream {to}: its answer is not valid HTTP: "));
        assert!(
            !daemon.log().contains("the plugin's answer"),
            "{}",
            daemon.log()
        );
    }
}

#[test]
fn bodies_stream_both_ways_in_little_memory() {
    // What an emulated processor can do in the time of a test.
    let bytes: u64 = if under_qemu() { 32 << 20 } else { 1 << 30 };
    let (to, _) = upstream(move |mut stream| {
        let head = read_head(&mut stream);
        let piece = vec![b'x'; 64 << 10];
        if head.starts_with("GET") {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            for _ in 0..bytes / piece.len() as u64 {
                stream.write_all(&piece).unwrap();
            }
        } else {
            let (mut read, mut piece) = (0, piece);
            while read < bytes {
                read += stream.read(&mut piece).unwrap() as u64;
            }
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let daemon = proxy_with(to, "")
        .args(["--memory-max", "24Mi"])
        .timeout("request", "10m")
        .start();
    let before = daemon.status_kib("VmRSS");

    let mut client = Client::connect(&daemon);
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    let head = client.read_head().unwrap();
    assert_eq!(head.header("content-length"), Some(&*bytes.to_string()));
    let mut left = bytes;
    while left > 0 {
        let piece = client.read_exactly(left.min(1 << 20) as usize).unwrap();
        assert!(piece.iter().all(|byte| *byte == b'x'));
        left -= piece.len() as u64;
    }

    client.send(format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {bytes}\r\n\r\n"
    ));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..bytes / piece.len() as u64 {
        client.send(&piece);
    }
    assert_eq!(client.read_response().text(), "ok");
    if figures_are_the_daemons() {
        let grown = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(grown < 8 << 10, "{grown} KiB for {bytes} bytes");
    }
}

#[test]
fn a_whole_server_behind_it_is_as_without_it() {
    let echo = Daemon::start("echo");
    let daemon = proxy(echo.addr());
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    // The answer comes while the request is still on its way, in chunks.
    let answer = request(&daemon, "POST", "/", &[("content-type", "x/y")], &body);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("x/y"))
    );
    assert!(answer.body == body);
    let fields = [("transfer-encoding", "chunked"), ("te", "trailers")];
    let chunked = b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    let answer = request(&daemon, "POST", "/", &fields, chunked);
    assert_eq!(answer.text(), "abc");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    let answer = get(&daemon, "/download?bytes=300000");
    assert!(answer.header("content-length") == Some("300000") && answer.body == body[..300_000]);
    let answer = request(&daemon, "HEAD", "/download?bytes=300000", &[], b"");
    assert_eq!(answer.header("content-length"), Some("300000"));

    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 100);
    client.send("hi");
    assert_eq!(client.read_response().text(), "hi");
}

#[test]
fn an_upload_that_the_upstream_does_not_want_is_answered_all_the_same() {
    let to = saying("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig");
    let daemon = proxy(to);
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text()), (413, "big".to_owned()));
}

#[test]
fn a_client_that_breaks_its_upload_off_is_not_passed_on_as_whole() {
    let (send, receive) = std::sync::mpsc::channel();
    let (to, _) = upstream(move |mut stream| {
        read_head(&mut stream);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        send.send(rest).unwrap();
    });
    let daemon = proxy(to);
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    client.shutdown_write();
    let seen = receive.recv_timeout(PATIENCE).unwrap();
    assert_eq!(String::from_utf8(seen).unwrap(), "4\r\nhalf\r\n");
}

#[test]
fn a_route_that_leads_back_is_stopped_after_a_few_rounds() {
    let daemon = Daemon::builder("stages").allow_host("127.0.0.1").start();
    let here = format!("forward {} {}", daemon.addr().ip(), daemon.addr().port());
    // A middleware that takes the field out, and a client that claims it, change nothing.
    let fields = [
        ("x-test-route", here.as_str()),
        ("x-test-middleware", "drop cdn-loop"),
        ("cdn-loop", "zlayer, zlayer-0"),
    ];
    let answer = request(&daemon, "GET", "/", &fields, b"");
    assert_eq!(answer.status, 508, "{answer:?}");
    daemon.wait_for_log("failed: the request came by this daemon 4 times before");
    assert_eq!(request(&daemon, "GET", "/", &fields[1..], b"").status, 200);
}
