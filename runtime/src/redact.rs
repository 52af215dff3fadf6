//! Keeps the values of secrets out of what the daemon shows.
//!
//! A plugin is given its secrets to use them, and may well put one into a log record, an error or a
//! label. All text from plugins passes here, before it is cut: a piece of a value could not be
//! recognised. The logger checks every record once more, for paths and other text from clients.
//!
//! What is recognised: the values themselves, each line of a value that has several, and both as
//! Rust's `{:?}` writes them. A value that a plugin encodes (base64, hexadecimal, percent signs) is
//! not recognised.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

/// The text that replaces a value.
pub const MASK: &str = "***";
/// Values shorter than this, in bytes, are not masked: they occur in too many other words, and
/// masking those would give the values away.
pub const SHORTEST: usize = 4;

static SECRETS: RwLock<Option<Arc<Redactor>>> = RwLock::new(None);

/// Sets the values that must not be shown, in place of those that were set before.
pub fn install<'a>(values: impl Iterator<Item = &'a str>) {
    let redactor = Arc::new(Redactor::new(values));
    *SECRETS.write().unwrap_or_else(PoisonError::into_inner) = Some(redactor);
}

/// Returns `text` with every secret masked.
pub fn scrub(text: &str) -> Cow<'_, str> {
    match secrets() {
        Some(secrets) => secrets.scrub(text),
        None => Cow::Borrowed(text),
    }
}

/// Returns the beginning of `text` with every secret masked, at most `bytes` bytes.
pub fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    match secrets() {
        Some(secrets) => secrets.cut(text, bytes),
        None => Cow::Borrowed(prefix(text, bytes)),
    }
}

/// How many bytes at the end of `bytes` may be the beginning of a secret that goes on in what
/// follows.
pub fn unfinished(bytes: &[u8]) -> usize {
    secrets().map_or(0, |secrets| secrets.unfinished(bytes))
}

/// Bytes of the longest value that is masked; 0 if there is none.
pub fn longest() -> usize {
    secrets().map_or(0, |secrets| secrets.longest())
}

fn secrets() -> Option<Arc<Redactor>> {
    // The value is only ever replaced as a whole.
    SECRETS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// The values, longest first, so that a value that contains another is masked as a whole.
struct Redactor {
    values: Vec<Box<str>>,
}

impl Redactor {
    fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Redactor {
        let mut values: Vec<Box<str>> = Vec::new();
        for secret in secrets {
            for part in std::iter::once(secret).chain(secret.lines()) {
                values.push(part.into());
                let quoted = format!("{part:?}");
                values.push(quoted[1..quoted.len() - 1].into());
            }
        }
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by(|left, right| right.len().cmp(&left.len()).then(left.cmp(right)));
        values.dedup();
        Redactor { values }
    }

    fn longest(&self) -> usize {
        self.values.first().map_or(0, |value| value.len())
    }

    fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut scrubbed = Cow::Borrowed(text);
        for value in &self.values {
            if scrubbed.contains(&**value) {
                scrubbed = Cow::Owned(scrubbed.replace(&**value, MASK));
            }
        }
        scrubbed
    }

    fn cut<'a>(&self, text: &'a str, bytes: usize) -> Cow<'a, str> {
        // With this many more bytes, a value that begins before the cut ends within the piece.
        let piece = prefix(text, bytes.saturating_add(self.longest()));
        let mut shown = self.scrub(piece);
        // A value that begins after the cut may not end there, and shorter masks can move it before
        // the cut.
        if piece.len() < text.len() {
            let end = shown.len() - self.unfinished(shown.as_bytes());
            shorten(&mut shown, end);
        }
        shorten(&mut shown, bytes);
        shown
    }

    fn unfinished(&self, bytes: &[u8]) -> usize {
        let starts = |value: &str| {
            let most = bytes.len().min(value.len().saturating_sub(1));
            (1..=most)
                .rev()
                .find(|&count| bytes.ends_with(&value.as_bytes()[..count]))
                .unwrap_or(0)
        };
        self.values
            .iter()
            .map(|value| starts(value))
            .max()
            .unwrap_or(0)
    }
}

/// The longest prefix of `text` with at most `bytes` bytes that ends between characters.
fn prefix(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Cuts `text` to at most `bytes` bytes, without breaking a character.
fn shorten(text: &mut Cow<'_, str>, bytes: usize) {
    match text {
        Cow::Borrowed(text) => *text = prefix(text, bytes),
        Cow::Owned(text) => text.truncate(text.floor_char_boundary(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Redactor {
        Redactor::new(values.iter().copied())
    }

    #[test]
    fn values_are_masked_wherever_they_stand() {
        let secrets = of(&["hunter2", "hunter2-longer", "abc", ""]);
        assert_eq!(secrets.scrub("no secret, abc"), "no secret, abc");
        assert_eq!(secrets.scrub("a hunter2 b hunter2"), "a *** b ***");
        assert_eq!(secrets.scrub("hunter2-longer"), "***");
        assert_eq!(of(&[]).scrub("any"), "any");
    }

    #[test]
    fn lines_and_escaped_forms_are_known() {
        let secrets = of(&["first line\nsecond \"line\"\n"]);
        assert_eq!(secrets.scrub("at first line."), "at ***.");
        assert_eq!(secrets.scrub("first line\nsecond \"line\"\n!"), "***!");
        let shown = format!("{:?}", "first line\nsecond \"line\"\n");
        assert_eq!(secrets.scrub(&shown), "\"***\"");
        assert_eq!(secrets.scrub("second \\\"line\\\""), "***");
    }

    #[test]
    fn a_cut_never_leaves_a_piece_of_a_value() {
        let secrets = of(&["0123456789", "é-secret", "xyxy"]);
        for text in [
            "0123456789".repeat(20),
            "ab 0123456789 é-secret cd ".repeat(9),
            "xyxy0123456789".repeat(9),
        ] {
            for bytes in 0..text.len() + 2 {
                let shown = secrets.cut(&text, bytes);
                assert!(shown.len() <= bytes, "{shown}");
                for piece in ["0", "9", "é", "sec", "x", "y"] {
                    assert!(!shown.contains(piece), "{piece} in {shown}");
                }
            }
        }
        assert_eq!(secrets.cut("short 0123456789", 100), "short ***");
        assert_eq!(secrets.cut("short", 3), "sho");
    }

    #[test]
    fn the_beginning_of_a_value_at_the_end_is_found() {
        let secrets = of(&["abcdef", "cdxyz"]);
        for (text, count) in [
            ("", 0),
            ("xx", 0),
            ("xabc", 3),
            ("abcd", 4),
            ("abcdef", 0),
            ("xcd", 2),
        ] {
            assert_eq!(secrets.unfinished(text.as_bytes()), count, "{text}");
        }
        assert_eq!(secrets.longest(), 6);
    }
}
