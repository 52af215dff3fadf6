//! Why a body could not be read to its end.

use std::fmt;

use crate::failure::Failure;

/// What went wrong with a body, and on whose side. Where a plugin reads the body, `host` translates
/// this into the errors of `wasi:http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The client that sends the body has gone, or stopped in the middle.
    ClientBrokeOff,
    /// The client's body took longer than any may.
    ClientTooLong,
    /// The client's body is not valid HTTP.
    ClientMalformed(String),
    /// The upstream closed the connection before the end that it had announced.
    UpstreamClosed,
    /// The connection to the upstream broke.
    UpstreamLost,
    /// The upstream's body is not valid HTTP.
    UpstreamMalformed,
    /// Nothing came from the upstream for too long.
    UpstreamStalled,
    /// The plugin that writes the body gave it up before its end.
    PluginGaveUp(String),
    /// The body is to be sent on, and has another length than its head announced.
    OtherLength,
    /// The body is to be sent on, and its trailers are not valid HTTP.
    BadTrailers(String),
}

impl BodyError {
    /// The failure of a request whose body could not be read.
    pub(crate) fn of_request(&self) -> Failure {
        match self {
            BodyError::ClientTooLong => Failure::SlowBody,
            _ => Failure::BadBody(self.to_string()),
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::ClientBrokeOff => f.write_str("it broke off"),
            BodyError::ClientTooLong => f.write_str("it took too long (--timeout upload=)"),
            BodyError::ClientMalformed(reason) => f.write_str(reason),
            BodyError::UpstreamClosed => f.write_str("the upstream closed the connection"),
            BodyError::UpstreamLost => f.write_str("the connection to the upstream broke"),
            BodyError::UpstreamMalformed => {
                f.write_str("what the upstream sends is not valid HTTP")
            }
            BodyError::UpstreamStalled => {
                f.write_str("nothing came from the upstream for too long")
            }
            BodyError::PluginGaveUp(reason) => write!(f, "the plugin gave it up: {reason}"),
            BodyError::OtherLength => f.write_str("it has another length than announced"),
            BodyError::BadTrailers(reason) => write!(f, "its trailers: {reason}"),
        }
    }
}

impl std::error::Error for BodyError {}
