//! Text helpers that several guests share. No WASI here: it compiles anywhere.

use std::fmt::Write;

/// `text` as a JSON string, quotes included (RFC 8259, section 7).
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of the field `name` in a query string. Values are taken as they
/// are: no guest needs percent-decoding.
pub fn field<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (pair == name).then_some(""),
        })
}

/// Path and query of a request target. The query is empty without a `?`.
pub fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Whether both are the same, in a time that their lengths alone rule.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    one.len() == other.len()
        && pairs.fold(0, |found, (a, b)| found | std::hint::black_box(a ^ b)) == 0
}

/// The first word of `text` and what stands behind it.
pub fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    (first, rest.trim_start())
}

/// The number that `text` begins with and what stands behind it, or `default`
/// and all of it.
pub fn number(text: &str, default: u64) -> (u64, &str) {
    let (first, rest) = word(text);
    first
        .parse()
        .map_or((default, text), |number| (number, rest))
}

/// `text` with `\r`, `\n`, `\t` and `\0` turned into what they stand for: what
/// no client can send in a header field, and a plugin can.
pub fn unescape(text: &str) -> String {
    let pairs = [("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0")];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// `text` with `%XX` turned into bytes and what is no UTF-8 then replaced.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = behind.get(..2);
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(b'%');
                rest = behind;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A 64-bit FNV-1a hash that is fed piece by piece.
pub struct Fnv(u64);

impl Fnv {
    /// The hash of nothing.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Sixteen hexadecimal digits.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        assert_eq!(word("deny 1  2 3"), ("deny", "1  2 3"));
        assert_eq!(word(""), ("", ""));
        assert_eq!(number("7 rest of it", 1), (7, "rest of it"));
        assert_eq!(number("rest of it", 1), (1, "rest of it"));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\r\\nb"), "a\r\nb");
        assert_eq!(percent_decoded("%22a%20b%22%"), "\"a b\"%");
        assert_eq!(percent_decoded("%zz%e9"), "%zz\u{fffd}");
    }

    #[test]
    fn equal_is_equal() {
        assert!(same(b"token", b"token"));
        assert!(!same(b"token", b"tokem"));
        assert!(!same(b"token", b"toke"));
    }

    #[test]
    fn fnv_of_the_published_vectors() {
        let hash = |bytes: &[u8]| {
            let mut fnv = Fnv::new();
            fnv.update(bytes);
            fnv.hex()
        };
        assert_eq!(hash(b""), "cbf29ce484222325");
        assert_eq!(hash(b"a"), "af63dc4c8601ec8c");
        assert_eq!(hash(b"foobar"), "85944171f73967e8");
    }
}
