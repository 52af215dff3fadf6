//! Conversations with plugins, over the client of the library tungstenite.

use std::net::TcpStream;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Bytes, Error, HandshakeError, Message, WebSocket};

use crate::support::{Daemon, PATIENCE};

/// The cases of the Autobahn suite.
mod autobahn;
/// The opening handshake: who gets in, with which headers.
mod handshake;
/// What becomes of messages, and of plugins that misbehave over them.
mod messages;
/// Conversations that are carried on to another server.
mod upstream;

pub(crate) type Socket = WebSocket<TcpStream>;

/// Asks for a WebSocket at `path` with more header fields.
fn try_open(
    daemon: &Daemon,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Result<(Socket, Response), Box<http_answer::Answer>> {
    let mut request = format!("ws://{}{path}", daemon.addr())
        .into_client_request()
        .unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(daemon.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    match tungstenite::client(request, stream) {
        Ok(opened) => Ok(opened),
        Err(HandshakeError::Failure(Error::Http(response))) => {
            Err(Box::new(http_answer::Answer::new(&response)))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Asks for a WebSocket that has to be granted.
pub(crate) fn open(daemon: &Daemon, path: &str, fields: &[(&'static str, &str)]) -> Socket {
    match try_open(daemon, path, fields) {
        Ok((socket, _)) => socket,
        Err(answer) => panic!("refused with {answer:?}"),
    }
}

/// The status and the text of a refusal.
mod http_answer {
    #[derive(Debug)]
    pub(super) struct Answer {
        pub(super) status: u16,
        pub(super) text: String,
    }

    impl Answer {
        pub(super) fn new(response: &tungstenite::http::Response<Option<Vec<u8>>>) -> Answer {
            let body = response.body().clone().unwrap_or_default();
            Answer {
                status: response.status().as_u16(),
                text: String::from_utf8(body).unwrap(),
            }
        }
    }
}

fn send(socket: &mut Socket, message: impl Into<Message>) {
    socket.send(message.into()).unwrap();
}

fn ping(payload: &'static [u8]) -> Message {
    Message::Ping(Bytes::from_static(payload))
}

fn pong(payload: &'static [u8]) -> Message {
    Message::Pong(Bytes::from_static(payload))
}

/// The next message.
fn next(socket: &mut Socket) -> Message {
    socket.read().unwrap()
}

/// Expects an echo.
pub(crate) fn echoes(socket: &mut Socket, text: &str) {
    send(socket, text);
    assert_eq!(next(socket), Message::text(text));
}

/// Reads until the other side closes, and answers its code; 1005 stands for none. The stream has
/// to end then as well.
pub(crate) fn closed(socket: &mut Socket) -> u16 {
    let code = loop {
        match next(socket) {
            Message::Close(frame) => break frame.map_or(1005, |frame| frame.code.into()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?} instead of a close"),
        }
    };
    let end = socket.read();
    assert!(matches!(end, Err(Error::ConnectionClosed)), "{end:?}");
    code
}

/// Closes with a code, and answers that of the other side.
fn close(socket: &mut Socket, code: u16) -> u16 {
    let reason = "done".into();
    let code = code.into();
    socket.close(Some(CloseFrame { code, reason })).unwrap();
    closed(socket)
}
