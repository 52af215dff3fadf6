//! Reads the certificates that the daemon proves itself with, and their keys.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_rustls::rustls::client::verify_server_name;
use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::server::ParsedCertificate;
use futures_rustls::rustls::sign::CertifiedKey;
use futures_rustls::rustls::{Error as TlsError, InconsistentKeys};

use rustix::process::geteuid;
use zlayer_bundle::open_regular;

use super::pem::{certificates, private_key};
use super::validity::{Standing, Validity, shown};
use crate::clock::ClockState;
use crate::config::IdentityFiles;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::secrets;
use crate::sync;

/// Most bytes of such a file. A chain has some 4 KiB.
const FILE_BYTES: u64 = 64 << 10;

/// A certificate and its key.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// What was last told of the certificate's dates.
    told: Mutex<Standing>,
    /// What is kept of it is charged here.
    _memory: Reservation,
}

impl Identity {
    /// Reads the files. What is kept is charged to a reservation from `reserve`. `owner` is an account that
    /// the key may belong to, beside this process's own and root.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not what it should be; the error names it, and what mends it.
    pub(super) fn read(
        files: &IdentityFiles,
        provider: &CryptoProvider,
        owner: Option<u32>,
        reserve: impl Fn(usize) -> Option<Reservation>,
    ) -> Result<Identity> {
        let (text, found) = read(&files.certificate, "certificate")?;
        let certificates = certificates(&text)
            .map_err(|reason| wrong("certificate", &files.certificate, &reason))?;
        let (key_text, found) = match files.certificate == files.key {
            true => (text, found),
            false => read(&files.key, "key")?,
        };
        let wrong_key = |reason: &str| wrong("key", &files.key, reason);
        if !files.is_credential
            && let Some(exposure) = secrets::exposure(&files.key, &found, owner)
        {
            return Err(wrong_key(&exposure));
        }
        let key = private_key(&key_text).map_err(|reason| wrong_key(&reason))?;
        // The certificates and the key as they are, and what is worked out from the key for each
        // signature: for RSA less than four times its bytes.
        let bytes: usize = certificates.iter().map(|one| one.len()).sum();
        let memory = reserve(bytes + 4 * key_text.len())
            .ok_or_else(|| wrong_key("it and its certificates are too large together"))?;
        let key = provider.key_provider.load_private_key(key).map_err(|_| {
            wrong_key(
                "it is of a kind that cannot be used; RSA of 2048 to 4096 bits, ECDSA on P-256 or \
                 P-384, and Ed25519 can",
            )
        })?;
        let key = CertifiedKey::new(certificates, key);
        if let Err(error) = key.keys_match() {
            mismatch(&key, &error, files)?;
        }
        Ok(Identity {
            key: Arc::new(key),
            told: Mutex::new(Standing::Holds),
            _memory: memory,
        })
    }

    /// Whether the certificate is for this name (RFC 6125, with a wildcard for its leftmost label).
    pub(super) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let certificate = self.key.end_entity_cert();
        let parsed = certificate.and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
    }

    /// The certificate's dates; `None` where it is not built like one.
    pub(super) fn validity(&self) -> Option<Validity> {
        Validity::of(self.key.cert.first()?)
    }

    /// What is wrong with the certificate's dates, if anything is that was not told before, at the time `now` of a
    /// clock that is known to be right, or not.
    pub(super) fn complaint(&self, now: SystemTime, clock: ClockState) -> Option<String> {
        let validity = self.validity()?;
        let standing = validity.at(now);
        // It was issued since the time that such a clock is held against.
        let is_no_wonder = standing == Standing::Early && clock == ClockState::Unset;
        if is_no_wonder || mem::replace(&mut *sync::lock(&self.told), standing) == standing {
            return None;
        }
        let told = match standing {
            Standing::Holds => return None,
            Standing::Ends(_) => {
                return Some(format!(
                    "expires at {}; renew it",
                    shown(validity.not_after)
                ));
            }
            Standing::Early => format!("does not hold before {}", shown(validity.not_before)),
            Standing::Expired => format!("has expired at {}", shown(validity.not_after)),
        };
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(-1, |since| since.as_secs() as i64);
        Some(format!(
            "{told}, so clients refuse it; this device's clock says {} ({}), see whether it is right",
            shown(seconds),
            clock.name()
        ))
    }
}

/// The key is not that of the first certificate. Says what else it is.
fn mismatch(key: &CertifiedKey, error: &TlsError, files: &IdentityFiles) -> Result<()> {
    let is_for = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key.key))
            .keys_match()
            .is_ok()
    };
    match error {
        TlsError::InconsistentKeys(InconsistentKeys::Unknown) => Ok(()),
        TlsError::InconsistentKeys(_) if key.cert.iter().any(is_for) => Err(wrong(
            "certificate",
            &files.certificate,
            "the certificate that the key is for is not the first; put it in front of those of its authority",
        )),
        TlsError::InconsistentKeys(_) => Err(wrong(
            "key",
            &files.key,
            &format!(
                "it is not the key of the certificate {}; name the files of each pair in the same order",
                files.certificate.display()
            ),
        )),
        _ => Err(wrong(
            "certificate",
            &files.certificate,
            &format!("its first certificate cannot be read ({error})"),
        )),
    }
}

fn wrong(what: &str, file: &Path, reason: &str) -> Error {
    Error::Usage(format!("TLS {what} {}: {reason}", file.display()))
}

fn read(file: &Path, what: &str) -> Result<(Vec<u8>, Metadata)> {
    let read = || -> io::Result<(Vec<u8>, Metadata)> {
        let (opened, found): (File, _) = open_regular(file)?;
        let mut bytes = Vec::new();
        opened.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((bytes, found))
    };
    let (bytes, found) = read().map_err(|error| {
        Error::device(
            format!(
                "TLS {what} {}: cannot be read by account {}",
                file.display(),
                geteuid().as_raw()
            ),
            error,
        )
    })?;
    match bytes.len() as u64 > FILE_BYTES {
        true => Err(wrong(
            what,
            file,
            &format!("it has more than {} KiB", FILE_BYTES >> 10),
        )),
        false => Ok((bytes, found)),
    }
}
