//! WebSocket (RFC 6455), as pure functions over bytes like the rest of this crate.
//!
//! What it is: the opening handshake of both sides ([`read_upgrade`], [`check_response`]), a
//! decoder that makes messages of frames ([`MessageDecoder`]), an encoder of frames
//! ([`FrameHead`], [`encode_message`]), the rules of closing ([`CloseReason`]), and messages
//! compressed as RFC 7692 says ([`Deflate`], [`Compressor`]).
//!
//! What it is not: it sends no pings, answers none, and keeps no closing handshake: those want a
//! clock and a socket. It never splits a message into fragments.
//!
//! # How data flows
//!
//! The caller owns a buffer and fills it from a socket. [`MessageDecoder::decode`] takes bytes off
//! its front, unmasks them where they stand, and answers with a message when one is whole. Pings,
//! pongs and closes may come between the fragments of a message, as the protocol allows.
//!
//! A message grows with what has come of it, not with what its sender announces, up to a limit that
//! the caller gives, and the caller is asked before each growth, and before [`INFLATER_BYTES`] are
//! taken for a message that is compressed. Everything else that is kept has a fixed size:
//! [`MAX_CONTROL_BYTES`] of a control frame, at most [`MAX_EMPTY_FRAMES`] empty frames in a
//! message.
//!
//! Bytes are refused as early as they are known to be wrong: a frame by its first two bytes, a text
//! by the first byte that is no UTF-8, a message by the frame that makes it too long.
//!
//! # Example
//!
//! ```
//! use zlayer_http1::websocket::*;
//!
//! // "Hello" in two fragments, a ping between them, masked as a client must.
//! let mut wire = Vec::new();
//! for (fin, opcode, data) in [
//!     (false, Opcode::Text, "Hel"),
//!     (true, Opcode::Ping, "?"),
//!     (true, Opcode::Continuation, "lo"),
//! ] {
//!     let mask = Some([1, 2, 3, 4]);
//!     let head = FrameHead { fin, compressed: false, opcode, mask, length: data.len() as u64 };
//!     head.encode(&mut wire);
//!     let start = wire.len();
//!     wire.extend_from_slice(data.as_bytes());
//!     apply_mask(&mut wire[start..], [1, 2, 3, 4], 0);
//! }
//!
//! let mut decoder = MessageDecoder::new(Role::Server, 1 << 20);
//! let mut messages = Vec::new();
//! while !wire.is_empty() {
//!     let (consumed, message) = decoder.decode(&mut wire, &mut |_capacity| true)?;
//!     wire.drain(..consumed);
//!     messages.extend(message);
//! }
//! assert_eq!(messages[0], Message { kind: Kind::Ping, data: b"?".to_vec() });
//! assert_eq!(messages[1], Message { kind: Kind::Text, data: b"Hello".to_vec() });
//! # Ok::<(), ProtocolError>(())
//! ```

mod assembly;
mod base64;
mod close;
mod decoder;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;

mod utf8;

pub use close::{CloseReason, is_valid_close_code};
pub use decoder::{MAX_EMPTY_FRAMES, MessageDecoder};
pub use deflate::{COMPRESSOR_BYTES, Compressor, INFLATER_BYTES, store};
pub use error::{HandshakeError, ProtocolError, UpgradeError};
pub use extension::Deflate;
pub use frame::{FrameHead, MAX_CONTROL_BYTES, MAX_HEAD_BYTES, Opcode, apply_mask, encode_message};
pub use handshake::{
    VERSION, check_response, client_key, encode_response, offered_protocols, read_upgrade,
};

/// Which side of a connection reads: what a client sends is masked, what a server sends is not
/// (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It reads what a client sends.
    Server,
    /// It reads what a server sends.
    Client,
}

/// What a message is (RFC 6455, 5.6 and 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// A question whether the other side is there.
    Ping,
    /// The answer to a ping, or a sign of life unasked.
    Pong,
    /// The end of the conversation; see [`CloseReason`].
    Close,
}

impl Kind {
    /// Whether it controls the connection: then it fits one frame, and its payload is at most
    /// [`MAX_CONTROL_BYTES`].
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: Kind,
    /// Its payload, unmasked and not compressed. Of a text it is UTF-8.
    pub data: Vec<u8>,
}

impl Message {
    /// Whether it may be sent: text is UTF-8, the payload of a control message short, and that of a
    /// close valid. [`MessageDecoder`] makes no others.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn check(&self) -> Result<(), ProtocolError> {
        match self.kind {
            Kind::Text if std::str::from_utf8(&self.data).is_err() => {
                Err(ProtocolError::InvalidUtf8)
            }
            kind if kind.is_control() && self.data.len() > MAX_CONTROL_BYTES => {
                Err(ProtocolError::ControlTooLong)
            }
            Kind::Close => CloseReason::parse(&self.data).map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_sent_is_found() {
        let check = |kind, data: &[u8]| {
            let data = data.to_vec();
            Message { kind, data }.check()
        };
        assert_eq!(check(Kind::Text, "größer".as_bytes()), Ok(()));
        assert_eq!(check(Kind::Text, b"\xff"), Err(ProtocolError::InvalidUtf8));
        assert_eq!(check(Kind::Binary, b"\xff"), Ok(()));
        assert_eq!(check(Kind::Ping, &[0; 125]), Ok(()));
        for kind in [Kind::Ping, Kind::Pong, Kind::Close] {
            assert_eq!(check(kind, &[0; 126]), Err(ProtocolError::ControlTooLong));
        }
        assert_eq!(check(Kind::Close, b""), Ok(()));
        assert_eq!(check(Kind::Close, b"\x03\xe8bye"), Ok(()));
        assert_eq!(
            check(Kind::Close, b"\x03\xed"),
            Err(ProtocolError::InvalidCloseCode)
        );
    }
}
