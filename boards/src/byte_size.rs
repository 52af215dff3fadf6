//! Sizes as people read them.

/// Bytes as decimal megabytes, rounded up: what fits a budget by this figure fits.
pub(crate) fn megabytes(bytes: u64) -> String {
    let hundredths = bytes.div_ceil(10_000);
    format!("{}.{:02} MB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_are_decimal_and_rounded_up() {
        assert_eq!(megabytes(0), "0.00 MB");
        assert_eq!(megabytes(2_270_000), "2.27 MB");
        assert_eq!(megabytes(12_340_001), "12.35 MB");
    }
}
