//! Sizes as people write them in board files, and as they read them.

use std::fmt;

use serde::Deserialize;

/// A number of bytes, written as `48Mi`, `512Ki`, `1Gi` or plain digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ByteSize(u64);

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => 0,
        };
        let number = if digits.bytes().all(|b| b.is_ascii_digit()) {
            digits.parse().ok()
        } else {
            None
        };
        number
            .and_then(|number: u64| number.checked_mul(unit))
            .filter(|bytes| *bytes > 0)
            .map(ByteSize)
            .ok_or_else(|| format!("`{text}` is not a size: write it like \"48Mi\" (Ki, Mi, Gi)"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "Gi"), (20, "Mi"), (10, "Ki"), (0, "")];
        let fits = |shift: &u32| self.0.is_multiple_of(1 << shift);
        let (shift, unit) = units
            .into_iter()
            .find(|(shift, _)| fits(shift))
            .unwrap_or((0, ""));
        f.pad(&format!("{}{unit}", self.0 >> shift))
    }
}

/// Bytes as decimal megabytes, rounded up: what fits a budget by this figure fits.
pub(crate) fn megabytes(bytes: u64) -> String {
    let hundredths = bytes.div_ceil(10_000);
    format!("{}.{:02} MB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly_and_shown_as_written() {
        let read = |text: &str| ByteSize::try_from(text.to_owned());
        for text in ["48Mi", "512Ki", "1Gi", "1000", "1536Mi"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "Mi",
            "0",
            "-1",
            "+1",
            "1.5Gi",
            "48 Mi",
            "48MiB",
            "20000000000Gi",
            "٤Mi",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn megabytes_are_decimal_and_rounded_up() {
        assert_eq!(megabytes(0), "0.00 MB");
        assert_eq!(megabytes(2_270_000), "2.27 MB");
        assert_eq!(megabytes(12_340_001), "12.35 MB");
    }
}
