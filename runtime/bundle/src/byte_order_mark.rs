//! The byte order mark that some editors put in front of a text in UTF-8, where it says nothing.

/// U+FEFF in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a file that people write, without a byte order mark in front of it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The texts in a file that was put together of several, any of which may have begun with a byte order mark.
pub fn between_marks(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest?;
        let mark = whole.windows(MARK.len()).position(|bytes| bytes == MARK);
        rest = mark.map(|mark| &whole[mark + MARK.len()..]);
        Some(&whole[..mark.unwrap_or(whole.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_skipped_in_front_alone() {
        let text = "\u{feff}a\u{feff}b".as_bytes();
        assert_eq!(without_mark(text), "a\u{feff}b".as_bytes());
        for text in [&b""[..], b"a", b"\xef\xbb", b"\xff\xfea"] {
            assert_eq!(without_mark(text), text);
        }
    }

    #[test]
    fn texts_are_told_apart_by_their_marks() {
        let of = |text: &'static str| between_marks(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(of("ab"), [b"ab"]);
        assert_eq!(of("\u{feff}a\u{feff}b"), [&b""[..], b"a", b"b"]);
    }
}
