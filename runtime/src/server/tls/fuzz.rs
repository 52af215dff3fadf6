//! What holds for whatever stands in the files of a certificate and a key. The fuzz targets check it,
//! and so does a test.

use std::time::{Duration, UNIX_EPOCH};

use futures_rustls::rustls::pki_types::PrivateKeyDer;

use super::pem::{certificates, private_key};
use super::validity::{LAST, Standing, Validity, shown};

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

/// Nothing of what could be a part of a key is said.
fn shows_nothing(said: &str, input: &[u8]) {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    for part in input
        .split(|byte| !is_base64(byte))
        .filter(|part| part.len() >= 16)
    {
        assert!(!said.contains(&*String::from_utf8_lossy(part)), "{said}");
    }
}

/// Reads `input` as a certificate: it holds between its dates, and not before or after them.
pub fn certificate(input: &[u8]) {
    let Some(validity) = Validity::of(input) else {
        return;
    };
    let Validity {
        not_before,
        not_after,
    } = validity;
    for date in [not_before, not_after] {
        let said = shown(date);
        let read = httpdate::parse_http_date(&said).ok();
        let read = read.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        // Fields like hours may be larger than a clock's, so the last day may end in the year after.
        let last = Duration::from_secs(LAST);
        let date = u64::try_from(date).ok().map(Duration::from_secs);
        assert_eq!(read, date.map(|date| date.min(last)), "{said}");
    }
    for now in [not_before - 1, not_before, not_after, not_after + 1] {
        let Ok(since) = u64::try_from(now) else {
            continue;
        };
        let wanted = match () {
            () if now < not_before => Some(Standing::Early),
            () if now > not_after => Some(Standing::Expired),
            () => None,
        };
        let standing = validity.at(UNIX_EPOCH + Duration::from_secs(since));
        let holds = matches!(standing, Standing::Holds | Standing::Ends(1 | 7 | 30));
        assert!(
            wanted.map_or(holds, |wanted| wanted == standing),
            "{standing:?}"
        );
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
