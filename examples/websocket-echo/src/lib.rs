//! **WebSocket** (`zlayer:plugin/websocket`): says back what a client says.
//!
//! The host calls `on-upgrade` when a client asks for a WebSocket: `Accept`, `AcceptWithHeaders`
//! (such as the subprotocol that was chosen) or `Reject` with a status and a text. From then on it
//! calls `on-client-message` for each message of the client, one at a time and in order. What the
//! function returns goes back to the client, or on to the upstream where a router named one; `None`
//! drops the message. `on-upstream-message` is the same for what the upstream says.
//!
//! Of the subprotocols that a client offers it chooses the first. It reads no configuration and no
//! secrets. With `hello` behind it, other requests are served too.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ cd target/wasm32-wasip2/release
//! $ zlayer run --wasm websocket_echo.wasm --port 8080
//! $ curl -i -H 'connection: upgrade' -H 'upgrade: websocket' -H 'sec-websocket-version: 13' \
//!       -H 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==' http://localhost:8080/
//! HTTP/1.1 101 Switching Protocols
//! sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//! ...
//! ```
//!
//! curl shows the handshake and then waits. To talk, use a client such as `websocat
//! ws://localhost:8080/`: each line that you type comes back.

zlayer_plugin::world!("zlayer-websocket");

use crate::common::KeyValue;
use crate::exports::websocket::{Guest, Message, MessageType, UpgradeDecision};

const PROTOCOL: &str = "sec-websocket-protocol";

struct Echo;

impl Guest for Echo {
    fn on_upgrade(_path: String, headers: Vec<KeyValue>) -> UpgradeDecision {
        match offered(&headers) {
            Some(protocol) => UpgradeDecision::AcceptWithHeaders(vec![KeyValue {
                key: PROTOCOL.to_owned(),
                value: protocol.to_owned(),
            }]),
            None => UpgradeDecision::Accept,
        }
    }

    fn on_client_message(message: Message) -> Option<Message> {
        match message.msg_type {
            MessageType::Ping => Some(Message {
                msg_type: MessageType::Pong,
                data: message.data,
            }),
            MessageType::Pong => None,
            MessageType::Text | MessageType::Binary | MessageType::Close => Some(message),
        }
    }

    fn on_upstream_message(message: Message) -> Option<Message> {
        Some(message)
    }
}

/// The first subprotocol that the client offers: this one speaks any. A browser that offers some gives
/// up where none of them is chosen.
fn offered(headers: &[KeyValue]) -> Option<&str> {
    let offers = headers.iter().filter(|field| field.key == PROTOCOL);
    let mut protocols = offers
        .flat_map(|field| field.value.split(','))
        .map(str::trim);
    protocols.find(|protocol| !protocol.is_empty())
}

export!(Echo);
