use std::io::{Read, Write, copy, sink};
use std::net::Ipv4Addr;
use std::thread;

use zlayer_bench::attack::connect_from;

use super::Files;
use super::client::get;
use crate::support::{Client, Daemon, ask_raw, request};

#[test]
fn whatever_comes_without_tls_is_sent_to_the_same_place_over_it() {
    let files = Files::new();
    let daemon = files
        .serve(Daemon::builder("hello"), &["first"])
        .arg("--redirect-http")
        .start();
    let port = daemon.https().port();
    for (method, target, host, place) in [
        (
            "GET",
            "/a/b?c=d",
            "device.local",
            format!("https://device.local:{port}/a/b?c=d"),
        ),
        (
            "HEAD",
            "/",
            "device.local:8080",
            format!("https://device.local:{port}/"),
        ),
        ("POST", "/", "[::1]:8080", format!("https://[::1]:{port}/")),
        ("OPTIONS", "*", "h", format!("https://h:{port}/")),
    ] {
        let answer = request(&daemon, method, target, &[("host", host)], b"");
        assert_eq!(answer.status, 308, "{answer:?}");
        assert_eq!(answer.header("location"), Some(&*place));
    }
    // The method stays, and so does the connection where nothing is in the way.
    let mut client = Client::connect(&daemon);
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = client.read_response();
        assert!(answer.status == 308 && answer.keep_alive, "{answer:?}");
    }
    let answer = request(&daemon, "POST", "/", &[], &[b'x'; 300_000]);
    assert!(answer.status == 308 && !answer.keep_alive, "{answer:?}");
    // Over TLS it is served.
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn who_never_stops_being_redirected_gives_its_place_up() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let files = Files::new();
    let daemon = files
        .serve(Daemon::builder("hello"), &["first"])
        .args(["--redirect-http", "--max-connections", "1"])
        .start();
    let connect = |end| {
        let address = Ipv4Addr::new(127, 0, 0, end);
        connect_from(address, daemon.addr().port(), false).unwrap()
    };
    let mut greedy = connect(2);
    let mut answers = greedy.try_clone().unwrap();
    let asking =
        thread::spawn(move || while greedy.write_all(GET.repeat(100).as_bytes()).is_ok() {});
    let mut status = [0; 12];
    answers.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 308");
    let reading = thread::spawn(move || copy(&mut answers, &mut sink()));
    let mut other = Client::over(connect(3));
    other.send(GET);
    assert_eq!(other.read_response().status, 308);
    asking.join().unwrap();
    // It ends with the last answer, or with a reset: requests were on their way.
    let _ = reading.join().unwrap();
}

#[test]
fn the_admin_interface_is_not_concerned() {
    let files = Files::new();
    let data = crate::support::TempDir::new();
    let daemon = files.serve(Daemon::builder("hello"), &["first"]);
    let _daemon = daemon.arg("--redirect-http").data_dir(data.path()).start();
    let answer = ask_raw(data.path(), b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(answer.status, 200, "{answer:?}");
}
