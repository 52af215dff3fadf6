//! Looks up an upstream's name and connects to it.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use smol::Async;

use super::io::Io;
use super::sender::Peer;
use super::{Key, Target, UpstreamError, Upstreams, happy_eyeballs};
use crate::resolver::{ResolveError, ResolveFailure};
use crate::timeout::before;

/// Longest name in bytes (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 253;

/// Looks up the addresses of `key`, before `end`, and leaves out those that the sender of `to` may
/// not connect to.
///
/// # Errors
///
/// The name leads nowhere, or to no address that the sender may connect to.
pub(super) async fn resolve(
    upstreams: &Upstreams,
    key: &Key,
    to: &Target,
    end: Instant,
) -> Result<Vec<Peer>, UpstreamError> {
    if key.port == 0 {
        return Err(UpstreamError::Target("its port is 0".to_owned()));
    }
    if let Ok(address) = key.host.parse::<IpAddr>() {
        return to.sender.reachable(&[SocketAddr::new(address, key.port)]);
    }
    let bytes = key.host.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
        let shown = key.host.escape_debug();
        return Err(UpstreamError::Target(format!("'{shown}' is not a host")));
    }
    let start = Instant::now();
    let resolver = upstreams.resolver();
    let Some(found) = before(end, resolver.resolve(&key.host, to.share.as_ref())).await else {
        return Err(UpstreamError::NameTimeout(format!(
            "asked {} for '{}', and nobody answered within {:?}; see 'nameserver' and 'options' in \
             /etc/resolv.conf",
            resolver.servers_shown(),
            key.host,
            end.saturating_duration_since(start),
        )));
    };
    let order = upstreams.last_worked().order(&key.host, &found?);
    let order = order.into_iter();
    let order: Vec<_> = order.map(|one| SocketAddr::new(one, key.port)).collect();
    to.sender.reachable(&order)
}

impl From<ResolveError> for UpstreamError {
    fn from(error: ResolveError) -> UpstreamError {
        let detail = error.to_string();
        match error.reason {
            ResolveFailure::Timeout => UpstreamError::NameTimeout(detail),
            ResolveFailure::Busy => UpstreamError::NamesBusy(detail),
            _ => UpstreamError::Name(error),
        }
    }
}

/// Connects to one of `peers`, before `end`.
pub(super) async fn connect(
    upstreams: &Upstreams,
    key: &Arc<Key>,
    peers: &[Peer],
    end: Instant,
) -> Result<(Peer, Box<dyn Io>), UpstreamError> {
    let several = peers.len() > 1;
    let addresses = peers.iter().map(|peer| peer.address).collect();
    let connecting = happy_eyeballs::connect(addresses, Async::<TcpStream>::connect);
    let connected = before(end, connecting).await;
    let (address, stream) = connected.unwrap_or(Err(UpstreamError::ConnectTimeout))?;
    if several {
        upstreams.last_worked().remember(&key.host, address.ip());
    }
    let mut tried = peers.iter();
    let Some(peer) = tried.find(|peer| peer.address == address) else {
        // It is one of those that were tried, or there is no connection.
        return Err(UpstreamError::ConnectTimeout);
    };
    // The request is written in as few pieces as possible, so waiting for more would only delay it.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        log::debug!("upstream {key}: cannot set TCP_NODELAY: {error}");
    }
    if !key.tls {
        return Ok((*peer, Box::new(stream)));
    }
    let memory = upstreams.clone();
    let reserve = move |bytes| memory.reserve(bytes);
    let shaking = upstreams.tls().connect(reserve, &key.host, stream);
    let shaken = before(end, shaking).await;
    let io = shaken.unwrap_or(Err(UpstreamError::ConnectTimeout))?;
    Ok((*peer, io))
}
