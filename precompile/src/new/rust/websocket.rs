//! A WebSocket plugin: says back what a client says, and counts how often.

zlayer_plugin::world!("zlayer-websocket");

use crate::common::KeyValue;
use crate::exports::websocket::{Guest, Message, MessageType, UpgradeDecision};

struct Plugin;

impl Guest for Plugin {
    fn on_upgrade(path: String, _headers: Vec<KeyValue>) -> UpgradeDecision {
        match path.starts_with("/ws") {
            true => UpgradeDecision::Accept,
            false => UpgradeDecision::Reject((404, "there is no WebSocket here\n".to_owned())),
        }
    }

    /// What is returned goes back to the client, or on to the upstream where a router chose one.
    fn on_client_message(message: Message) -> Option<Message> {
        if let MessageType::Text | MessageType::Binary = message.msg_type {
            crate::metrics::counter_inc("messages_total", 1);
        }
        Some(message)
    }

    fn on_upstream_message(message: Message) -> Option<Message> {
        Some(message)
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn messages_come_back_and_are_counted() {
        let host = Host::new();
        let answer = Plugin::on_client_message(Message {
            msg_type: MessageType::Text,
            data: b"hello".to_vec(),
        });
        assert!(answer.is_some_and(|answer| answer.data == b"hello"));
        assert_eq!(host.counter("messages_total", &[]), 1);
    }

    #[test]
    fn other_paths_have_no_websocket() {
        let decision = Plugin::on_upgrade("/".to_owned(), vec![]);
        assert!(matches!(decision, UpgradeDecision::Reject((404, _))));
    }
}
