//! The WebSocket role. `x-test-upgrade` is one of
//!
//! - `accept` (or nothing), `accept-with STEPS` with fields, see [`crate::steps`]
//! - `protocol`: with the first subprotocol offered
//! - `reject STATUS TEXT`, whatever the status
//! - `trap`, `spin`, `wait MS` and then any of these
//!
//! Messages go back or on as they came, but for: a ping is answered with a pong,
//! a pong with nothing. A text of the client that begins with `!`, and one of
//! the upstream that begins with `^`, is an order:
//!
//! - `!drop`, `!trap`, `!spin`, `!wait MS ORDER`, `!instance` (tells the instance and its calls)
//! - `!text TEXT`, `!big N` (a text of N bytes), `!binary N`
//! - `!bad-text`: a text that is no UTF-8
//! - `!ping TEXT`, `!pong TEXT`, `!long-ping` (126 bytes, which no control frame can hold)
//! - `!close CODE TEXT`, `!close-empty`, `!close-short` (one byte)

use support::{number, unescape, word};

use crate::exports::zlayer::plugin::websocket::{Guest, Message, MessageType, UpgradeDecision};
use crate::stage::{Stage, asked, begin, calls, instance, pair, trace, value};
use crate::steps::change;
use crate::zlayer::plugin::common::KeyValue;

const PROTOCOL: &str = "sec-websocket-protocol";

impl Guest for Stage {
    fn on_upgrade(_path: String, headers: Vec<KeyValue>) -> UpgradeDecision {
        trace("on-upgrade", &headers);
        let asked = asked(&headers, "upgrade");
        let (verb, rest) = word(&asked);
        match verb {
            "accept-with" => {
                let mut fields = Vec::new();
                change(&mut fields, rest);
                UpgradeDecision::AcceptWithHeaders(fields)
            }
            "protocol" => {
                let offered = value(&headers, PROTOCOL).unwrap_or_default();
                let first = offered.split(',').next().unwrap_or_default().trim();
                UpgradeDecision::AcceptWithHeaders(vec![pair(PROTOCOL, first)])
            }
            "reject" => {
                let (status, text) = number(rest, 403);
                UpgradeDecision::Reject((status as u16, unescape(text)))
            }
            _ => UpgradeDecision::Accept,
        }
    }

    fn on_client_message(message: Message) -> Option<Message> {
        trace("on-client-message", &[]);
        answer(message, '!')
    }

    fn on_upstream_message(message: Message) -> Option<Message> {
        trace("on-upstream-message", &[]);
        answer(message, '^')
    }
}

fn answer(message: Message, order: char) -> Option<Message> {
    match message.msg_type {
        MessageType::Text => match std::str::from_utf8(&message.data) {
            Ok(text) => match text.strip_prefix(order) {
                Some(words) => obey(words),
                None => Some(message),
            },
            // The host looks at texts before a plugin does.
            Err(error) => Some(new(MessageType::Text, format!("not UTF-8: {error}"))),
        },
        MessageType::Ping => Some(new(MessageType::Pong, message.data)),
        MessageType::Pong => None,
        MessageType::Binary | MessageType::Close => Some(message),
    }
}

fn obey(words: &str) -> Option<Message> {
    let (verb, rest) = word(begin(words));
    let count = number(rest, 0).0 as usize;
    let message = match verb {
        "drop" => return None,
        "instance" => new(MessageType::Text, format!("{} {}", instance(), calls())),
        "text" => new(MessageType::Text, rest),
        "big" => new(MessageType::Text, "b".repeat(count)),
        "binary" => new(MessageType::Binary, vec![0xb1; count]),
        "bad-text" => new(MessageType::Text, b"a\xff\xfe".to_vec()),
        "ping" => new(MessageType::Ping, rest),
        "pong" => new(MessageType::Pong, rest),
        "long-ping" => new(MessageType::Ping, "p".repeat(126)),
        "close" => {
            let (code, reason) = number(rest, 1000);
            let mut data = (code as u16).to_be_bytes().to_vec();
            data.extend_from_slice(reason.as_bytes());
            new(MessageType::Close, data)
        }
        "close-empty" => new(MessageType::Close, ""),
        "close-short" => new(MessageType::Close, "c"),
        _ => new(MessageType::Text, format!("no such order: {verb}")),
    };
    Some(message)
}

fn new(msg_type: MessageType, data: impl Into<Vec<u8>>) -> Message {
    Message {
        msg_type,
        data: data.into(),
    }
}
