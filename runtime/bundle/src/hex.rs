//! Bytes as lower-case hexadecimal text.

use std::fmt::Write as _;

/// Writes `bytes` as two lower-case digits each.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads exactly `N` bytes. `None` for another length or any other character.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_go_both_ways() {
        assert_eq!(encode(&[0x00, 0xff, 0x1a]), "00ff1a");
        assert_eq!(decode("00ff1A"), Some([0x00, 0xff, 0x1a]));
    }

    #[test]
    fn other_text_is_refused() {
        assert_eq!(decode::<2>("00f"), None);
        assert_eq!(decode::<2>("00ff1a"), None);
        assert_eq!(decode::<2>("00fg"), None);
        assert_eq!(decode::<2>("+0+1"), None);
        assert_eq!(decode::<2>("\u{fc}\u{fc}"), None);
    }
}
