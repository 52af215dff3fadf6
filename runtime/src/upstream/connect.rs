//! Finds an upstream and connects to it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::Async;

use super::io::Io;
use super::{Key, UpstreamError, Upstreams};
use crate::timeout::before;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;
/// Bytes of a name (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 253;

/// A connection to `key`, within `time`.
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
    // A request goes out in as few writes as it needs; waiting for more would only delay it.
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

/// The addresses of an upstream. The system is asked in a thread of its own: it takes its time.
async fn resolve(upstreams: &Upstreams, key: &Arc<Key>) -> Result<Vec<SocketAddr>, UpstreamError> {
    if let Ok(address) = key.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, key.port)]);
    }
    let bytes = key.host.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
        let shown = key.host.escape_debug();
        return Err(UpstreamError::Target(format!("'{shown}' is not a host")));
    }
    // It goes into the thread, which outlives a request that gives up.
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

/// Tries the addresses in turn. Each gets its share of the time, so that one that is silent leaves some to the
/// next.
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
