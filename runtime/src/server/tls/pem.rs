//! Finds certificates and keys in PEM, and says what else a file is.

use futures_rustls::rustls::pki_types::pem::{self, PemObject};
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zlayer_bundle::between_marks;

/// The certificates in a file, in their order; at least one.
///
/// # Errors
///
/// What is in it instead.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = between_marks(text)
        .flat_map(CertificateDer::pem_slice_iter)
        .collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if contains(text, "PRIVATE KEY-----") => Err(
            "it holds a private key and no certificate; --tls-cert and --tls-key may have changed places"
                .to_owned(),
        ),
        Ok(_) => Err(absent(text, "certificate", "openssl x509 -inform der")),
        Err(error) => Err(malformed(&error)),
    }
}

/// The private key in a file, the first if there are several.
///
/// # Errors
///
/// What is in it instead, and nothing of what it says.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if contains(text, "BEGIN ENCRYPTED PRIVATE KEY") || contains(text, "Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted, and a daemon has nobody to ask for the password; decrypt it with \
             `openssl pkey -in FILE -out NEW`, and keep that at mode 0600"
                .to_owned(),
        );
    }
    let mut found = between_marks(text).flat_map(PrivateKeyDer::pem_slice_iter);
    match found.next() {
        Some(Ok(key)) => Ok(key),
        None if contains(text, "BEGIN CERTIFICATE-----") => Err(
            "it holds a certificate and no private key; name the file of the key with --tls-key"
                .to_owned(),
        ),
        None => Err(absent(text, "private key", "openssl pkey -inform der")),
        Some(Err(error)) => Err(malformed(&error)),
    }
}

/// Says why there is no `what` in a file.
fn absent(text: &[u8], what: &str, convert: &str) -> String {
    /// The first byte of whatever is encoded in DER here, a sequence.
    const DER: u8 = 0x30;
    match text {
        [] => "it is empty".to_owned(),
        [DER, ..] if !contains(text, "-----BEGIN") => {
            format!(
                "it is in DER, and PEM is wanted; convert it with `{convert} -in FILE -out NEW`"
            )
        }
        _ => format!("there is no {what} in PEM in it"),
    }
}

fn malformed(error: &pem::Error) -> String {
    match error {
        // These errors show bytes, of a key perhaps.
        pem::Error::MissingSectionEnd { .. } => "it is not valid PEM: it ends too early".to_owned(),
        pem::Error::IllegalSectionStart { .. } => {
            "it is not valid PEM: a line that begins a section is malformed".to_owned()
        }
        _ => "it is not valid PEM: its base64 cannot be read".to_owned(),
    }
}

fn contains(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len())
        .any(|window| window == needle.as_bytes())
}
