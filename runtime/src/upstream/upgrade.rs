//! Connections that switch to another protocol, such as WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, UPGRADE};
use smol::io::{AsyncRead, AsyncWrite};
use zlayer_http1::{ConnectionUse, RequestLength};

use super::connection::Connection;
use super::exchange::Exchange;
use super::io::SharedIo;
use super::pool::Place;
use super::{Target, UpstreamError, Upstreams, client, encode, hop};
use crate::message::{Body, empty};
use crate::wire::Socket;

/// What came of a request to upgrade.
pub enum Upgrade {
    /// The upstream has switched.
    Done(Upgraded),
    /// The upstream sent an ordinary response, whose body streams.
    Refused(http::Response<Body>),
}

/// A connection that was HTTP and has switched.
pub struct Upgraded {
    /// The head of the 101 response, without the fields that were for the connection. The caller
    /// checks what else the new protocol requires of it (`Sec-WebSocket-Accept`).
    pub head: http::response::Parts,
    /// Both directions. It keeps its place in the pool and its memory until it is dropped.
    pub socket: Box<dyn Socket>,
    /// Bytes that were read behind the head: the first of the new protocol.
    pub left_over: Vec<u8>,
}

impl Upstreams {
    /// Asks an upstream to switch to the protocol that the `Upgrade` field of `head` names. The
    /// connection is always a new one, and the request has no body.
    ///
    /// # Errors
    ///
    /// The same as of [`Upstreams::send`]; a 101 that names another protocol is
    /// [`UpstreamError::Switched`].
    pub async fn upgrade(
        &self,
        mut head: http::request::Parts,
        to: &Target,
        id: &str,
    ) -> Result<Upgrade, UpstreamError> {
        let protocol = head
            .headers
            .get(UPGRADE)
            .and_then(|value| value.to_str().ok());
        let Some(protocol) = protocol.map(str::to_owned) else {
            return Err(UpstreamError::Request("it has no Upgrade field".to_owned()));
        };
        let key = Arc::new(to.key());
        to.sender.check_host(&key)?;
        hop::strip(&mut head.headers);
        let connection_use = ConnectionUse::Upgrade(&protocol);
        let encoded = encode(&head, &key, RequestLength::None, false, connection_use)?;
        let held = to.reserve_share()?;
        let mut connection = self.open(&key, to).await?;
        connection.place.held = held;
        let length = RequestLength::None;
        connection.personal = client::identifies_connection(&head.headers);
        let mut exchange = Exchange::new(connection, encoded, length, empty(), &head.method);
        let response = exchange.head(self, to).await?;
        if response.parts.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgrade::Refused(
                exchange.into_response(response, self, to, id),
            ));
        }
        let mut parts = response.parts;
        // RFC 9110 section 7.8 and RFC 6455 section 4.1: the response must name the protocol.
        let switched = hop::elements(&parts.headers, &UPGRADE)
            .any(|name| name.eq_ignore_ascii_case(protocol.as_bytes()))
            && hop::elements(&parts.headers, &CONNECTION)
                .any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        if !switched {
            return Err(UpstreamError::Switched);
        }
        hop::strip_received(&mut parts.headers);
        let Connection {
            io, buffer, place, ..
        } = exchange.connection;
        Ok(Upgrade::Done(Upgraded {
            head: parts,
            left_over: buffer.bytes().to_vec(),
            socket: Box::new(Switched { io, _place: place }),
        }))
    }
}

struct Switched {
    io: SharedIo,
    _place: Place,
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.io.with(|io| Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.with(|io| Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.with(|io| Pin::new(io).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.with(|io| Pin::new(io).poll_close(cx))
    }
}
