//! What can be wrong with a handshake, and with what comes after it.

use std::fmt;

/// Why a request to upgrade is refused (RFC 6455, 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The method is not GET.
    NotGet,
    /// No Connection field names `upgrade`.
    NotOnThisConnection,
    /// The Host field is missing.
    MissingHost,
    /// There is not one Sec-WebSocket-Key, or it is not sixteen bytes in base64.
    InvalidKey,
    /// Sec-WebSocket-Version is not 13 (RFC 6455, 4.4).
    UnsupportedVersion,
    /// A body is announced: where the frames would begin is then open to doubt.
    HasBody,
}

impl UpgradeError {
    /// The status code to respond with. A response of 426 carries `sec-websocket-version:` with
    /// [`VERSION`](super::VERSION), so that the client can try again.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnsupportedVersion => 426,
            _ => 400,
        }
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGet => "a WebSocket begins with the method GET",
            Self::NotOnThisConnection => "a WebSocket wants the header Connection: upgrade",
            Self::MissingHost => "a WebSocket wants a Host header",
            Self::InvalidKey => "Sec-WebSocket-Key is not 16 bytes in base64, sent once",
            Self::UnsupportedVersion => "the only WebSocket version supported is 13",
            Self::HasBody => "a request for a WebSocket has no body",
        })
    }
}

impl std::error::Error for UpgradeError {}

/// Why the response of a server to a request to upgrade is no WebSocket (RFC 6455, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The status is not 101.
    NotSwitching,
    /// The Upgrade field is not `websocket`.
    InvalidUpgrade,
    /// No Connection field names `upgrade`.
    InvalidConnection,
    /// Sec-WebSocket-Accept does not fit the key that was sent.
    InvalidAccept,
    /// It names an extension, and none was asked for.
    UnwantedExtension,
    /// It chose a subprotocol that was not offered, or several.
    UnwantedProtocol,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSwitching => "the server did not switch to WebSocket: its status is not 101",
            Self::InvalidUpgrade => "the server switched to something else than WebSocket",
            Self::InvalidConnection => "the server's response has no Connection: upgrade",
            Self::InvalidAccept => "the server's Sec-WebSocket-Accept does not fit the key",
            Self::UnwantedExtension => "the server chose a WebSocket extension unasked",
            Self::UnwantedProtocol => "the server chose a WebSocket subprotocol not offered",
        })
    }
}

impl std::error::Error for HandshakeError {}

/// Why what came on a WebSocket is refused.
///
/// The connection has failed then (RFC 6455, 7.1.7): send a close with
/// [`close_code`](Self::close_code), and read nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that no extension gives a meaning (RFC 6455, 5.2).
    ReservedBits,
    /// An opcode that the protocol does not know (RFC 6455, 5.2).
    UnknownOpcode,
    /// A client's frame is not masked (RFC 6455, 5.1).
    NotMasked,
    /// A server's frame is masked (RFC 6455, 5.1).
    Masked,
    /// A length takes more bytes than it needs, or its highest bit is set (RFC 6455, 5.2).
    InvalidLength,
    /// A control frame is a fragment (RFC 6455, 5.5).
    FragmentedControl,
    /// A control frame is longer than [`MAX_CONTROL_BYTES`](super::MAX_CONTROL_BYTES)
    /// (RFC 6455, 5.5).
    ControlTooLong,
    /// A continuation without a message that it could continue (RFC 6455, 5.4).
    NothingToContinue,
    /// A new message before the last fragment of the one before (RFC 6455, 5.4).
    MessageInMessage,
    /// A close of one byte, which is half a code (RFC 6455, 5.5.1).
    InvalidClose,
    /// A close code that must not be sent (RFC 6455, 7.4).
    InvalidCloseCode,
    /// Text that is not UTF-8 (RFC 6455, 8.1).
    InvalidUtf8,
    /// A message beyond the decoder's limit.
    MessageTooLong,
    /// More than [`MAX_EMPTY_FRAMES`](super::MAX_EMPTY_FRAMES) empty frames in one message.
    EmptyFrames,
    /// The caller had no room for the message.
    NoRoom,
    /// Compressed data is damaged (RFC 7692, 7.2.2).
    InvalidCompression,
}

impl ProtocolError {
    /// The code to close with (RFC 6455, 7.4.1, and IANA's registry).
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidCompression => 1007,
            Self::EmptyFrames => 1008,
            Self::MessageTooLong => 1009,
            Self::NoRoom => 1013,
            _ => 1002,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::UnknownOpcode => "a frame has an unknown opcode",
            Self::NotMasked => "a client's frame is not masked",
            Self::Masked => "a server's frame is masked",
            Self::InvalidLength => "a frame's length is not in its shortest form",
            Self::FragmentedControl => "a control frame is a fragment",
            Self::ControlTooLong => "a control frame is longer than 125 bytes",
            Self::NothingToContinue => "a frame continues nothing",
            Self::MessageInMessage => "a message begins within another",
            Self::InvalidClose => "a close has one byte",
            Self::InvalidCloseCode => "a close has a code that must not be sent",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::MessageTooLong => "a message is too long",
            Self::EmptyFrames => "a message has too many empty frames",
            Self::NoRoom => "there is no memory for a message",
            Self::InvalidCompression => "compressed data is damaged",
        })
    }
}

impl std::error::Error for ProtocolError {}
