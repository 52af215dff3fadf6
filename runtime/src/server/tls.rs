//! TLS for clients, on rustls: versions 1.2 and 1.3 with the ciphers that it has, none of which is
//! weak.
//!
//! # What strangers cost
//!
//! A connection is charged [`TLS_SHARE`] beside what any has. What a client sends before hands are
//! shaken is bounded, and so is the time that it takes. Sessions are resumed by tickets, which clients
//! keep themselves. Nothing is read before hands are shaken (early data could be replayed).

mod certificates;
#[cfg(test)]
pub mod fuzz;
mod identities;
mod pem;
mod session;
#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]
mod tests;
mod validity;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::SystemTime;

use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::server::NoServerSessionStorage;
use futures_rustls::rustls::{self, ServerConfig};
use smol::{Async, Executor};

use crate::config::IdentityFiles;
use crate::error::{Error, Result};
use crate::wire::wait_for_seed;
use identities::Identities;
pub(super) use session::{HandshakeError, TlsStream};

pub use zlayer_bundle::TLS_SHARE;

/// Protocols behind TLS, by their names in ALPN (RFC 7301). A client that wants others alone, such as
/// HTTP/2, is refused by an alert that says so.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// The daemon's side of TLS. Clones share one.
#[derive(Clone)]
pub struct Https {
    config: Arc<ServerConfig>,
    identities: Arc<Identities>,
}

impl Https {
    /// Reads the certificates and keys. `owner` is an account that keys may belong to, beside this process's
    /// own and root.
    ///
    /// # Errors
    ///
    /// A file that is no use; the error says why, and what mends it.
    pub fn new(files: Vec<IdentityFiles>, owner: Option<u32>) -> Result<Https> {
        let provider = Arc::new(ring::default_provider());
        let identities = Identities::new(files, Arc::clone(&provider), owner)?;
        let identities = Arc::new(identities);
        let unusable =
            |error: rustls::Error| Error::device("cannot use TLS", std::io::Error::other(error));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Identities>::clone(&identities));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        Ok(Https {
            config: Arc::new(config),
            identities,
        })
    }

    /// Bytes of memory that certificates and keys may take.
    pub fn memory(&self) -> usize {
        self.identities.memory()
    }

    /// Reads the files anew, and uses them for connections to come. If one is no use, what was read
    /// before stays in use, and the log says why.
    pub async fn reload(&self) {
        self.identities.reload().await;
    }

    /// Tells the log in time of certificates that end; never returns.
    pub async fn watch(&self) {
        self.identities.watch().await;
    }

    /// The certificates in use: their files, how they stand, and when they end.
    pub fn describe(&self) -> Vec<(String, &'static str, Option<SystemTime>)> {
        self.identities.describe()
    }

    /// TLS on a client's socket. Hands are not shaken yet.
    pub(super) async fn begin(
        &self,
        socket: Async<TcpStream>,
        executor: &'static Executor<'static>,
    ) -> std::result::Result<TlsStream, HandshakeError> {
        self.identities.refresh(executor).await;
        wait_for_seed().await;
        TlsStream::new(socket, Arc::clone(&self.config))
    }
}
