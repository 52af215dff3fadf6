//! How clients reach the daemon: over TLS, and through proxies that it trusts.

use std::path::PathBuf;

use zlayer_bundle::Networks;

/// Most certificates, with their keys, that one daemon proves itself with.
pub const IDENTITIES_MAX: usize = 32;

/// How clients reach the daemon.
#[derive(Debug, Clone, Default)]
pub struct Entrance {
    /// HTTPS, where there is a certificate.
    pub https: Option<Https>,
    /// The proxies that are believed when they say whose request they pass on (default: none).
    pub trusted: Networks,
    /// Connections from trusted proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// What the daemon proves itself with over HTTPS.
#[derive(Debug, Clone)]
pub struct Https {
    /// From 1 to [`IDENTITIES_MAX`]. The first is for clients that ask for no name, or for one that
    /// none is for.
    pub identities: Vec<IdentityFiles>,
}

/// The files of a certificate, with those that lead to its authority, and of its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificates in PEM, the daemon's own first.
    pub certificate: PathBuf,
    /// The key in PEM. It may be the same file.
    pub key: PathBuf,
    /// Whether both are credentials of systemd, which sees to it that nobody else reads them.
    pub is_credential: bool,
}
