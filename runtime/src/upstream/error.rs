//! The errors of a request to an upstream.

use std::fmt;

use zlayer_http1::ResponseError;

use super::Key;
use crate::failure::Failure;
use crate::message::BodyError;
use crate::resolver::ResolveError;

/// What went wrong before the response's head was there.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The target's host or port is not one to connect to.
    Target(String),
    /// The plugin that the request is sent for may not send it there; with what allows it.
    Denied(String),
    /// The target's name is not known, or no name server can be reached.
    Name(ResolveError),
    /// The target refused the connection.
    Refused(String),
    /// The target cannot be reached for another reason.
    Unreachable(String),
    /// The TLS handshake failed.
    Tls(String),
    /// The certificate is not for this host, or not valid, or not trusted.
    Certificate(String),
    /// The request that is to be sent is not valid HTTP.
    Request(String),
    /// The request's body broke off, is malformed, or has another length than announced.
    RequestBody(BodyError),
    /// The response's head is not valid HTTP.
    Malformed(ResponseError),
    /// The upstream switched protocols without having been asked to.
    Switched,
    /// The upstream does not meet the expectation `100-continue`.
    Expectation,
    /// The connection ended before the response's head did.
    BrokeOff(String),
    /// All connections are in use, for this upstream or for all.
    Full(usize),
    /// The plugin that sends the request uses all connections that it may have.
    Share(usize),
    /// There is not enough memory for another connection.
    NoMemory,
    /// Looking up the name took too long.
    NameTimeout(String),
    /// Too many names are being looked up.
    NamesBusy(String),
    /// Connecting or shaking hands took too long.
    ConnectTimeout,
    /// The response's head did not come in time.
    ResponseTimeout,
}

impl UpstreamError {
    /// The failure that the client sees; its reason, for the log, names `key`.
    pub(super) fn failure(self, key: &Key) -> Failure {
        let reason = format!("upstream {key}: {self}");
        match self {
            UpstreamError::RequestBody(error) => error.of_request(),
            UpstreamError::Full(_)
            | UpstreamError::Share(_)
            | UpstreamError::NoMemory
            | UpstreamError::NamesBusy(_) => Failure::UpstreamBusy(reason),
            UpstreamError::NameTimeout(_)
            | UpstreamError::ConnectTimeout
            | UpstreamError::ResponseTimeout => Failure::GatewayTimeout(reason),
            _ => Failure::BadGateway(reason),
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamError::Target(reason) => write!(f, "nothing can be sent there: {reason}"),
            UpstreamError::Denied(reason) => f.write_str(reason),
            UpstreamError::Name(reason) => write!(f, "its name is not found: {reason}"),
            UpstreamError::Refused(reason) => write!(f, "it refused the connection: {reason}"),
            UpstreamError::Unreachable(reason) => write!(f, "it cannot be reached: {reason}"),
            UpstreamError::Tls(reason) => write!(f, "TLS: {reason}"),
            UpstreamError::Certificate(reason) => write!(f, "its certificate: {reason}"),
            UpstreamError::Request(reason) => write!(f, "the request cannot be sent: {reason}"),
            UpstreamError::RequestBody(error) => write!(f, "the request's body: {error}"),
            UpstreamError::Malformed(
                error @ (ResponseError::HeadTooLong { .. } | ResponseError::TooManyHeaders { .. }),
            ) => write!(
                f,
                "its answer has too large a head: {error}, and no flag allows more; let it send fewer or \
                 shorter headers"
            ),
            UpstreamError::Malformed(error) => write!(f, "its answer is not valid HTTP: {error}"),
            UpstreamError::Switched => {
                f.write_str("it switched to a protocol that it was not asked for")
            }
            UpstreamError::Expectation => f.write_str("it refused 'Expect: 100-continue'"),
            UpstreamError::BrokeOff(reason) => {
                write!(f, "the connection ended before an answer: {reason}")
            }
            UpstreamError::Full(most) => write!(f, "all {most} connections are in use"),
            UpstreamError::Share(most) => {
                write!(
                    f,
                    "all {most} connections that one plugin may have are in use"
                )
            }
            UpstreamError::NoMemory => {
                f.write_str("there is no memory for another connection (--memory-max)")
            }
            UpstreamError::NameTimeout(reason) => {
                write!(f, "its name was not found in time: {reason}")
            }
            UpstreamError::NamesBusy(reason) => write!(f, "its name cannot be asked for: {reason}"),
            UpstreamError::ConnectTimeout => f.write_str(
                "it did not take the connection in time (the connect-timeout that the plugin set)",
            ),
            UpstreamError::ResponseTimeout => {
                f.write_str("it did not answer in time (the request-timeout that the plugin set)")
            }
        }
    }
}

impl std::error::Error for UpstreamError {}
