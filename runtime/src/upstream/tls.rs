//! TLS to upstreams: rustls, with the system's root certificates or the device's own.
//!
//! # What strangers cost
//!
//! A connection is charged [`TLS_SHARE`](super::pool::TLS_SHARE) on top of what any has. The roots
//! are charged as long as they are held. No session is kept to be resumed: a server could make such
//! a session as large as it likes, and connections are pooled anyway.

mod roots;
mod verifier;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use futures_rustls::client::TlsStream;
use futures_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, crypto};
use futures_rustls::{TlsConnector, rustls};
use smol::Async;
use smol::io::AsyncRead;
use smol::lock::OnceCell;

use super::UpstreamError;
use super::io::Io;
use crate::blocking::unblock;
use crate::error::Error;
use crate::memory::Reservation;
use crate::wire::wait_for_seed;
use roots::RootsError;
use verifier::{FlooredTime, Verifier};

pub use roots::SYSTEM as SYSTEM_ROOTS;

/// Encrypted bytes of one connection that wait to be sent; rustls itself would allow 64 KiB.
const UNSENT_BYTES: usize = 16 << 10;

/// The client's side of TLS. The system's root certificates are read at the first handshake.
pub(super) struct Tls {
    roots: PathBuf,
    ready: OnceCell<Ready>,
}

/// What all connections share.
struct Ready {
    connector: TlsConnector,
    _memory: Reservation,
}

impl Tls {
    /// Trusts the certificates in the file `roots`, or the system's.
    pub(super) fn new(roots: Option<PathBuf>) -> Tls {
        Tls {
            roots: roots.unwrap_or_else(|| roots::SYSTEM.into()),
            ready: OnceCell::new(),
        }
    }

    /// Shakes hands with `host`, whose certificate must be for that name. The first call reads the
    /// roots, whose memory is taken from `reserve`.
    pub(super) async fn connect(
        &self,
        reserve: impl Fn(usize) -> Option<Reservation> + Send + 'static,
        host: &str,
        stream: Async<TcpStream>,
    ) -> Result<Box<dyn Io>, UpstreamError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| UpstreamError::Tls(format!("'{host}' is no name for a certificate")))?;
        let ready = self.ready.get_or_try_init(|| async {
            let roots = self.roots.clone();
            let read = unblock(move || prepare(&roots, reserve)).await;
            read.map_err(|error| self.unusable(error))
        });
        wait_for_seed().await;
        let connector = &ready.await?.connector;
        let shaken = connector.connect_with(name, stream, |session| {
            session.set_buffer_limit(Some(UNSENT_BYTES));
        });
        match shaken.await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let reason = error.to_string();
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                Err(match cause {
                    Some(rustls::Error::InvalidCertificate(_)) => {
                        UpstreamError::Certificate(reason)
                    }
                    _ => UpstreamError::Tls(reason),
                })
            }
        }
    }

    /// Reads the roots now, so that a file which cannot be used is reported at the start.
    pub(super) fn prepare(
        &self,
        reserve: impl Fn(usize) -> Option<Reservation>,
    ) -> Result<(), Error> {
        let file = self.roots.display();
        let read = || prepare(&self.roots, reserve);
        let ready = self.ready.get_or_try_init_blocking(read);
        ready.map(drop).map_err(|error| match error {
            RootsError::Open(error) => Error::device(format!("--tls-roots {file}"), error),
            RootsError::Content(reason) => Error::Usage(format!(
                "--tls-roots: the root certificates in {file}: {reason}; \
                 it wants a file of certificates in PEM"
            )),
            RootsError::NoMemory => Error::Usage(format!(
                "--tls-roots {file}: --memory-max leaves no room for it"
            )),
        })
    }

    fn unusable(&self, error: RootsError) -> UpstreamError {
        let reason = match error {
            RootsError::Open(error) => error.to_string(),
            RootsError::Content(reason) => reason,
            RootsError::NoMemory => return UpstreamError::NoMemory,
        };
        UpstreamError::Tls(format!(
            "the root certificates in {}: {reason}; install the system's (ca-certificates) \
             or name a file with --tls-roots",
            self.roots.display()
        ))
    }
}

fn prepare(
    file: &Path,
    reserve: impl Fn(usize) -> Option<Reservation>,
) -> Result<Ready, RootsError> {
    let (roots, memory) = roots::read(file, reserve)?;
    let provider = Arc::new(crypto::ring::default_provider());
    let unusable = |error: &dyn std::error::Error| RootsError::Content(error.to_string());
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = Verifier::new(usual.build().map_err(|error| unusable(&error))?);
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(FlooredTime))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        // What is its own is which time counts, while the clock is not set.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Ready {
        connector: TlsConnector::from(Arc::new(config)),
        _memory: memory,
    })
}

impl Io for TlsStream<Async<TcpStream>> {
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        // Session tickets come unasked. This read takes them in.
        Pin::new(self).poll_read(cx, &mut [0]).is_pending()
    }
}
