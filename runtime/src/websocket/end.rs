//! Why a conversation ends, and what each side is told.

use std::fmt;

use zlayer_http1::websocket::{CloseReason, ProtocolError};

use super::Side;
use crate::failure::Failure;

/// Why a conversation ends.
#[derive(Debug)]
pub(super) enum End {
    /// A side sent a close, and this is the payload for both.
    Closed(Side, Vec<u8>),
    /// The plugin returned a close.
    ClosedByPlugin(Vec<u8>),
    /// A side closed its connection without a close message, or the connection broke.
    Gone(Side),
    /// Writes to a side make no progress.
    Stuck(Side),
    /// A side did not answer a ping.
    Silent(Side),
    /// A side's message came too slowly.
    Slow(Side),
    /// A side broke the protocol.
    Wrong(Side, ProtocolError),
    /// There is no memory for a message.
    NoMemory,
    /// The plugin failed, or the message that it returned is not valid.
    Failed(Failure),
    /// Others needed the conversation's place.
    Displaced,
    /// The daemon drains.
    Stopped,
    /// The other direction has ended.
    OtherEnded,
}

impl End {
    /// The payload of the close that `to` gets (RFC 6455, 7.4.1).
    pub(super) fn payload(&self, to: Side) -> Vec<u8> {
        let (code, text): (u16, &str) = match self {
            End::Closed(_, payload) | End::ClosedByPlugin(payload) => return payload.clone(),
            End::Failed(_) if to == Side::Client => (1011, ""),
            End::NoMemory if to == Side::Client => (1013, "out of memory"),
            // "Try again later", as IANA has registered it.
            End::Displaced if to == Side::Client => (1013, "the place is needed"),
            End::Wrong(side, error) if *side == to => (error.close_code(), error_text(error)),
            End::Slow(side) if *side == to => (1008, "the message took too long"),
            End::Silent(side) if *side == to => (1011, "no answer to a ping"),
            End::Gone(Side::Upstream)
            | End::Stuck(Side::Upstream)
            | End::Silent(Side::Upstream)
            | End::Slow(Side::Upstream)
            | End::Wrong(Side::Upstream, _)
                if to == Side::Client =>
            {
                (1011, "the upstream is gone")
            }
            _ => (1001, ""),
        };
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(text.as_bytes());
        payload
    }

    /// The level at which it is logged. What clients do is logged at debug, since any client can
    /// cause it.
    pub(super) fn level(&self) -> log::Level {
        match self {
            End::Failed(_) => log::Level::Error,
            End::NoMemory => log::Level::Warn,
            End::Gone(Side::Upstream)
            | End::Stuck(Side::Upstream)
            | End::Silent(Side::Upstream)
            | End::Slow(Side::Upstream)
            | End::Wrong(Side::Upstream, _) => log::Level::Warn,
            _ => log::Level::Debug,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed(side, payload) => write!(f, "{side} closed{}", Code(payload)),
            End::ClosedByPlugin(payload) => write!(f, "the plugin closed{}", Code(payload)),
            End::Gone(side) => write!(f, "{side} went away"),
            End::Stuck(side) => write!(f, "{side} takes nothing more"),
            End::Silent(side) => write!(f, "{side} does not answer"),
            End::Slow(side) => write!(f, "a message of {side} took too long"),
            End::Wrong(side, error) => write!(f, "{side} broke the protocol: {error}"),
            End::NoMemory => f.write_str("there is no memory for its messages"),
            End::Displaced => f.write_str("others needed its place"),
            End::Failed(failure) => write!(f, "{failure}"),
            End::Stopped | End::OtherEnded => f.write_str("the daemon stops"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "the client",
            Side::Upstream => "the upstream",
        })
    }
}

/// The code of a close, for the log. Its text is left out: a stranger wrote it.
struct Code<'a>(&'a [u8]);

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CloseReason::parse(self.0) {
            Ok(Some(reason)) => write!(f, " with {}", reason.code),
            _ => Ok(()),
        }
    }
}

/// The text for a peer that broke the protocol. All of them are short enough for a close message.
fn error_text(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::InvalidUtf8 => "text is not UTF-8",
        ProtocolError::MessageTooLong => "the message is too long",
        ProtocolError::NoRoom => "out of memory",
        _ => "",
    }
}
