//! What may be set of the connections to upstreams.

use std::path::PathBuf;
use std::time::Duration;

/// Bounds on the connections to upstreams.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Open connections to all upstreams, in use or idle (default 256).
    pub connections: usize,
    /// Open connections to one upstream (default 192, as many as there are clients).
    pub per_upstream: usize,
    /// Connections that the requests of one plugin may use at the same time (default 192), so that
    /// the rest is left to others.
    pub per_plugin: usize,
    /// Idle connections to all upstreams that are kept (default 32).
    pub idle: usize,
    /// How long idle connections are kept (default 30 s).
    pub idle_time: Duration,
    /// Limits of response heads, chunk lines and trailers (default as for requests, but 32 KiB of
    /// head and 256 fields: a head is charged by its bytes).
    pub http: zlayer_http1::Limits,
    /// The file of certificates that TLS upstreams are checked against, in PEM (default: the
    /// system's, `/etc/ssl/certs/ca-certificates.crt`).
    pub tls_roots: Option<PathBuf>,
    /// Whether fields of clients go on whose names have underscores (default: no).
    pub underscore_headers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connections: 256,
            per_upstream: 192,
            per_plugin: 192,
            idle: 32,
            idle_time: Duration::from_secs(30),
            http: zlayer_http1::Limits {
                head_bytes: 32 << 10,
                headers: zlayer_http1::MAX_RESPONSE_HEADERS,
                ..zlayer_http1::Limits::default()
            },
            tls_roots: None,
            underscore_headers: false,
        }
    }
}
