//! Looks up an upstream's name and connects to it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::Async;

use super::io::Io;
use super::{Key, UpstreamError, Upstreams};
use crate::timeout::before;

/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;
/// Longest name in bytes (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 253;

/// Connects to `key` within `time`.
pub(super) async fn connect(
    upstreams: &Upstreams,
    key: &Arc<Key>,
    time: Duration,
) -> Result<Box<dyn Io>, UpstreamError> {
    if key.port == 0 {
        return Err(UpstreamError::Target("its port is 0".to_owned()));
    }
    let end = Instant::now() + time;
    let addresses = before(end, resolve(upstreams, key)).await;
    let addresses = addresses.unwrap_or(Err(UpstreamError::NameTimeout))?;
    let stream = connect_to(&addresses, end).await?;
    // The request is written in as few pieces as possible, so waiting for more would only delay it.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        log::debug!("upstream {key}: cannot set TCP_NODELAY: {error}");
    }
    if !key.tls {
        return Ok(Box::new(stream));
    }
    let memory = upstreams.clone();
    let reserve = move |bytes| memory.reserve(bytes);
    let shaking = upstreams.tls().connect(reserve, &key.host, stream);
    let shaken = before(end, shaking).await;
    shaken.unwrap_or(Err(UpstreamError::ConnectTimeout))
}

/// Looks up the addresses of an upstream, in a separate thread because the system's resolver
/// blocks.
async fn resolve(upstreams: &Upstreams, key: &Arc<Key>) -> Result<Vec<SocketAddr>, UpstreamError> {
    if let Ok(address) = key.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, key.port)]);
    }
    let bytes = key.host.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
        let shown = key.host.escape_debug();
        return Err(UpstreamError::Target(format!("'{shown}' is not a host")));
    }
    // The permit moves into the thread, which goes on even if the request gives up.
    let turn = upstreams.lookups().acquire_arc().await;
    let key = Arc::clone(key);
    let found = smol::unblock(move || {
        let found = (key.host.as_str(), key.port).to_socket_addrs();
        drop(turn);
        found.map(|found| found.take(ADDRESSES).collect::<Vec<_>>())
    });
    match found.await {
        Ok(addresses) if addresses.is_empty() => {
            Err(UpstreamError::Name("it has no address".to_owned()))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(UpstreamError::Name(error.to_string())),
    }
}

/// Tries the addresses in turn. Each gets its share of the time, so that one that is silent leaves
/// some to the next.
async fn connect_to(
    addresses: &[SocketAddr],
    end: Instant,
) -> Result<Async<TcpStream>, UpstreamError> {
    let mut last = UpstreamError::ConnectTimeout;
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let share = end.saturating_duration_since(now) / (addresses.len() - tried) as u32;
        last = match before(now + share, Async::<TcpStream>::connect(*address)).await {
            Some(Ok(stream)) => return Ok(stream),
            None => UpstreamError::ConnectTimeout,
            Some(Err(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused => UpstreamError::Refused(address.to_string()),
                io::ErrorKind::TimedOut => UpstreamError::ConnectTimeout,
                _ => UpstreamError::Unreachable(format!("{address}: {error}")),
            },
        };
    }
    Err(last)
}
