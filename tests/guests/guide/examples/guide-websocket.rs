//! The paths of the guide's WebSocket plugin. Its world there, `zlayer-plugin`, exports no WebSockets:
//! that of `zlayer-websocket` stands here. `Reject` holds a pair.

wit_bindgen::generate!({
    world: "zlayer-websocket",
    path: "../wit",
});

use crate::common::KeyValue;
use crate::exports::websocket::{Guest, Message, MessageType, UpgradeDecision};

struct Shout;

impl Guest for Shout {
    fn on_upgrade(path: String, headers: Vec<KeyValue>) -> UpgradeDecision {
        if !path.starts_with("/ws/") {
            return UpgradeDecision::Reject((404, "no conversations here".to_string()));
        }
        match headers.iter().find(|h| h.key == "sec-websocket-protocol") {
            Some(offered) => UpgradeDecision::AcceptWithHeaders(vec![offered.clone()]),
            None => UpgradeDecision::Accept,
        }
    }

    fn on_client_message(message: Message) -> Option<Message> {
        match message.msg_type {
            MessageType::Text => {
                let text = String::from_utf8_lossy(&message.data);
                crate::logging::debug(&format!("a client says {text}"));
                Some(Message {
                    msg_type: MessageType::Text,
                    data: text.to_uppercase().into_bytes(),
                })
            }
            MessageType::Binary => None,
            _ => Some(message),
        }
    }

    fn on_upstream_message(message: Message) -> Option<Message> {
        Some(message)
    }
}

export!(Shout);

#[cfg(test)]
mod tests {
    use super::*;
    use wit_bindgen::double::Host;

    #[test]
    fn text_comes_back_loud_and_bytes_do_not() {
        let host = Host::new().config("LOG_LEVEL", "debug");
        let say = |msg_type| {
            let data = b"hey".to_vec();
            Shout::on_client_message(Message { msg_type, data })
        };
        assert!(say(MessageType::Text).is_some_and(|message| message.data == b"HEY"));
        assert!(say(MessageType::Binary).is_none());
        assert_eq!(host.logged()[0].message, "a client says hey");
        let refused = Shout::on_upgrade("/".to_string(), vec![]);
        assert!(matches!(refused, UpgradeDecision::Reject((404, _))));
    }
}
