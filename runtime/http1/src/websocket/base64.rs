//! The little of base64 that the handshake needs (RFC 4648, 4).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64, padded.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            text.push(if place > group.len() {
                '='
            } else {
                char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize])
            });
        }
    }
    text
}

/// Whether `text` is sixteen bytes in base64: 22 letters, the last of which has four bits to spare,
/// and two signs of padding.
pub(super) fn is_sixteen_bytes(text: &[u8]) -> bool {
    match text {
        [letters @ .., b'=', b'='] => {
            letters.len() == 22 && letters.iter().all(|letter| ALPHABET.contains(letter))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_and_back() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn only_sixteen_bytes_are_sixteen_bytes() {
        assert!(is_sixteen_bytes(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_sixteen_bytes(encode(&[0xff; 16]).as_bytes()));
        for wrong in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZQQ==",
            "dGhlIHNhbXBsZSBub25jZ-==",
            "dGhlIHNhbXBsZSBub25j Q==",
        ] {
            assert!(!is_sixteen_bytes(wrong.as_bytes()), "{wrong}");
        }
    }
}
