use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::{client, trusting};
use crate::https::Files;
use crate::https::client::{any_version, begin, read_response};
use crate::support::{Client, Daemon};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: h\r\nx-test-middleware: seen\r\n\r\n";

/// A header of version 2 for 192.0.2.1:4444, with these fields behind the addresses.
fn version_2(command: u8, fields: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11]);
    header.extend((12 + fields.len() as u16).to_be_bytes());
    header.extend([192, 0, 2, 1, 127, 0, 0, 1, 0x11, 0x5c, 0, 80]);
    header.extend(fields);
    header
}

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.1 127.0.0.1 4444 80\r\n";

#[test]
fn both_versions_say_whose_connection_it_is() {
    let daemon = trusting("stages").arg("--proxy-protocol").start();
    let long = version_2(1, &[&[0xe0, 7, 0][..], &[0; 0x700]].concat());
    for header in [
        VERSION_1,
        &version_2(1, b""),
        &version_2(1, &[4, 0, 1, 0]),
        &long,
    ] {
        let mut connection = Client::connect(&daemon);
        // Together with a request, and more than one of them.
        connection.send([header, REQUEST.as_bytes(), REQUEST.as_bytes()].concat());
        for _ in 0..2 {
            let (context, metadata) = client(&connection.read_response());
            assert_eq!((&*context, &*metadata), ("192.0.2.1", "192.0.2.1 4444"));
        }
        // In as many pieces as there are bytes.
        let mut connection = Client::connect(&daemon);
        for byte in header.iter().take(300) {
            connection.send([*byte]);
        }
        connection.send(header.get(300..).unwrap_or_default());
        connection.send(REQUEST);
        assert_eq!(client(&connection.read_response()).0, "192.0.2.1");
    }
}

#[test]
fn a_connection_of_the_proxys_own_has_its_address() {
    let daemon = trusting("stages").arg("--proxy-protocol").start();
    for header in [&b"PROXY UNKNOWN\r\n"[..], &version_2(0, b"")] {
        let mut connection = Client::connect(&daemon);
        connection.send([header, REQUEST.as_bytes()].concat());
        assert_eq!(client(&connection.read_response()).0, "127.0.0.1");
    }
}

#[test]
fn what_the_client_writes_in_its_fields_is_not_believed_behind_it() {
    let daemon = trusting("stages").arg("--proxy-protocol").start();
    let mut connection = Client::connect(&daemon);
    connection.send(VERSION_1);
    connection.send(REQUEST.replace(
        "host: h",
        "host: h\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https",
    ));
    let answer = connection.read_response();
    assert_eq!(client(&answer).0, "192.0.2.1");
    assert!(
        !answer.text().contains("context scheme"),
        "{}",
        answer.text()
    );
    // A proxy behind it, which is trusted itself, is.
    let mut connection = Client::connect(&daemon);
    connection.send("PROXY TCP4 127.0.0.5 127.0.0.1 4444 80\r\n");
    connection.send(REQUEST.replace("host: h", "host: h\r\nx-forwarded-for: 203.0.113.9"));
    assert_eq!(client(&connection.read_response()).0, "203.0.113.9");
}

#[test]
fn a_client_that_spoke_tls_with_the_load_balancer_is_told_to_have() {
    let daemon = trusting("stages").arg("--proxy-protocol").start();
    let mut connection = Client::connect(&daemon);
    connection.send(version_2(1, &[0x20, 0, 5, 1, 0, 0, 0, 0]));
    connection.send(REQUEST);
    assert!(
        connection
            .read_response()
            .text()
            .contains("context scheme: https\n")
    );
}

#[test]
fn a_connection_without_a_header_is_closed_and_told_of() {
    let daemon = trusting("hello").arg("--proxy-protocol").start();
    for (bytes, reason) in [
        (
            REQUEST.as_bytes(),
            "does not begin with a PROXY header; see --proxy-protocol",
        ),
        (
            b"PROXY TCP4 192.0.2.1 127.0.0.1 99999 80\r\n",
            "has a malformed port",
        ),
        (&b"PROXY TCP4 ".repeat(20), "is too long"),
        (&version_2(1, &[4, 9, 9]), "is longer than the header"),
    ] {
        let mut connection = Client::connect(&daemon);
        connection.send(bytes);
        assert!(connection.is_closed(), "{reason}");
        daemon.wait_for_log(reason);
    }
    // One that is not whole has the time of a head.
    let slow = trusting("hello")
        .arg("--proxy-protocol")
        .timeout("head", "1s")
        .start();
    for bytes in [&b""[..], b"PROXY TCP4 192.0.2.1", &version_2(1, b"")[..20]] {
        let mut connection = Client::connect(&slow);
        connection.send(bytes);
        assert!(connection.is_closed());
    }
}

#[test]
fn nobody_else_is_believed() {
    let daemon = Daemon::builder("stages")
        .args(["--proxy-protocol", "--trusted-proxy", "10.0.0.0/8"])
        .start();
    for header in [VERSION_1, &version_2(1, b"")] {
        let mut connection = Client::connect(&daemon);
        connection.send([header, REQUEST.as_bytes()].concat());
        connection.shutdown_write();
        let told = String::from_utf8(connection.read_to_end()).unwrap();
        assert!(
            told.starts_with("HTTP/1.1 400 ") && told.matches("HTTP/1.1 ").count() == 1,
            "{told}"
        );
    }
    let mut connection = Client::connect(&daemon);
    connection.send(REQUEST);
    assert_eq!(client(&connection.read_response()).0, "127.0.0.1");
}

#[test]
fn tls_begins_behind_it() {
    let files = Files::new();
    let daemon = files
        .serve(trusting("stages"), &["first"])
        .arg("--proxy-protocol")
        .start();
    for header in [VERSION_1, &version_2(1, b"")] {
        let mut socket = TcpStream::connect(daemon.https()).unwrap();
        socket.write_all(header).unwrap();
        let mut stream = begin(socket, "localhost", &any_version()).unwrap();
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let text = read_response(&mut stream).text();
        assert!(text.contains("context client_ip: 192.0.2.1\n"), "{text}");
        assert!(text.contains("context scheme: https\n"), "{text}");
    }
    let socket = TcpStream::connect(daemon.https()).unwrap();
    assert!(begin(socket, "localhost", &any_version()).is_err());
    let socket = TcpStream::connect(daemon.https()).unwrap();
    socket.shutdown(Shutdown::Both).unwrap();
}
