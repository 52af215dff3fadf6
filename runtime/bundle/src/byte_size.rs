//! Sizes in bytes, as people write them in flags and in board files.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A number of bytes. It is read from text such as `67108864`, `64Mi` or `64M`: units with an `i` are powers of
/// 1024 (`Ki`, `Mi`, `Gi`), those without are powers of 1000 (`k`, `M`, `G`), as in Kubernetes and in the SI. Each
/// may have a `B` behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<ByteSize, NotASize> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = &text[digits.len()..];
        let unit: u64 = match unit.strip_suffix('B').unwrap_or(unit) {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            _ => return Err(NotASize(text.to_owned())),
        };
        // The number parser would take a sign.
        let has_only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = has_only_digits.then(|| digits.parse::<u64>().ok());
        let bytes = count.flatten().and_then(|count| count.checked_mul(unit));
        bytes.map(ByteSize).ok_or_else(|| NotASize(text.to_owned()))
    }
}

impl TryFrom<String> for ByteSize {
    type Error = NotASize;

    fn try_from(text: String) -> Result<ByteSize, NotASize> {
        text.parse()
    }
}

impl fmt::Display for ByteSize {
    /// The exact number, in the largest unit that divides it: `64Mi`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "Gi"), (20, "Mi"), (10, "Ki"), (0, "")];
        let divides = |shift: &u32| self.0.is_multiple_of(1 << shift) && self.0 > 0;
        let largest = units.into_iter().find(|(shift, _)| divides(shift));
        let (shift, unit) = largest.unwrap_or((0, ""));
        f.pad(&format!("{}{unit}", self.0 >> shift))
    }
}

/// Text that is no [`ByteSize`], or one of more bytes than 64 bits can count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotASize(pub String);

impl fmt::Display for NotASize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a size; write it like 64Mi: a whole number with Ki, Mi or Gi (powers of 1024), with k, M or \
             G (powers of 1000), or alone for bytes",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotASize {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("1B", 1),
            ("512Ki", 512 << 10),
            ("64Mi", 64 << 20),
            ("64MiB", 64 << 20),
            ("1Gi", 1 << 30),
            ("1GiB", 1 << 30),
            // What has no `i` in it is no power of 1024, or somebody gets more than he said.
            ("64M", 64_000_000),
            ("64MB", 64_000_000),
            ("512k", 512_000),
            ("512kB", 512_000),
            ("512K", 512_000),
            ("512KB", 512_000),
            ("1G", 1_000_000_000),
            ("1GB", 1_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_repeated_with_an_example() {
        for text in [
            "",
            "Mi",
            "-1",
            "+1",
            "1.5Mi",
            "64 Mi",
            "64Ti",
            "18446744073709551616",
            "20000000000G",
            "64m",
            "64mi",
            "64BB",
            "64iB",
            "64ki",
            "é",
            "٤Mi",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
            assert!(
                error.contains("64Mi") && error.contains("powers of 1000"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_size_is_shown_exactly_in_its_largest_unit() {
        for text in ["0", "1000", "512Ki", "48Mi", "1536Mi", "1Gi"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!(ByteSize(1024 << 10).to_string(), "1Mi");
    }

    #[test]
    fn files_hold_sizes_as_text() {
        assert_eq!(
            serde_json::from_str::<ByteSize>("\"48Mi\"").unwrap(),
            ByteSize(48 << 20)
        );
        let error = serde_json::from_str::<ByteSize>("\"much\"").unwrap_err();
        assert!(error.to_string().contains("'much' is not a size"));
    }
}
