//! Who gets a place when all are taken, and what the owner of the device is told.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};
use zlayer_bench::attack::connect_from;

use crate::support::{Client, Daemon, PATIENCE, TempDir, ask, eventually, get};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Two addresses of the loopback network.
const MANY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn connect(daemon: &Daemon, from: Ipv4Addr) -> Client {
    Client::over(stream(daemon, from))
}

fn stream(daemon: &Daemon, from: Ipv4Addr) -> TcpStream {
    connect_from(from, daemon.addr().port(), false).unwrap()
}

fn status(folder: &TempDir) -> serde_json::Value {
    serde_json::from_str(&ask(folder, "/status").text()).unwrap()
}

/// How many lines of the log hold `needle`.
fn told(daemon: &Daemon, needle: &str) -> usize {
    daemon
        .log()
        .lines()
        .filter(|line| line.contains(needle))
        .count()
}

#[test]
fn idle_connections_go_where_descriptors_run_out_and_one_warning_tells() {
    let daemon = Daemon::builder("hello").after("ulimit -n 48").start();
    let mut held = Vec::new();
    for number in 0..60 {
        let mut client = Client::connect(&daemon);
        client.send(GET);
        assert_eq!(client.read_response().status, 200, "connection {number}");
        held.push(client);
    }
    assert_eq!(told(&daemon, "cannot accept connections"), 1);
    assert_eq!(told(&daemon, "LimitNOFILE="), 1, "{}", daemon.log());
}

#[test]
fn a_burst_of_connections_is_let_in_at_once_and_all_of_it_is_served() {
    const BURST: usize = 500;
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    assert!(
        most.trim().parse::<usize>().unwrap() > BURST,
        "of this machine: {most}"
    );
    let daemon = Daemon::start("hello");
    // It accepts nothing meanwhile: the kernel lets in as many as the backlog holds, and would have the
    // others try again after a second, and then after two.
    daemon.signal(19);
    let mut burst = Vec::new();
    for _ in 0..BURST {
        let address = daemon.addr();
        let connected = TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let mut client = Client::over(connected.unwrap());
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        burst.push(client);
    }
    daemon.signal(18);
    for client in &mut burst {
        assert_eq!(client.read_response().status, 200);
    }
}

#[test]
fn who_floods_connections_that_are_over_gives_them_up() {
    let daemon = Daemon::builder("hello")
        .args(["--max-connections", "2"])
        .start();
    let flood = || {
        let mut stream = stream(&daemon, MANY);
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        thread::spawn(move || while stream.write_all(&[0; 64 << 10]).is_ok() {})
    };
    let floods = [flood(), flood()];
    let mut other = connect(&daemon, FEW);
    other.send(GET);
    assert_eq!(other.read_response().status, 200);
    drop(daemon);
    for flood in floods {
        flood.join().unwrap();
    }
}

#[test]
fn a_websocket_gives_its_place_to_an_address_that_has_none() {
    let daemon = Daemon::builder("websocket-echo")
        .with("hello")
        .args(["--max-connections", "2"])
        .start();
    let mut sockets: Vec<_> = (0..2)
        .map(|_| {
            let stream = stream(&daemon, MANY);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let request = format!("ws://{}/", daemon.addr())
                .into_client_request()
                .unwrap();
            let (mut socket, _) = tungstenite::client(request, stream).unwrap();
            socket.send(Message::text("here")).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text("here"));
            socket
        })
        .collect();
    let mut other = connect(&daemon, FEW);
    other.send(GET);
    assert_eq!(other.read_response().status, 200);
    // The one that was silent for longest is told why, the other one goes on.
    match sockets[0].read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Again),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        sockets[0].read(),
        Err(Error::ConnectionClosed | Error::Io(_))
    ));
    sockets[1].send(Message::text("still")).unwrap();
    assert_eq!(sockets[1].read().unwrap(), Message::text("still"));
    // Now each has one, and neither takes the other's.
    let mut third = connect(&daemon, FEW);
    third.send(GET);
    assert_eq!(third.read_response().status, 200);
    assert!(other.is_closed(), "its own idle one goes");
    sockets[1].send(Message::text("and still")).unwrap();
    assert_eq!(sockets[1].read().unwrap(), Message::text("and still"));
}

#[test]
fn instances_of_uploads_that_do_not_end_go_to_other_addresses() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("echo")
        .args(["--max-instances", "2", "--data-dir"])
        .arg(folder.path())
        .timeout("request", "1000")
        .timeout("stall", "1000")
        .start();
    let mut uploads: Vec<_> = (0..2)
        .map(|_| {
            let mut upload = connect(&daemon, MANY);
            upload.send(
                "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome",
            );
            upload
        })
        .collect();
    eventually("all instances at work", || {
        status(&folder)["plugins"][0]["instances"]["running"] == 2
    });
    // As soon as they have been slow for a while.
    let mut other = connect(&daemon, FEW);
    other.send("GET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(other.read_response().body, [0]);
    let mut displaced = None;
    eventually("an upload that is told", || {
        displaced = uploads.iter().position(Client::has_news);
        displaced.is_some()
    });
    let response = uploads.remove(displaced.unwrap()).read_response();
    assert_eq!((response.status, response.keep_alive), (503, false));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(response.text().contains("share"), "{response:?}");
}

#[test]
fn memory_that_is_used_up_before_places_are_is_kept_for_others() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("websocket-echo")
        .with("echo")
        .args(["--data-dir"])
        .arg(folder.path())
        .start();
    let ask = |client: &mut Client| {
        client.send("GET /download?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.read_response().body
    };
    let mut other = connect(&daemon, FEW);
    assert_eq!(ask(&mut other), [0]);
    // More than there are instances, each for a response that is not read.
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let stream = connect_from(MANY, daemon.addr().port(), true).unwrap();
            let mut reader = Client::over(stream);
            reader.send("GET /download?bytes=10000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            reader
        })
        .collect();
    // Those that have one or wait for memory hold all places but the last.
    let mut places = (0, 0);
    eventually("responses that wait for their readers", || {
        let instances = status(&folder)["plugins"][1]["instances"].clone();
        places = ["running", "max"]
            .map(|name| instances[name].as_u64().unwrap())
            .into();
        places.0 + 1 == places.1
    });
    for _ in 0..5 {
        assert_eq!(ask(&mut other), [0]);
        // Its own instance is there for a moment after its response.
        eventually("the end of its work", || {
            status(&folder)["plugins"][1]["instances"]["running"] == places.0
        });
    }
    // Nobody had to give anything up for that.
    assert_eq!(told(&daemon, "others needed"), 0, "{}", daemon.log());
    drop(readers);
}

#[test]
fn who_leaves_while_it_waits_for_an_instance_leaves_nothing_behind() {
    const UPLOAD: &str =
        "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome";
    let folder = TempDir::new();
    let daemon = Daemon::builder("echo")
        .args(["--max-instances", "1", "--data-dir"])
        .arg(folder.path())
        .timeout("request", "1000")
        .timeout("stall", "1000")
        .start();
    let mut first = connect(&daemon, MANY);
    first.send(UPLOAD);
    eventually("an instance at work", || {
        status(&folder)["plugins"][0]["instances"]["running"] == 1
    });
    let waiting: Vec<_> = (10..30)
        .map(|last| {
            let mut upload = connect(&daemon, Ipv4Addr::new(127, 0, 0, last));
            upload.send(UPLOAD);
            upload
        })
        .collect();
    eventually("all that wait", || status(&folder)["connections"] == 21);
    drop(waiting);
    // None of them has had the instance, which is still at work for the first.
    eventually("their end", || status(&folder)["connections"] == 1);
    assert!(!first.has_news());
    assert_eq!(status(&folder)["plugins"][0]["instances"]["running"], 1);
}

#[test]
fn a_body_has_an_end_however_steadily_it_comes() {
    let daemon = Daemon::builder("stages").timeout("upload", "1s").start();
    let mut client = Client::connect(&daemon);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Far more than any client is bound to bring.
    while !client.has_news() {
        let _ = client.try_send("400\r\n");
        let _ = client.try_send([b'x'; 0x400]);
        let _ = client.try_send("\r\n");
        std::thread::sleep(Duration::from_millis(5));
    }
    let response = client.read_response();
    assert_eq!((response.status, response.keep_alive), (408, false));
}

#[test]
fn more_connections_than_the_memory_holds_are_warned_of() {
    let daemon = Daemon::builder("hello")
        .args(["--max-connections", "1100", "--memory-max", "64Mi"])
        .start();
    daemon.wait_for_log("--max-connections 1100: there are ");
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("--max-connections 1100"));
    let line = line.unwrap();
    assert!(
        line.contains("WARN") && line.contains("raise --memory-max 64Mi to "),
        "{line}"
    );
    // Nobody asked for the default, where there is less room than that.
    let daemon = Daemon::builder("hello")
        .args(["--memory-max", "16Mi"])
        .start();
    daemon.wait_for_log("--max-connections 192: there are ");
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("--max-connections 192"));
    assert!(line.unwrap().contains("INFO"), "{log}");
}

#[test]
fn fewer_instances_than_wanted_are_told_at_the_start_and_in_the_status() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("hello")
        .args([
            "--memory-max",
            "32Mi",
            "--max-instances",
            "100",
            "--data-dir",
        ])
        .arg(folder.path())
        .start();
    daemon.wait_for_log("plugin hello: the memory allows ");
    assert_eq!(get(&daemon, "/").status, 200);
    let status = status(&folder);
    let instances = &status["plugins"][0]["instances"];
    let max = instances["max"].as_u64().unwrap();
    assert!(max < 100, "{instances}");
    assert_eq!(instances["wanted"], 100);
    daemon.wait_for_log(&format!(
        "the memory allows {max} instances at a time, of 100"
    ));
    let text = ask(&folder, "/status.txt").text();
    assert!(
        text.contains(&format!("at most {max}: the memory has no room for 100")),
        "{text}"
    );
}
