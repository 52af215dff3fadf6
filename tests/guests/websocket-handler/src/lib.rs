//! The plugin guide's WebSocket handler: conversations below `/ws/` for clients
//! that offer the subprotocol `auth-TOKEN`, which is then the one selected.
//!
//! A token is good when it is the secret `ws_token`, or when the store holds
//! the key `ws-token:TOKEN` (with a time to live, a token for a while).
//!
//! The guide writes it under `zlayer-plugin`, which exports the handler alone.
//! `zlayer-websocket` is the world whose export it is.

wit_bindgen::generate!({ world: "zlayer-websocket", path: "../../../wit", generate_all });

use exports::zlayer::plugin::websocket::{Guest, Message, MessageType, UpgradeDecision};
use support::same;
use zlayer::plugin::common::KeyValue;
use zlayer::plugin::{keyvalue, logging, secrets};

const PROTOCOL: &str = "sec-websocket-protocol";

struct WebSocketHandler;

impl Guest for WebSocketHandler {
    fn on_upgrade(path: String, headers: Vec<KeyValue>) -> UpgradeDecision {
        if !path.starts_with("/ws/") {
            return UpgradeDecision::Reject((404, "WebSocket endpoint not found".to_owned()));
        }
        let offered = headers.iter().filter(|field| field.key == PROTOCOL);
        let token = offered
            .flat_map(|field| field.value.split(','))
            .find_map(|protocol| protocol.trim().strip_prefix("auth-"));
        match token {
            Some(token) if is_good(token) => UpgradeDecision::AcceptWithHeaders(vec![KeyValue {
                key: PROTOCOL.to_owned(),
                value: format!("auth-{token}"),
            }]),
            _ => UpgradeDecision::Reject((401, "Invalid or missing authentication".to_owned())),
        }
    }

    fn on_client_message(message: Message) -> Option<Message> {
        match message.msg_type {
            MessageType::Text => {
                let text = String::from_utf8_lossy(&message.data);
                logging::debug(&format!("Client message: {text}"));
                Some(message)
            }
            MessageType::Ping => Some(Message {
                msg_type: MessageType::Pong,
                data: message.data,
            }),
            MessageType::Close => {
                logging::info("Client initiated close");
                Some(message)
            }
            MessageType::Binary | MessageType::Pong => Some(message),
        }
    }

    fn on_upstream_message(message: Message) -> Option<Message> {
        Some(message)
    }
}

fn is_good(token: &str) -> bool {
    let secret = secrets::get("ws_token").ok().flatten();
    secret.is_some_and(|secret| same(secret.as_bytes(), token.as_bytes()))
        || keyvalue::exists(&format!("ws-token:{token}"))
}

export!(WebSocketHandler);
