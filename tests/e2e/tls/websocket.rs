use std::net::TcpStream;

use tungstenite::{Message, WebSocket};

use super::proxy;
use super::server::{OK, Server, read_head};
use crate::support::{Daemon, PATIENCE};

fn open(daemon: &Daemon) -> Result<WebSocket<TcpStream>, String> {
    let stream = TcpStream::connect(daemon.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let opened = tungstenite::client(format!("ws://{}/", daemon.addr()), stream);
    opened
        .map(|(socket, _)| socket)
        .map_err(|error| error.to_string())
}

/// An upstream that says back what it hears.
fn echo() -> Server {
    Server::start("server.pem", |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
    })
}

#[test]
fn a_conversation_goes_on_over_tls() {
    let upstream = echo();
    for guest in [None, Some("stage-websocket")] {
        let mut daemon = proxy(upstream.port);
        if let Some(guest) = guest {
            daemon = daemon.with(guest);
        }
        let daemon = daemon.start();
        let mut socket = open(&daemon).unwrap();
        for size in [0, 1, 16_384, 1 << 20] {
            let message = Message::text("x".repeat(size));
            socket.send(message.clone()).unwrap();
            assert!(socket.read().unwrap() == message, "{guest:?}: {size}");
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
}

#[test]
fn a_message_larger_than_what_sockets_hold_goes_there_and_back() {
    let upstream = echo();
    let daemon = proxy(upstream.port)
        .args(["--max-message", "16Mi", "--memory-max", "128Mi"])
        .start();
    let mut socket = open(&daemon).unwrap();
    let message = Message::binary(vec![7; 16 << 20]);
    // The daemon takes it whole before it passes it on.
    socket.send(message.clone()).unwrap();
    assert!(socket.read().unwrap() == message);
}

#[test]
fn one_that_is_not_trusted_is_502_and_one_that_is_no_websocket_answers_for_itself() {
    let expired = Server::start("expired.pem", |_| panic!("somebody trusts it"));
    let daemon = proxy(expired.port).start();
    let said = open(&daemon).err().unwrap();
    assert!(said.contains("502"), "{said}");
    daemon.wait_for_log("certificate expired");
    let plain = Server::start("server.pem", |mut stream| {
        read_head(&mut stream);
        let _ = std::io::Write::write_all(&mut stream, OK.as_bytes());
    });
    let daemon = proxy(plain.port).start();
    let said = open(&daemon).err().unwrap();
    assert!(said.contains("200"), "{said}");
}
