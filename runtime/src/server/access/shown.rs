//! Text of clients, as the access log shows it: as Apache and nginx write it, quotes, backslashes and
//! whatever is not printable ASCII as `\xHH`, so that no request can forge a line.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use super::urls::without_passwords;
use crate::redact::{self, MASK};

/// What stands behind a text that was cut.
pub(in crate::server) const CUT: &str = "...";

/// How the name of a query parameter ends whose value is nobody else's business.
const SECRET_ENDS: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "signature",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "sessionid",
    "jwt",
];
/// The last word of such a name.
const SECRET_WORDS: [&str; 10] = [
    "key",
    "auth",
    "authorization",
    "sig",
    "sid",
    "session",
    "pwd",
    "pass",
    "pin",
    "otp",
];
/// Such a name: what an authorization server hands out (RFC 6749 section 4.1.2).
const SECRET_NAME: &str = "code";

/// Text of a client's in quotes, at most `most` bytes of it; `-` stands for none.
pub(in crate::server) fn quoted(bytes: &[u8], most: usize) -> String {
    if bytes.is_empty() {
        return "\"-\"".to_owned();
    }
    let text = String::from_utf8_lossy(bytes);
    let masked = masked(&text);
    let shown = redact::cut(&masked, most);
    // A character is not cut in two, so less may be shown than would fit.
    let is_cut = masked.len() > most;
    let mut quoted = String::with_capacity(shown.len() + 2);
    quoted.push('"');
    let whole = escape(&mut quoted, &shown, most);
    if is_cut || !whole {
        quoted.push_str(CUT);
    }
    quoted.push('"');
    quoted
}

/// Appends `text` as nginx escapes it. Returns whether it fits into `most` bytes.
fn escape(out: &mut String, text: &str, most: usize) -> bool {
    let end = out.len() + most;
    for byte in text.bytes() {
        let is_plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if out.len() + if is_plain { 1 } else { 4 } > end {
            return false;
        }
        match is_plain {
            true => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            false => drop(write!(out, "\\x{byte:02X}")),
        }
    }
    true
}

/// Masks what a query, or what stands in front of a host, may hold of secrets.
fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains(['=', '@', '%']) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut is_masking = false;
    for piece in text.split_inclusive(['?', '&', ';', '#', ' ']) {
        let pair = piece.trim_end_matches(['?', '&', ';', '#', ' ']);
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
                shown.extend([name, "=", MASK, &piece[pair.len()..]]);
                is_masking = true;
            }
            // What stands behind `;` or `?` may still belong to the value.
            None if is_masking => shown.push_str(&piece[pair.len()..]),
            _ => {
                shown.push_str(piece);
                is_masking = false;
            }
        }
        is_masking &= piece.ends_with([';', '?']);
    }
    Cow::Owned(without_passwords(&shown))
}

/// Whether a query parameter of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name = name.to_ascii_lowercase();
    let is_between = |c: char| !c.is_ascii_alphanumeric();
    let word = name.trim_end_matches(is_between);
    let word = word.rsplit(is_between).next().unwrap_or_default();
    name == SECRET_NAME
        || SECRET_WORDS.contains(&word)
        || SECRET_ENDS.iter().any(|end| word.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::{FIELD, LINE};
    use super::*;

    #[test]
    fn nothing_of_a_client_leaves_its_quotes() {
        for (text, shown) in [
            (&b""[..], r#""-""#),
            (b"curl/8.5.0", r#""curl/8.5.0""#),
            (b"a\"b\\c\r\nd\x1b[31m", r#""a\x22b\x5Cc\x0D\x0Ad\x1B[31m""#),
            ("\u{e9}\u{202e}".as_bytes(), r#""\xC3\xA9\xE2\x80\xAE""#),
            (b"\x16\x03\x01\x7f", r#""\x16\x03\x01\x7F""#),
        ] {
            assert_eq!(quoted(text, FIELD), shown);
        }
    }

    #[test]
    fn a_line_is_bounded_whatever_it_holds() {
        assert_eq!(quoted(b"abcdef", 6), r#""abcdef""#);
        assert_eq!(quoted(b"abcdefg", 6), r#""abcdef...""#);
        assert_eq!(quoted("abcde\u{e9}".as_bytes(), 6), r#""abcde...""#);
        // An escape is whole or not there.
        assert_eq!(quoted(b"a\n\n", 6), r#""a\x0A...""#);
        for byte in [b'a', b'"', 0xff] {
            let long = vec![byte; 100_000];
            assert!(quoted(&long, LINE).len() <= LINE + CUT.len() + 2);
        }
        let longest = LINE + 2 * FIELD + 3 * (CUT.len() + 2);
        assert!(longest + 200 < zlayer_binlog::MESSAGE_BYTES);
    }

    #[test]
    fn what_queries_hold_of_secrets_is_masked() {
        for (text, shown) in [
            ("/a?access_token=x.y&b=1", "/a?access_token=***&b=1"),
            ("/a?b=1&API-Key=x==&c", "/a?b=1&API-Key=***&c"),
            ("/?idToken=x", "/?idToken=***"),
            ("/?access%5Ftoken=x", "/?access%5Ftoken=***"),
            ("/?user[password]=x&q=y", "/?user[password]=***&q=y"),
            ("/?X-Amz-Signature=x", "/?X-Amz-Signature=***"),
            ("/;jsessionid=x?a=b", "/;jsessionid=***?a=b"),
            ("/cb?code=x&state=y", "/cb?code=***&state=y"),
            ("https://h/#access_token=x", "https://h/#access_token=***"),
            ("https://u:p@h/a@b", "https://***@h/a@b"),
            ("/?a=http%3A%2F%2Fu%3Ap%40h", "/?a=http%3A%2F%2F***%40h"),
            ("GET /?token=x HTTP/1.1", "GET /?token=*** HTTP/1.1"),
            ("/?monkey=1&keyword=2&token=", "/?monkey=1&keyword=2&token="),
            ("/?country_code=de", "/?country_code=de"),
            ("/?token=ab;cd?ef&a=b", "/?token=***;?&a=b"),
            ("/?token=ab;a=b;c", "/?token=***;a=b;c"),
            ("/a@b?c=d", "/a@b?c=d"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
