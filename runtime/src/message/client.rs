//! Who sent a request, and how: as far as this daemon knows, or believes somebody.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;

/// How a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme's name in URLs and header fields.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What a client and this daemon agreed on for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// The version: `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA calls it.
    pub cipher: String,
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// The client that a request comes from.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address: that of the connection, or the one that trusted proxies name. The port is 0 where
    /// they name none.
    pub address: SocketAddr,
    /// How it spoke: to this daemon, or to the trusted proxy that says so.
    pub scheme: Scheme,
    /// Who sent the request to this daemon: the client, or the last of the proxies.
    pub peer: SocketAddr,
    /// The port that the peer came to, by the number that endpoints name; 0 where none does.
    pub port: u16,
    /// Whether this device alone reaches that port.
    pub is_internal: bool,
    /// How that peer spoke.
    pub peer_scheme: Scheme,
    /// What TLS was agreed on with that peer, if any was.
    pub tls: Option<Arc<TlsSession>>,
    /// The `X-Forwarded-Host` of a trusted proxy.
    pub forwarded_host: Option<HeaderValue>,
    /// Whether the peer is a trusted proxy, so that what it says of the client is believed.
    pub is_proxied: bool,
}

impl From<SocketAddr> for Client {
    /// A client that speaks to this daemon itself, without TLS.
    fn from(address: SocketAddr) -> Client {
        Client {
            address,
            scheme: Scheme::Http,
            peer: address,
            port: 0,
            is_internal: false,
            peer_scheme: Scheme::Http,
            tls: None,
            forwarded_host: None,
            is_proxied: false,
        }
    }
}
