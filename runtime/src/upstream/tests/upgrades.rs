//! Connections that turn to another protocol.

use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::upstream::{Upgrade, UpstreamError};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                      Sec-WebSocket-Accept: x\r\n\r\n";

fn wish() -> http::request::Parts {
    let fields = [
        ("host", "h"),
        ("connection", "keep-alive, upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "k"),
    ];
    request("GET", &fields, empty()).into_parts().0
}

#[test]
fn a_switched_connection_is_handed_over_with_all_that_came() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        let head = peer.answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{SWITCH}first"));
        assert_eq!(peer.read_until("."), "hello.");
        peer.send("world.");
        head
    });
    let (client, budget) = client(Settings::default());
    smol::block_on(async {
        let Upgrade::Done(mut upgraded) = client.upgrade(wish(), &to, "id").await.unwrap() else {
            panic!("it was not switched");
        };
        assert_eq!(upgraded.head.status, 101);
        assert_eq!(upgraded.head.headers["sec-websocket-accept"], "x");
        assert_eq!(upgraded.head.headers.len(), 1);
        assert!(b"first".starts_with(&upgraded.left_over));
        let mut rest = vec![0; 5 - upgraded.left_over.len()];
        upgraded.socket.read_exact(&mut rest).await.unwrap();
        assert_eq!([upgraded.left_over.clone(), rest].concat(), b"first");
        upgraded.socket.write_all(b"hello.").await.unwrap();
        let mut answer = [0; 6];
        upgraded.socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"world.");
        assert_eq!(client.counts(), (1, 0));
        assert!(budget.used() > 0);
        drop(upgraded);
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    });
    let expected = "GET /p?q HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k\r\nUpgrade: websocket\r\n\
                    Connection: upgrade\r\n\r\n";
    assert_eq!(served.join().unwrap(), expected);
}

#[test]
fn an_upstream_may_say_no() {
    let (to, served) = upstream(|listener| {
        let no = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        Peer::accept(&listener).answer(no)
    });
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        let Upgrade::Refused(response) = client.upgrade(wish(), &to, "id").await.unwrap() else {
            panic!("it was switched");
        };
        assert_eq!(response.status(), 403);
        assert_eq!(text(response).await, "no");
        assert_eq!(client.counts(), (1, 1));
    });
    served.join().unwrap();
}

#[test]
fn a_switch_to_something_else_is_refused() {
    for (from, to) in [
        ("WebSocket", "h2c"),
        ("Connection: Upgrade", "Connection: close"),
    ] {
        let answer = SWITCH.replace(from, to);
        let (to, _served) = upstream(move |listener| Peer::accept(&listener).answer(&answer));
        let (client, budget) = client(Settings::default());
        let ended = smol::block_on(client.upgrade(wish(), &to, "id"));
        assert!(matches!(ended, Err(UpstreamError::Switched)));
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    }
}
