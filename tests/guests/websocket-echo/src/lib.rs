//! Says back what a WebSocket's client says: the peer that the Autobahn cases want.
//!
//! Texts and bytes go back as they came, a ping is answered with a pong, a pong with nothing. What
//! comes from an upstream goes on.

wit_bindgen::generate!({ world: "zlayer-websocket", path: "../../../wit", generate_all });

use exports::zlayer::plugin::websocket::{Guest, Message, MessageType, UpgradeDecision};
use zlayer::plugin::common::KeyValue;

struct Echo;

impl Guest for Echo {
    fn on_upgrade(_path: String, _headers: Vec<KeyValue>) -> UpgradeDecision {
        UpgradeDecision::Accept
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

export!(Echo);
