//! Checks upstreams' certificates by a clock that may not be set yet.
//!
//! While the clock is not known to be right, the only thing that is known is the floor, a time that
//! has passed ([`crate::clock`]). A certificate that had expired by then has expired. One that begins
//! later may well have begun: it is checked at its own beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use futures_rustls::rustls::client::WebPkiServerVerifier;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::time_provider::TimeProvider;
use futures_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::clock::{self, ClockState};

/// The longest way from a certificate to its root of which each link may begin later than the last.
const LONGEST_CHAIN: usize = 8;

/// Tells the time that certificates are checked at: never before the floor.
#[derive(Debug)]
pub(super) struct FlooredTime;

impl TimeProvider for FlooredTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = clock::now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Checks as rustls does, but for certificates that have not begun where nobody knows the time.
#[derive(Debug)]
pub(super) struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    /// Whether it was told that the clock is not known to be right.
    told: AtomicBool,
}

impl Verifier {
    pub(super) fn new(usual: Arc<WebPkiServerVerifier>) -> Verifier {
        Verifier {
            usual,
            told: AtomicBool::new(false),
        }
    }

    fn tell(&self, state: ClockState) {
        if !self.told.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the clock is {}: certificates of upstreams are checked against {}, a time that has passed, \
                 until it is known to be set",
                state.name(),
                httpdate::fmt_http_date(clock::now())
            );
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| {
            self.usual
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        let state = clock::state();
        if state == ClockState::Synced {
            return verify(now);
        }
        self.tell(state);
        let mut at = now;
        for _ in 0..LONGEST_CHAIN {
            match verify(at) {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if not_before > at => at = not_before,
                verified => return verified,
            }
        }
        verify(at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
