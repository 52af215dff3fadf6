//! What concerns the device as a whole.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AccessOutput, LogOutput, Network};

/// What concerns the device as a whole: what a flag of the daemon says, under the flag's name. A flag that
/// is given wins over what a deployment says.
///
/// Who the daemon is, where its data lies and whom it trusts is not for a deployment to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSettings {
    /// Address to listen on.
    pub bind: Option<IpAddr>,
    /// Port of HTTP; 0 lets the system choose.
    pub port: Option<u16>,
    /// Port of HTTPS; 0 lets the system choose.
    pub tls_port: Option<u16>,
    /// What the daemon proves itself with over HTTPS, on the device.
    pub certificates: Vec<CertificateFiles>,
    /// Whether requests without TLS are redirected to HTTPS.
    pub redirect_http: Option<bool>,
    /// Proxies that are believed when they say whose request they pass on.
    pub trusted_proxies: Vec<Network>,
    /// Whether connections from those begin with a header of the PROXY protocol.
    pub proxy_protocol: Option<bool>,
    /// Port of the admin interface on 127.0.0.1.
    pub admin_port: Option<u16>,
    /// File of the root certificates that TLS upstreams are checked against, on the device.
    pub tls_roots: Option<PathBuf>,
    /// Where the log goes.
    pub log: Option<LogOutput>,
    /// Where a line for each request goes.
    pub access_log: Option<AccessOutput>,
    /// Bytes that plugins, bodies, connections and the store may take together.
    pub memory_max: Option<u64>,
    /// Threads that serve.
    pub threads: Option<u32>,
    /// Handles that an instance may hold.
    pub max_handles: Option<u32>,
    /// Client connections at the same time.
    pub max_connections: Option<u32>,
    /// Bytes of the largest body that a typed plugin takes.
    pub max_body: Option<u64>,
    /// Bytes of the largest WebSocket message.
    pub max_message: Option<u64>,
    /// Bytes of the response cache.
    pub cache_max: Option<u64>,
    /// Whether clients' header names with underscores go on to upstreams.
    pub underscore_headers: Option<bool>,
    /// How long each phase of an exchange may take.
    pub timeouts: TimeoutSettings,
}

impl DeviceSettings {
    /// These settings, and what `other` says where they say nothing. Lists are taken as a whole.
    #[must_use]
    pub fn or(self, other: DeviceSettings) -> DeviceSettings {
        DeviceSettings {
            bind: self.bind.or(other.bind),
            port: self.port.or(other.port),
            tls_port: self.tls_port.or(other.tls_port),
            certificates: match self.certificates.is_empty() {
                true => other.certificates,
                false => self.certificates,
            },
            redirect_http: self.redirect_http.or(other.redirect_http),
            trusted_proxies: match self.trusted_proxies.is_empty() {
                true => other.trusted_proxies,
                false => self.trusted_proxies,
            },
            proxy_protocol: self.proxy_protocol.or(other.proxy_protocol),
            admin_port: self.admin_port.or(other.admin_port),
            tls_roots: self.tls_roots.or(other.tls_roots),
            log: self.log.or(other.log),
            access_log: self.access_log.or(other.access_log),
            memory_max: self.memory_max.or(other.memory_max),
            threads: self.threads.or(other.threads),
            max_handles: self.max_handles.or(other.max_handles),
            max_connections: self.max_connections.or(other.max_connections),
            max_body: self.max_body.or(other.max_body),
            max_message: self.max_message.or(other.max_message),
            cache_max: self.cache_max.or(other.cache_max),
            underscore_headers: self.underscore_headers.or(other.underscore_headers),
            timeouts: self.timeouts.or(other.timeouts),
        }
    }
}

impl DeviceSettings {
    /// The settings that these and `others` say differently, by their names, but for those that only say where clients
    /// come in: these change while a daemon serves.
    pub fn differing(&self, others: &DeviceSettings) -> Vec<&'static str> {
        let DeviceSettings {
            bind: _,
            port: _,
            tls_port: _,
            certificates,
            redirect_http: _,
            trusted_proxies,
            proxy_protocol,
            admin_port,
            tls_roots,
            log,
            access_log,
            memory_max,
            threads,
            max_handles,
            max_connections,
            max_body,
            max_message,
            cache_max,
            underscore_headers,
            timeouts,
        } = self;
        let all = [
            ("certificates", *certificates != others.certificates),
            (
                "trusted_proxies",
                *trusted_proxies != others.trusted_proxies,
            ),
            ("proxy_protocol", *proxy_protocol != others.proxy_protocol),
            ("admin_port", *admin_port != others.admin_port),
            ("tls_roots", *tls_roots != others.tls_roots),
            ("log", *log != others.log),
            ("access_log", *access_log != others.access_log),
            ("memory_max", *memory_max != others.memory_max),
            ("threads", *threads != others.threads),
            ("max_handles", *max_handles != others.max_handles),
            (
                "max_connections",
                *max_connections != others.max_connections,
            ),
            ("max_body", *max_body != others.max_body),
            ("max_message", *max_message != others.max_message),
            ("cache_max", *cache_max != others.cache_max),
            (
                "underscore_headers",
                *underscore_headers != others.underscore_headers,
            ),
            ("timeouts", *timeouts != others.timeouts),
        ];
        let differing = all.iter().filter(|(_, differs)| *differs);
        differing.map(|(name, _)| *name).collect()
    }
}

/// A certificate and its key, on the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateFiles {
    /// Files in PEM. They may be the same one.
    Files {
        /// The certificate, with those that lead to its authority behind it.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// The systemd credentials `NAME.crt` and `NAME.key`, or `NAME` with both.
    Credential(String),
}

/// How long each phase of an exchange may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutSettings {
    /// A kept-alive connection's silence.
    pub idle: Option<Duration>,
    /// From a request's first byte to the end of its head.
    pub head: Option<Duration>,
    /// From the end of the head to the start of the answer.
    pub request: Option<Duration>,
    /// Without progress of a body.
    pub stall: Option<Duration>,
    /// A request's body in all.
    pub upload: Option<Duration>,
    /// A WebSocket's silence before a ping, and after it.
    pub websocket_ping: Option<Duration>,
    /// What running requests get when the daemon stops.
    pub drain: Option<Duration>,
    /// How long a new generation has to serve well before it is trusted to.
    pub trial: Option<Duration>,
}

impl TimeoutSettings {
    /// These, and those of `other` where these say nothing.
    #[must_use]
    pub fn or(self, other: TimeoutSettings) -> TimeoutSettings {
        TimeoutSettings {
            idle: self.idle.or(other.idle),
            head: self.head.or(other.head),
            request: self.request.or(other.request),
            stall: self.stall.or(other.stall),
            upload: self.upload.or(other.upload),
            websocket_ping: self.websocket_ping.or(other.websocket_ping),
            drain: self.drain.or(other.drain),
            trial: self.trial.or(other.trial),
        }
    }
}
