//! What a key may be.

/// Longest key in bytes.
pub const KEY_BYTES: usize = 1024;

/// Whether `text` may be a key: 1 to [`KEY_BYTES`] bytes without control characters. Plugins build
/// keys from what clients send, so a narrower alphabet would leave some clients uncounted.
pub(super) fn is_key(text: &str) -> bool {
    !text.is_empty() && is_prefix(text)
}

/// Whether keys may begin with `text`, which may be empty.
pub(super) fn is_prefix(text: &str) -> bool {
    // Control characters are Unicode's: C0, DEL and C1. The zero byte, which ends a namespace's
    // name in the database, is one of them.
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    text.len() <= KEY_BYTES && (text.bytes().all(is_plain) || !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_without_control_characters_is_a_key() {
        for key in [
            "a",
            " ",
            "a b",
            "a+b/c",
            "YWJj==",
            "%",
            "é",
            "日本語",
            "\u{10ffff}",
            "\u{a0}",
            &"k".repeat(KEY_BYTES),
        ] {
            assert!(is_key(key), "{key:?}");
        }
        for key in [
            "",
            "a\0",
            "\n",
            "\u{1f}",
            "a\u{7f}",
            "é\u{80}",
            "\u{9f}",
            &"k".repeat(KEY_BYTES + 1),
            &"é".repeat(KEY_BYTES / 2 + 1),
        ] {
            assert!(!is_key(key), "{key:?}");
        }
        assert!(is_prefix("") && !is_prefix("\t"));
    }
}
