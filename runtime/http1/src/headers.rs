//! Rules for header fields that requests, trailers and responses share.

use crate::HeaderError;

/// Whether `name` is a field name: a token, one byte at least (RFC 9110, 5.1 and 5.6.2).
#[must_use]
pub fn is_valid_header_name(name: &[u8]) -> bool {
    is_token(name)
}

/// Whether `value` holds nothing but what a field value may hold: visible ASCII, space, tab, and
/// bytes from 0x80 up (RFC 9110, 5.5). No CR, LF, NUL or other control byte passes.
///
/// Blanks at either end pass too: they are no part of a value, and the encoder leaves them out.
#[must_use]
pub fn is_valid_header_value(value: &[u8]) -> bool {
    value.iter().all(|byte| is_field_byte(*byte))
}

/// RFC 9110, 5.6.2: `token = 1*tchar`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN_BYTES[*byte as usize])
}

/// RFC 9110, 5.5: VCHAR, SP, HTAB and obs-text. Chunk extensions are held to the same bytes.
pub(crate) fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Strips OWS, which is spaces and tabs, from both ends (RFC 9110, 5.6.3).
pub(crate) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, blanks stripped, empty ones included (RFC 9110, 5.6.1).
///
/// Quoted strings are not looked into. The fields read this way are lists of tokens, where a quoted
/// string is wrong anyway.
pub(crate) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_blanks)
}

/// Appends one field line, blanks at the ends of the value left out.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), HeaderError> {
    if !is_valid_header_name(name.as_bytes()) {
        return Err(HeaderError::invalid_name(name));
    }
    if !is_valid_header_value(value) {
        return Err(HeaderError::invalid_value(name));
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(trim_blanks(value));
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Fields that must not be taken from a trailer section, because they frame, route, authenticate,
/// modify or describe a message before its content (RFC 9110, 6.5.1).
///
/// Lower case and sorted, for [`is_forbidden_trailer`].
const FORBIDDEN_TRAILERS: [&str; 50] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Whether a field of this name is dropped from a trailer section. An underscore counts as a hyphen,
/// as programs read it that get fields as variables (RFC 3875, 4.1.18).
pub(crate) fn is_forbidden_trailer(name: &str) -> bool {
    let name = name.bytes().map(|byte| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    });
    FORBIDDEN_TRAILERS
        .binary_search_by(|known| known.bytes().cmp(name.clone()))
        .is_ok()
}

/// RFC 9110, 5.6.2: the bytes of a token.
static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for name in ["a", "X-Y_z.1", "!#$%&'*+-.^_`|~09azAZ"] {
            assert!(is_valid_header_name(name.as_bytes()), "{name:?}");
        }
        for name in [
            "", " ", "a b", "a:", "(a)", "a\r", "a\0", "é", "a\t", "{a}", "a/b", "\x7f",
        ] {
            assert!(!is_valid_header_name(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn values_carry_no_control_bytes() {
        for byte in 0..=u8::MAX {
            let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
            assert_eq!(
                is_valid_header_value(&[b'a', byte, b'b']),
                !control,
                "{byte:#x}"
            );
        }
        assert!(is_valid_header_value(b""));
    }

    #[test]
    fn blanks_are_trimmed_from_both_ends_only() {
        assert_eq!(trim_blanks(b" \ta b\t "), b"a b");
        assert_eq!(trim_blanks(b" \t "), b"");
        assert_eq!(trim_blanks(b"\x0ba"), b"\x0ba");
    }

    #[test]
    fn lists_keep_their_empty_elements() {
        let elements: Vec<_> = list_elements(b"a, ,b,").collect();
        assert_eq!(elements, [&b"a"[..], b"", b"b", b""]);
    }

    #[test]
    fn forbidden_trailers_are_found_whatever_their_case() {
        assert!(
            FORBIDDEN_TRAILERS.is_sorted(),
            "the search needs a sorted table"
        );
        for name in FORBIDDEN_TRAILERS {
            assert!(is_forbidden_trailer(name), "{name}");
            assert!(is_forbidden_trailer(&name.to_ascii_uppercase()), "{name}");
            assert!(is_forbidden_trailer(&name.replace('-', "_")), "{name}");
        }
        for name in [
            "digest",
            "x-checksum",
            "server-timing",
            "",
            "hos",
            "hostt",
            "etag",
        ] {
            assert!(!is_forbidden_trailer(name), "{name}");
        }
    }
}
