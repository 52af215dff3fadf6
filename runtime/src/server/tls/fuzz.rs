//! What holds for whatever stands in the files of a certificate and a key. The fuzz targets check it,
//! and so does a test.

use std::time::{Duration, UNIX_EPOCH};

use futures_rustls::rustls::pki_types::PrivateKeyDer;

use super::pem::{certificates, private_key};
use super::validity::{Validity, shown};

/// Reads `input` as a file in PEM: what is found is written and found again, and what is said of a
/// file shows nothing of it.
pub fn pem(input: &[u8]) {
    match certificates(input) {
        Ok(found) => {
            assert!(!found.is_empty());
            let written: String = found
                .iter()
                .map(|one| section("CERTIFICATE", one))
                .collect();
            assert_eq!(certificates(written.as_bytes()), Ok(found.clone()));
            found.iter().for_each(|one| certificate(one));
        }
        Err(said) => shows_nothing(&said, input),
    }
    match private_key(input) {
        Ok(key) => {
            let kind = match key {
                PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
                PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
                _ => "PRIVATE KEY",
            };
            let written = section(kind, key.secret_der());
            let again = private_key(written.as_bytes());
            assert!(again.is_ok_and(|again| again == key));
        }
        Err(said) => shows_nothing(&said, input),
    }
}

/// A section of PEM (RFC 7468).
fn section(kind: &str, der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {kind}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                text.push(match place > group.len() {
                    true => '=',
                    false => char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]),
                });
            }
        }
        text.push('\n');
    }
    format!("{text}-----END {kind}-----\n")
}

/// None of the longer words of a file, which could be parts of a key, is said.
fn shows_nothing(said: &str, input: &[u8]) {
    let is_long = |word: &&[u8]| word.len() >= 16 && word.iter().all(u8::is_ascii_alphanumeric);
    for word in input.split(u8::is_ascii_whitespace).filter(is_long) {
        assert!(!said.contains(&*String::from_utf8_lossy(word)), "{said}");
    }
}

/// Reads `input` as a certificate.
pub fn certificate(input: &[u8]) {
    let Some(validity) = Validity::of(input) else {
        return;
    };
    for date in [validity.not_before, validity.not_after] {
        assert!(!shown(date).is_empty());
        let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(date).unwrap_or(0));
        let _ = validity.at(now);
    }
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_stands_in_pem_is_found_or_refused() {
        mutations::each("pem", 5_000, super::pem);
    }

    #[test]
    fn whatever_stands_in_a_certificate_is_read_or_refused() {
        mutations::each("files", 20_000, |input| {
            super::certificate(input.get(1..).unwrap_or_default());
        });
    }
}
