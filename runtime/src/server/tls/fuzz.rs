//! What holds for whatever stands in a certificate. The fuzz targets check it, and so does a test.

use std::time::{Duration, UNIX_EPOCH};

use super::validity::{Validity, shown};

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
    fn whatever_stands_in_a_certificate_is_read_or_refused() {
        mutations::each("files", 20_000, |input| {
            super::certificate(input.get(1..).unwrap_or_default());
        });
    }
}
