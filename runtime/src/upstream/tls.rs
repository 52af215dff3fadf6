//! TLS to upstreams: rustls, with the system's root certificates.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use futures_rustls::client::TlsStream;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use futures_rustls::{TlsConnector, rustls};
use smol::Async;
use smol::io::AsyncRead;
use smol::lock::OnceCell;

use super::UpstreamError;
use super::connection::Io;

pub(super) const AVAILABLE: bool = true;

/// The client's side of TLS. The root certificates are read with the first handshake.
pub(super) struct Tls {
    roots: PathBuf,
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    /// Trusts the certificates in this file.
    pub(super) fn new(roots: PathBuf) -> Tls {
        Tls {
            roots,
            connector: OnceCell::new(),
        }
    }

    /// Shakes hands with `host`, whose certificate must be for that name.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: Async<TcpStream>,
    ) -> Result<Box<dyn Io>, UpstreamError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| UpstreamError::Tls(format!("'{host}' is no name for a certificate")))?;
        let connector = self.connector.get_or_try_init(|| async {
            let roots = self.roots.clone();
            smol::unblock(move || connector(&roots)).await
        });
        let shaken = connector.await?.connect(name, stream).await;
        match shaken {
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
}

fn connector(file: &Path) -> Result<TlsConnector, UpstreamError> {
    let wrong = |reason: String| {
        UpstreamError::Tls(format!(
            "the root certificates in {}: {reason}; install the system's (ca-certificates) \
             or name another file",
            file.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        // Old roots that are malformed by today's rules are of no use, and no harm.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(wrong("there are none".to_owned()));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Io for TlsStream<Async<TcpStream>> {
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        // Session tickets come unasked; this takes them in.
        Pin::new(self).poll_read(cx, &mut [0]).is_pending()
    }
}
