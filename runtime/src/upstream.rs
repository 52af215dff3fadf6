//! The proxying client: sends requests to upstreams and brings their responses back.
//!
//! What it is: HTTP/1.1 over TCP or TLS, for the router's `forward` and for
//! plugins' outgoing requests. Connections are pooled; bodies stream both ways and are never
//! whole in memory. What it is not: a cache, a load balancer, a follower of redirects.
//!
//! # How an exchange runs
//!
//! [`Upstreams::send`] takes an idle connection or opens one, writes the request's head, then
//! writes the request's body and reads the response's head side by side. It returns once it has the
//! response's head. From then on, whoever reads the response's body moves it from the socket, and a
//! separate task sends what is left of the request's body; that task ends with the response. A body
//! that was read to its end gives its connection back to the pool; one that is dropped earlier
//! closes it.
//!
//! # Retries
//!
//! An idle connection may have been closed by the upstream a moment ago. A request that was lost
//! that way is sent once more, over a fresh connection, if nothing of it was written, or if its
//! method is idempotent and its body was not begun (RFC 9110 section 9.2.2). One that is refused
//! with 417 for its `Expect` is sent once more without that (section 10.1.1). Nothing else is sent
//! twice.
//!
//! # Sloppy upstreams
//!
//! What an upstream gets wrong is read where it means one thing only (`zlayer_http1`). The
//! connection is closed behind it.
//!
//! # Whose a connection is
//!
//! Connections are shared by all who send requests to one upstream, but for those on which a client
//! has identified itself by a scheme that counts for the connection (NTLM, Negotiate). Such a
//! one carries requests of that client's connection alone, and is closed with it.

mod body;
mod client;
mod connect;
mod connection;
mod error;
mod exchange;
mod forward;
#[cfg(test)]
pub mod fuzz;
mod happy_eyeballs;
mod hop;
mod io;
mod owner;
mod pool;
mod restricted;
mod rounds;
mod sender;
mod settings;
mod tls;
mod upgrade;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{EXPECT, HeaderValue};
use http_body::Body as _;
use zlayer_http1::{ConnectionUse, OutgoingRequest, RequestLength};

pub use client::ForClient;
pub use error::UpstreamError;
pub use exchange::Personal;
pub use forward::{Forwarded, forward, forward_upgrade};
pub use hop::{strip_doubles, strip_named};
pub use owner::Owner;
pub use pool::Upstreams;
pub use rounds::{Round, Rounds};
pub use sender::Sender;
pub use settings::Settings;
pub use tls::SYSTEM_ROOTS;
pub use upgrade::{Upgrade, Upgraded};

use crate::memory::{Budget, Reservation};
use crate::message::{Body, Spelled};
use connection::Connection;
use exchange::Exchange;

/// Time to look up the name, connect and shake hands, if the caller sets none.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest such time; longer ones are cut to this.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Time until the response's head has come, if the caller sets none.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest such time; longer ones are cut to this.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// How long a response's body may stand still, if the caller sets no time.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest such time; longer ones are cut to this.
pub const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Where a request goes, and how long each phase may take. A time of zero stands for the default,
/// and one that is too long is cut to the longest.
#[derive(Debug, Clone)]
pub struct Target {
    /// A name or an IP address, an IPv6 address with or without brackets.
    pub host: String,
    /// The port; 0 is not valid.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Time for looking up the name, connecting and shaking hands, together.
    pub connect_timeout: Duration,
    /// Time from the last write of the request to the response's head. Waiting for the request's
    /// body to come from elsewhere does not count.
    pub request_timeout: Duration,
    /// Time between two pieces of the response's body.
    pub stall_timeout: Duration,
    /// The plugin that the request is sent for: what it may reach.
    pub sender: Arc<Sender>,
    /// Bounds the connections of the plugin that sends the request: see [`Upstreams::share`].
    pub share: Option<Arc<Budget>>,
    /// The client for whom the request is sent.
    pub client: ForClient,
}

impl Target {
    /// A target as a router, the `sender`, names it, with its two times in nanoseconds.
    pub fn new(
        host: &str,
        port: u16,
        tls: bool,
        connect: u64,
        request: u64,
        sender: &Arc<Sender>,
    ) -> Target {
        Target {
            host: host.to_owned(),
            port,
            tls,
            connect_timeout: Duration::from_nanos(connect),
            request_timeout: Duration::from_nanos(request),
            stall_timeout: Duration::ZERO,
            sender: Arc::clone(sender),
            share: None,
            client: ForClient::default(),
        }
    }

    /// Whether its sender may send to that host at all. Whether it may connect to the address behind
    /// it is seen when that is known.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Denied`].
    pub fn check(&self) -> Result<(), UpstreamError> {
        self.sender.check_host(&self.key())
    }

    /// Reserves one connection of the share, for as long as it is in use.
    fn reserve_share(&self) -> Result<Option<Reservation>, UpstreamError> {
        let Some(share) = &self.share else {
            return Ok(None);
        };
        let held = share.reserve(1);
        held.map(Some).ok_or(UpstreamError::Share(share.limit()))
    }

    fn key(&self) -> Key {
        let host = self.host.as_str();
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        Key {
            host: literal.unwrap_or(host).to_ascii_lowercase(),
            port: self.port,
            tls: self.tls,
        }
    }
}

/// What connections are pooled by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    host: String,
    port: u16,
    tls: bool,
}

/// `host:port`, as an authority has it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The time `asked`, or the default if it is zero, but at most `longest`.
fn within(asked: Duration, default: Duration, longest: Duration) -> Duration {
    match asked.is_zero() {
        true => default,
        false => asked.min(longest),
    }
}

impl Upstreams {
    /// Sends `request` and returns the response once its head is there. `id` is for the log.
    ///
    /// Fields that are meant for one connection alone are removed from both heads. (Those that a
    /// client's `Connection` names were removed when the request was received: [`strip_named`].)
    /// `Expect` is removed from the request, unless the target's client still waits for an answer to
    /// it: then the body is asked for when the upstream says `100 Continue`, or nothing for a second.
    /// A request without `Host` gets the target's. The length of the body is its own
    /// exact size, or else its `Content-Length`; without either it is sent in chunks. A response
    /// body that breaks off ends with an error, never as if it were whole.
    ///
    /// # Errors
    ///
    /// Everything that goes wrong before the response's head is there.
    pub async fn send(
        &self,
        request: http::Request<Body>,
        to: &Target,
        id: &str,
    ) -> Result<http::Response<Body>, UpstreamError> {
        let (mut parts, mut body) = request.into_parts();
        let key = Arc::new(to.key());
        to.sender.check_host(&key)?;
        let accepts_trailers = hop::accepts_trailers(&parts.headers);
        hop::strip(&mut parts.headers);
        let length = match (body.is_end_stream(), body.size_hint().exact()) {
            // No `Content-Length: 0`, which requests without a body do not carry (RFC 9110 section
            // 8.6).
            (true, _) | (false, Some(0)) => RequestLength::None,
            (false, Some(length)) => RequestLength::Fixed(length),
            (false, None) => match parts.headers.get(http::header::CONTENT_LENGTH) {
                Some(value) => RequestLength::Fixed(
                    value
                        .to_str()
                        .ok()
                        .and_then(|digits| digits.parse().ok())
                        .ok_or_else(|| UpstreamError::Request("content-length".to_owned()))?,
                ),
                None => RequestLength::Chunked,
            },
        };
        let mut expecting = to.client.expects_continue && length != RequestLength::None;
        if expecting {
            parts
                .headers
                .insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        let personal = client::identifies_connection(&parts.headers);
        let connection_use = ConnectionUse::Keep;
        let mut head = encode(&parts, &key, length, accepts_trailers, connection_use)?;
        let mut fresh = false;
        loop {
            let held = to.reserve_share()?;
            let reused = match fresh {
                true => None,
                false => {
                    let owner = to.client.owner.as_ref();
                    self.reuse(&key, &to.sender, owner).await
                }
            };
            let may_retry = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => self.open(&key, to).await?,
            };
            connection.place.held = held;
            connection.personal |= personal;
            let mut exchange = Exchange::new(connection, head.clone(), length, body, &parts.method);
            if expecting {
                exchange.wait_for_continue();
            }
            match exchange.run(self, to, id).await {
                Ok(response) => return Ok(response),
                Err(failed) => match failed.retry {
                    Some(unused) if matches!(failed.error, UpstreamError::Expectation) => {
                        log::debug!("[{id}] upstream {key}: 417; sent once more without Expect");
                        parts.headers.remove(EXPECT);
                        head = encode(&parts, &key, length, accepts_trailers, connection_use)?;
                        (expecting, body, fresh) = (false, unused, true);
                    }
                    Some(unused) if may_retry => {
                        log::debug!("[{id}] upstream {key}: {}; sent once more", failed.error);
                        body = unused;
                        fresh = true;
                    }
                    _ => return Err(failed.error),
                },
            }
        }
    }

    /// Opens a new connection, within the target's connect timeout.
    async fn open(&self, key: &Arc<Key>, to: &Target) -> Result<Connection, UpstreamError> {
        let time = within(to.connect_timeout, CONNECT_TIMEOUT, CONNECT_TIMEOUT_MAX);
        let end = Instant::now() + time;
        // Before a place is taken: those who wait for a name that nobody answers for keep none from
        // others.
        let peers = connect::resolve(self, key, to, end).await?;
        let place = self.reserve_place(key)?;
        let (peer, io) = connect::connect(self, key, &peers, end).await?;
        Ok(Connection::new(io, peer, place))
    }
}

/// Encodes a request's head.
fn encode(
    parts: &http::request::Parts,
    key: &Key,
    length: RequestLength,
    accepts_trailers: bool,
    connection: ConnectionUse<'_>,
) -> Result<Vec<u8>, UpstreamError> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    // An empty path is sent as `/`, also before a query (RFC 9110 section 4.2.3).
    let with_path = match target.starts_with('?') {
        true => format!("/{target}"),
        false => String::new(),
    };
    let target = match with_path.as_str() {
        "" => target,
        target => target,
    };
    let spelled = Spelled::new(&parts.headers, &parts.extensions);
    let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(parts.headers.len() + 1);
    let own_host = key.to_string();
    if !parts.headers.contains_key(http::header::HOST) {
        headers.push(("Host", own_host.as_bytes()));
    }
    headers.extend(spelled.pairs());
    let mut head = Vec::with_capacity(512);
    OutgoingRequest {
        method: parts.method.as_str(),
        target,
        headers: &headers,
        length,
        accepts_trailers,
        connection,
    }
    .encode(&mut head)
    .map_err(|error| UpstreamError::Request(error.to_string()))?;
    Ok(head)
}
