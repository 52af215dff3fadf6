//! Bodies that a transformer was to see: shown whole, or not passed on at all.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::{proxy_with, read_head, upstream};
use crate::support::{
    Builder, Client, Daemon, PATIENCE, TempDir, artifact, get, guests, key_file, precompile,
    request, target,
};

/// A daemon that forwards everything to `to`, past a transformer. Nothing waits for its time-out.
fn past_transformer(to: SocketAddr) -> Builder {
    proxy_with(to, "")
        .with("stage-transformer")
        .timeout("request", "10m")
}

/// An upstream that begins its response with this and stays connected.
fn beginning(start: String) -> SocketAddr {
    let script = move |mut stream: std::net::TcpStream| {
        read_head(&mut stream);
        let _ = stream.write_all(start.as_bytes());
        // The connection ends when the daemon closes it.
        let _ = stream.read(&mut [0]);
    };
    upstream(script).0
}

/// Asks for `/`, is told 502 at once, and finds in the log who could not be shown the body and why.
fn refused(daemon: &Daemon, why: &str) {
    let answer = get(daemon, "/");
    assert_eq!(answer.status, 502, "{why}: {answer:?}");
    let id = answer.header("x-request-id").unwrap();
    daemon.wait_for_log(why);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(why)).unwrap();
    for part in [
        &format!("[{id}]"),
        "transform by plugin stage-transformer: ",
        "`wasm.bodies: request` in the service stage-transformer",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn what_streams_without_end_fails_at_once_or_passes_where_it_is_spared() {
    for told in [
        "Content-Type: text/event-stream",
        "Content-Type: Text/Event-Stream; charset=utf-8",
        "Content-Type: multipart/x-mixed-replace;boundary=a",
        "Content-Type: application/json\r\nX-Accel-Buffering: no",
    ] {
        let start = format!(
            "HTTP/1.1 200 OK\r\n{told}\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
        );
        let daemon = past_transformer(beginning(start.clone())).start();
        refused(&daemon, "streams without end");
        for bodies in ["request", "none"] {
            let setting = format!("stage-transformer:bodies={bodies}");
            let daemon = past_transformer(beginning(start.clone()))
                .plugin(&setting)
                .start();
            let mut client = Client::connect(&daemon);
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.read_head().unwrap().status, 200);
            assert_eq!(client.read_chunk().unwrap().unwrap(), b"data: 1\n\n");
        }
    }
}

#[test]
fn what_may_not_be_held_back_and_has_a_length_is_shown() {
    let start = "HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\nok";
    let daemon = past_transformer(beginning(start.to_owned()))
        .args(["--config", "test.response-body=upper"])
        .start();
    let answer = get(&daemon, "/");
    assert_eq!((answer.status, answer.text()), (200, "OK".to_owned()));
}

#[test]
fn what_is_too_long_fails_as_soon_as_that_is_known() {
    let long = 1_048_577;
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {long}\r\n\r\n");
    let unannounced = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{long:x}\r\n{}",
        "x".repeat(long)
    );
    for start in [announced, unannounced] {
        let daemon = past_transformer(beginning(start)).start();
        refused(&daemon, "is longer than 1048576 bytes (--max-body)");
    }
}

#[test]
fn what_trickles_is_named_before_the_time_is_up() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let daemon = proxy_with(beginning(start.to_owned()), "")
        .with("stage-transformer")
        .timeout("request", "3s")
        .start();
    refused(&daemon, "does not come to its end in time");
}

/// An upstream that says this to everything, and tells what it was asked.
fn saying(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let (to, _) = upstream(move |mut stream| {
        let _ = tell.send(read_head(&mut stream));
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.read(&mut [0]);
    });
    (to, told)
}

const GZIP: &str = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz";
const RANGE: &str = "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip, br\r\nRange: bytes=0-1\r\n\
                     If-Range: \"a\"\r\nConnection: close\r\n\r\n";

#[test]
fn what_is_compressed_is_never_taken_for_text() {
    let (to, told) = saying(GZIP);
    let daemon = past_transformer(to).start();
    refused(&daemon, "is encoded (gzip)");
    assert!(
        told.recv_timeout(PATIENCE)
            .unwrap()
            .contains("\r\nAccept-Encoding: identity\r\n")
    );
    // Nobody asks for what could not be shown, be it compressed or a part.
    let mut client = Client::connect(&daemon);
    client.send(RANGE);
    assert_eq!(client.read_response().status, 502);
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.contains("\r\nAccept-Encoding: identity\r\n"), "{seen}");
    assert!(!seen.contains("Range"), "{seen}");

    let (to, told) = saying(GZIP);
    let daemon = past_transformer(to)
        .plugin("stage-transformer:bodies=request")
        .start();
    let mut client = Client::connect(&daemon);
    client.send(RANGE);
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text()), (200, "zzzz".to_owned()));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.contains("\r\nAccept-Encoding: gzip, br\r\n"), "{seen}");
    assert!(seen.contains("\r\nRange: bytes=0-1\r\n"), "{seen}");
}

#[test]
fn identity_is_no_compression() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok";
    let daemon = past_transformer(saying(plain).0)
        .args(["--config", "test.response-body=upper"])
        .start();
    let answer = get(&daemon, "/");
    assert_eq!((answer.status, answer.text()), (200, "OK".to_owned()));
}

#[test]
fn a_compressed_upload_is_refused_unless_it_is_spared() {
    let fields = [("Content-Encoding", "gzip")];
    let daemon = past_transformer(saying(super::OK).0).start();
    for _ in 0..2 {
        let answer = request(&daemon, "POST", "/", &fields, b"zzzz");
        assert_eq!(answer.status, 415, "{answer:?}");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    let said = "transform by plugin stage-transformer: the body is encoded (gzip)";
    daemon.wait_for_log(said);
    assert!(
        daemon
            .log()
            .contains("`wasm.bodies: response` in its service spares it")
    );
    assert_eq!(
        daemon.log().matches("said once").count(),
        1,
        "{}",
        daemon.log()
    );
    let daemon = past_transformer(saying(super::OK).0)
        .plugin("stage-transformer:bodies=response")
        .start();
    let answer = request(&daemon, "POST", "/", &fields, b"zzzz");
    assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
}

#[test]
fn what_an_author_says_of_bodies_holds_unless_the_owner_says_otherwise() {
    let folder = TempDir::new();
    let build = |guest: &str, bodies: &str| {
        let source = guests().join(format!("{guest}.wasm"));
        let mut words: Vec<PathBuf> = vec!["build".into(), source];
        words.extend(["--target", target(), "--bodies", bodies, "-o"].map(PathBuf::from));
        words.extend([folder.path().to_owned(), "--key".into(), key_file()]);
        precompile(&words)
    };
    let bodies_of = |file: &Path| {
        let info = precompile(["info".into(), file.to_owned()]).stdout;
        let said = info.lines().find_map(|line| line.strip_prefix("bodies"));
        said.map(|bodies| bodies.trim().to_owned())
    };
    // Where the author says nothing a transformer takes both, and nobody else takes any.
    for (guest, bodies) in [("stage-transformer", Some("both")), ("hello", None)] {
        let told = bodies_of(&artifact(guest));
        assert_eq!(told.as_deref(), bodies, "{guest}");
    }
    let built = build("stage-transformer", "request");
    assert_eq!(built.code, 0, "{built:?}");
    let file = folder
        .path()
        .join(format!("stage-transformer.{}.cwasm", target()));
    assert_eq!(bodies_of(&file).as_deref(), Some("request"));
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n";
    for (setting, status) in [(None, 200), (Some("both"), 502), (Some("none"), 200)] {
        let mut daemon = proxy_with(saying(start).0, "").with_file(&file);
        if let Some(setting) = setting {
            daemon = daemon.plugin(&format!("stage-transformer:bodies={setting}"));
        }
        let answer = get(&daemon.start(), "/");
        assert_eq!(answer.status, status, "{setting:?}: {answer:?}");
    }
    // It means nothing for a plugin that is no transformer.
    let built = build("hello", "none");
    assert!(
        built.code != 0 && built.stderr.contains("--bodies is for a transformer"),
        "{built:?}"
    );
}
