//! The access log: a line for each request, as programs that read such logs expect it.

use std::net::TcpStream;

use serde_json::Value;
use tungstenite::Message;

use crate::support::{
    Builder, Client, Daemon, PATIENCE, TempDir, eventually, get, precompile, request, zlayer,
};
use crate::websocket;

/// A daemon whose access log comes to standard output.
fn logged(guest: &str) -> Builder {
    Daemon::builder(guest).args(["--access-log", "stdout"])
}

/// Waits for so many lines of the access log, and answers them.
fn lines(daemon: &Daemon, count: usize) -> Vec<Line> {
    let read = || {
        let text = daemon.stdout();
        // All else on standard output says whose it is.
        let own = text.lines().filter(|line| !line.starts_with("zlayer: "));
        own.map(Line::read).collect::<Vec<_>>()
    };
    eventually("lines of the access log", || read().len() >= count);
    let found = read();
    assert_eq!(found.len(), count, "{found:?}");
    found
}

/// The parts of a line, as a reader of the format takes it apart.
#[derive(Debug)]
struct Line {
    client: String,
    time: String,
    request: String,
    status: String,
    bytes: u64,
    referer: String,
    agent: String,
    seconds: f64,
    id: String,
}

impl Line {
    fn read(line: &str) -> Line {
        let quotes: Vec<&str> = line.split('"').collect();
        let [head, request, numbers, referer, " ", agent, tail] = quotes[..] else {
            panic!("not a line of the format: {line}");
        };
        let head: Vec<&str> = head.split([' ', '[', ']']).collect();
        let [client, "-", "-", "", time, "+0000", "", ""] = head[..] else {
            panic!("not the beginning of a line: {line}");
        };
        let (numbers, tail) = (numbers.trim(), tail.trim());
        let (status, bytes) = numbers.split_once(' ').unwrap();
        let (seconds, id) = tail.split_once(' ').unwrap();
        Line {
            client: client.to_owned(),
            time: time.to_owned(),
            request: request.to_owned(),
            status: status.to_owned(),
            bytes: bytes.parse().unwrap(),
            referer: referer.to_owned(),
            agent: agent.to_owned(),
            seconds: seconds.parse().unwrap(),
            id: id.to_owned(),
        }
    }
}

#[test]
fn a_request_is_one_line_of_the_combined_log_format() {
    let daemon = logged("echo").start();
    let fields = [
        ("Referer", "http://a.example/b?c=d"),
        ("User-Agent", "probe \"1\"\\2"),
    ];
    let target = "/download?bytes=40";
    let answer = request(&daemon, "GET", target, &fields, b"");
    let [line] = &lines(&daemon, 1)[..] else {
        unreachable!()
    };
    assert_eq!(line.client, "127.0.0.1");
    assert_eq!(line.request, format!("GET {target} HTTP/1.1"));
    assert_eq!(line.status, answer.status.to_string());
    // One without a length may be chunked, and what frames it counts.
    assert_eq!((line.bytes, answer.body.len()), (40, 40));
    assert_eq!(line.referer, "http://a.example/b?c=d");
    assert_eq!(line.agent, "probe \\x221\\x22\\x5C2");
    // 29/Nov/2026:14:31:54
    let parts: Vec<&str> = line.time.split(['/', ':']).collect();
    assert_eq!(parts.len(), 6, "{line:?}");
    assert_eq!(line.id.len(), 16);
    assert!(line.seconds < PATIENCE.as_secs_f64());
}

#[test]
fn without_the_flag_there_are_no_lines() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("hello").data_dir(folder.path()).start();
    assert_eq!(get(&daemon, "/").status, 200);
    let said = daemon.stdout();
    assert!(
        said.lines().all(|line| line.starts_with("zlayer: ")),
        "{said}"
    );
    assert_eq!(daemon.stop(), 0);
    let data = folder.path().to_str().unwrap();
    let shown = zlayer(["logs", "--data-dir", data, "--access"]);
    assert_eq!((shown.code, &*shown.stdout), (0, ""));
}

#[test]
fn what_a_client_sends_forges_nothing_and_tells_no_secret() {
    let daemon = logged("http-echo-headers")
        .args(["--secret", "token=hunter2hunter2"])
        .start();
    let mut client = Client::connect(&daemon);
    for (target, agent) in [
        ("/a?access_token=abc.def&b=1", "a\tb\u{1b}[31m"),
        ("/caf\u{e9}\"", "\u{202e}x"),
        ("/hunter2hunter2", "hunter2hunter2"),
    ] {
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n"
        ));
        client.read_response();
        if agent.contains('\u{1b}') {
            // No header may hold it.
            client = Client::connect(&daemon);
        }
    }
    let lines = lines(&daemon, 3);
    let parts: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (&*line.request, &*line.agent))
        .collect();
    assert_eq!(parts[0], ("GET /a?access_token=***&b=1 HTTP/1.1", "-"));
    assert_eq!(lines[0].status, "400");
    let encoded = ("GET /caf%C3%A9%22 HTTP/1.1", "\\xE2\\x80\\xAEx");
    assert_eq!(parts[1], encoded);
    assert_eq!(parts[2], ("GET /*** HTTP/1.1", "***"));
}

#[test]
fn what_no_plugin_has_seen_has_a_line_too() {
    let daemon = logged("hello").timeout("head", "1s").start();
    for (bytes, status, shown) in [
        ("nonsense\r\n\r\n", "400", "nonsense"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "400", "\\x16\\x03\\x01"),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "501",
            "CONNECT a:1 HTTP/1.1",
        ),
        ("GET /slow HT", "408", "GET /slow HT"),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(bytes);
        let answer = client.read_response();
        assert_eq!(answer.status.to_string(), status, "{bytes:?}");
        drop(client);
        let known = || daemon.stdout().contains(&format!("\"{shown}\" {status} "));
        eventually("a line for what was refused", known);
    }
    let all = lines(&daemon, 4);
    assert!(all.iter().all(|line| line.id == "-" && line.bytes > 0));
}

#[test]
fn a_client_that_leaves_has_a_line_with_what_it_was_sent() {
    let daemon = logged("echo").start();
    // In the head of a request; then of a response that is larger than sockets hold; then before one.
    let mut client = Client::connect(&daemon);
    client.send("GET /left HT");
    drop(client);
    assert_eq!(lines(&daemon, 1)[0].status, "499");
    const SIZE: u64 = 64 << 20;
    let mut client = Client::connect(&daemon);
    client.send(format!(
        "GET /download?bytes={SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    client.read_exactly(100_000).unwrap();
    drop(client);
    let line = lines(&daemon, 2).pop().unwrap();
    assert_eq!(line.status, "200");
    assert!((90_000..SIZE).contains(&line.bytes), "{line:?}");
    assert_eq!(line.request, format!("GET /download?bytes={SIZE} HTTP/1.1"));
}

#[test]
fn a_conversation_has_its_line_when_it_is_over() {
    let daemon = logged("stage-websocket").start();
    let mut socket = websocket::open(&daemon, "/ws/a", &[]);
    for _ in 0..3 {
        socket.send(Message::text("hello")).unwrap();
        socket.read().unwrap();
    }
    assert!(!daemon.stdout().contains("GET /ws/a"));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let line = lines(&daemon, 1).pop().unwrap();
    assert_eq!(line.request, "GET /ws/a HTTP/1.1");
    assert_eq!(line.status, "101");
    // Each message is a frame with a header of two bytes, and so is the end.
    assert!(line.bytes >= 3 * 7 + 2, "{line:?}");
}

#[test]
fn the_client_is_the_one_that_a_trusted_proxy_names() {
    let daemon = logged("hello")
        .args(["--trusted-proxy", "127.0.0.1"])
        .start();
    for list in ["192.0.2.7", "203.0.113.9, 2001:db8::1"] {
        request(&daemon, "GET", "/", &[("X-Forwarded-For", list)], b"");
    }
    let clients: Vec<String> = lines(&daemon, 2).into_iter().map(|l| l.client).collect();
    assert_eq!(clients, ["192.0.2.7", "2001:db8::1"]);
}

#[test]
fn the_ring_keeps_lines_and_both_programs_show_them() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("hello")
        .args(["--access-log", "both"])
        .data_dir(folder.path())
        .start();
    for number in 0..3 {
        assert_eq!(get(&daemon, &format!("/page/{number}")).status, 200);
    }
    let wanted = lines(&daemon, 3);
    let said = daemon.stdout();
    let said: String = said
        .lines()
        .filter(|line| !line.starts_with("zlayer: "))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(!daemon.log().contains("/page/"), "{}", daemon.log());
    assert_eq!(daemon.stop(), 0);
    let data = folder.path().to_str().unwrap();
    let device = zlayer(["logs", "--data-dir", data, "--access"]);
    assert_eq!((&*device.stdout, &*device.stderr), (&*said, ""));
    assert_eq!(precompile(["logs", "--access", data]).stdout, said);
    // Among all others, and by the request.
    let id = &wanted[1].id;
    let one = zlayer(["logs", "--data-dir", data, "--request", id]).stdout;
    assert!(
        one.contains(&format!(
            " INFO  access: [{id}] 127.0.0.1 - - \"GET /page/1 "
        )),
        "{one}"
    );
    let json = precompile(["logs", "--access", "--json", data]).stdout;
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["target"], "access");
    assert_eq!(first["request"], *wanted[0].id);
}

#[test]
fn many_lines_erase_nothing_of_others_from_the_ring() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("hello")
        .args(["--access-log", "ring"])
        .data_dir(folder.path())
        .start();
    let mut client = Client::over(TcpStream::connect(daemon.addr()).unwrap());
    // More than the ring takes in a minute.
    let (path, agent) = ("x".repeat(2000), "\"".repeat(120));
    for _ in 0..600 {
        client.send(format!(
            "GET /{path} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n"
        ));
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(daemon.stop(), 0);
    let data = folder.path().to_str().unwrap();
    let shown = zlayer(["logs", "--data-dir", data]).stdout;
    for part in [" serves on http://", "zlayer_runtime::daemon: stopped"] {
        assert!(shown.contains(part), "{part}");
    }
    let lines = shown.lines().filter(|line| line.contains(" access: "));
    assert!(lines.count() > 100);
}

#[test]
fn a_ring_that_is_not_there_is_refused_by_name() {
    let refused = Daemon::builder("hello")
        .args(["--access-log", "ring"])
        .fails();
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("--access-log") && refused.stderr.contains("--data-dir"),
        "{refused:?}"
    );
    let wrong = Daemon::builder("hello")
        .args(["--access-log", "file"])
        .fails();
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("stdout, ring, both"), "{wrong:?}");
}
