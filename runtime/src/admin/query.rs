//! The parameters of a query (RFC 3986 section 3.4), written and read.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters in a query's value that are written with percent signs (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Encodes what may not stand in a query as it is.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Decodes percent signs. What is not UTF-8 then becomes U+FFFD, and a sign without two digits
/// stays.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The parameters of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        for text in ["api:users/1", "a&b=c%20 é\u{1f980}", "", "100%", "%zz"] {
            assert_eq!(decoded(&encoded(text)), text);
        }
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%+1é%é"), "%+1é%é");
        assert_eq!(decoded("%ff"), "\u{fffd}");
        let read: Vec<_> = pairs("tag=a%26b&&all&x=1=2").collect();
        let wanted = [("tag", "a&b"), ("all", ""), ("x", "1=2")];
        assert!(
            read.iter()
                .map(|(name, value)| (&**name, &**value))
                .eq(wanted)
        );
    }
}
