//! What a connection begins with before HTTP: a header of the PROXY protocol, then TLS.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};

use futures_lite::future::or;
use smol::Async;
use zlayer_http1::ProxyHeader;

use super::ServerState;
use super::client_stream::ClientStream;
use super::origin::Peer;
use super::place::Place;
use super::tls::{HandshakeError, Https};
use crate::clients::Claim;
use crate::message::Scheme;
use crate::told::Told;
use crate::wire::deadline::{Deadline, TimedOut};
use crate::wire::stopped;

/// Bytes that are looked at together while the PROXY header is read.
const PIECE: usize = 512;

/// The first byte of a client that speaks TLS: the type of a record of a handshake (RFC 8446 section
/// 5.1).
const HANDSHAKE: u8 = 0x16;

/// What has come of the beginning.
pub(super) enum Greeted {
    /// HTTP comes next.
    Ready(ClientStream, Peer),
    /// A client that does not speak TLS came where it is spoken: it can be told in HTTP.
    PlainHttp(ClientStream, Peer),
    /// No hands were shaken, and the client was told why.
    Refused(ClientStream, Peer),
    /// Nothing more is to be said.
    Over,
}

/// Reads what comes before HTTP on a connection from `address`, within the time of a head. Like a
/// client that is slow with its head, one that is slow with this makes room for others.
pub(super) async fn greet(
    socket: Async<TcpStream>,
    address: SocketAddr,
    place: Place,
    https: Option<&Https>,
    shared: &Arc<ServerState>,
    claim: &Claim,
) -> Greeted {
    let mut peer = Peer {
        address,
        place,
        scheme: Scheme::Http,
        tls: None,
    };
    let entrance = &shared.entrance;
    let is_proxied = entrance.proxy_protocol && entrance.trusted.contains(address.ip());
    if https.is_none() && !is_proxied {
        return Greeted::Ready(ClientStream::plain(socket), peer);
    }
    let deadline = Deadline::new();
    deadline.set(shared.timeouts.head);
    let greeting = async {
        if is_proxied {
            read_proxy_header(&socket, &mut peer).await?;
        }
        let Some(https) = https else {
            return Some(Greeted::Ready(ClientStream::plain(socket), peer));
        };
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1..) if first[0] != HANDSHAKE => {
                return Some(Greeted::PlainHttp(ClientStream::plain(socket), peer));
            }
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
        let begun = https.begin(socket, shared.executor).await;
        let stream = begun.inspect_err(|error| tell(address, error)).ok()?;
        if let Err(error) = stream.shake_hands().await {
            tell(address, &error);
            // What the client still sends must not reset the connection before it has read why.
            let socket = stream.into_socket()?;
            return Some(Greeted::Refused(ClientStream::plain(socket), peer));
        }
        peer.scheme = Scheme::Https;
        peer.tls = Some(Arc::new(stream.agreed()));
        Some(Greeted::Ready(ClientStream::tls(stream), peer))
    };
    let leaving = async {
        or(claim.wait_to_leave(), stopped(&shared.stop)).await;
        None
    };
    match deadline.within(or(greeting, leaving)).await {
        Ok(Some(greeted)) => greeted,
        Ok(None) => Greeted::Over,
        Err(TimedOut) => {
            log::debug!("{address}: the connection did not begin in time");
            Greeted::Over
        }
    }
}

/// Why a handshake came to nothing. That is the client's doing, and no stranger may fill the log.
fn tell(address: SocketAddr, error: &HandshakeError) {
    log::debug!("{address}: TLS handshake: {error}");
}

/// Reads the header with which a trusted proxy says whose connection this is, and not a byte more.
async fn read_proxy_header(socket: &Async<TcpStream>, peer: &mut Peer) -> Option<()> {
    let mut header = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let count = match socket.peek(&mut piece).await {
            Ok(count @ 1..) => count,
            Ok(0) | Err(_) => return None,
        };
        let known = header.len();
        header.extend_from_slice(&piece[..count]);
        let parsed = ProxyHeader::parse(&header);
        let taken = match parsed {
            Ok(Some(ref parsed)) => parsed.length - known,
            Ok(None) => count,
            Err(error) => {
                // A load balancer that is set up otherwise does so again with each connection.
                static WARNED: LazyLock<Told> = LazyLock::new(Told::default);
                let level = match WARNED.is_first((peer.address.ip(), error.to_string())) {
                    true => log::Level::Warn,
                    false => log::Level::Debug,
                };
                log::log!(
                    level,
                    "the connection from the trusted proxy {}: {error}; see --proxy-protocol",
                    peer.address
                );
                return None;
            }
        };
        // They are there already.
        if take(socket, &mut piece[..taken]).is_err() {
            return None;
        }
        if let Ok(Some(parsed)) = parsed {
            if let Some(client) = parsed.client {
                peer.address = client;
            }
            if parsed.client_tls {
                peer.scheme = Scheme::Https;
            }
            return Some(());
        }
    }
}

fn take(socket: &Async<TcpStream>, piece: &mut [u8]) -> io::Result<()> {
    socket.get_ref().read_exact(piece)
}
