//! The access log: a line for each request, written when it is over.
//!
//! What a client says is in it as Apache and nginx write it: quotes, backslashes and whatever is not
//! printable ASCII as `\xHH`, so that no request can forge a line. Tokens and passwords in queries are
//! masked by the names of their parameters, and the values of secrets as everywhere.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{HeaderName, REFERER, USER_AGENT};
use log::Level;
use percent_encoding::percent_decode_str;
use zlayer_binlog::{ACCESS_TARGET, Record};

use super::sent::Sent;
use crate::config::AccessOutput;
use crate::logger;
use crate::redact::{self, MASK};

/// Most bytes of a request line as it is shown, and of a header field. With both fields a line is
/// shorter than what the log takes, and than what a pipe takes in one piece.
const LINE: usize = 2048;
const FIELD: usize = 512;
/// What stands behind a text that was cut.
const CUT: &str = "...";

/// The status of a request whose client left before a response began, by nginx's convention.
pub(super) const CLIENT_LEFT: u16 = 499;
/// The status of a request whose connection was closed without a response, likewise.
pub(super) const CLOSED: u16 = 444;

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

/// A request that is on its way. Its line is written when this is dropped, however it ended.
pub(super) struct Entry {
    output: AccessOutput,
    client: IpAddr,
    id: Option<Arc<str>>,
    /// The request line, in quotes.
    request: String,
    /// The two fields of the format, each in quotes.
    fields: String,
    begun: Instant,
    sent: Arc<Sent>,
    /// The status if nothing was sent.
    unsent: u16,
}

impl Entry {
    /// For a request whose first byte came at `begun`.
    pub(super) fn new(
        output: AccessOutput,
        client: IpAddr,
        id: &Arc<str>,
        head: &http::request::Parts,
        begun: Instant,
        sent: &Arc<Sent>,
    ) -> Entry {
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let field = |name: &HeaderName| {
            let value = head.headers.get(name).map(|value| value.as_bytes());
            quoted(value.unwrap_or_default(), FIELD)
        };
        sent.begin_request();
        Entry {
            output,
            client,
            id: Some(Arc::clone(id)),
            request: quoted(line.as_bytes(), LINE),
            fields: format!("{} {}", field(&REFERER), field(&USER_AGENT)),
            begun,
            sent: Arc::clone(sent),
            unsent: CLIENT_LEFT,
        }
    }

    /// For a request whose head did not come, or came to nothing: `bytes` is what there is of it.
    /// `unsent` is its status if it gets no response.
    pub(super) fn unread(
        output: AccessOutput,
        client: IpAddr,
        bytes: &[u8],
        begun: Instant,
        sent: &Arc<Sent>,
        unsent: u16,
    ) -> Entry {
        let line = bytes.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        sent.begin_request();
        Entry {
            output,
            client,
            id: None,
            request: quoted(line.strip_suffix(b"\r").unwrap_or(line), LINE),
            fields: "\"-\" \"-\"".to_owned(),
            begun,
            sent: Arc::clone(sent),
            unsent,
        }
    }

    /// Writes the line of a connection that was refused before anything was read from it.
    pub(super) fn without_place(output: AccessOutput, client: IpAddr, status: u16) {
        let sent = Arc::default();
        drop(Entry::unread(
            output,
            client,
            &[],
            Instant::now(),
            &sent,
            status,
        ));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let unsent = match self.sent.is_cut_off() {
            true => CLOSED,
            false => self.unsent,
        };
        let (status, bytes) = self.sent.response().unwrap_or((unsent, 0));
        let message = format!(
            "{} - - {} {status} {bytes} {} {:.3}",
            self.client.to_canonical(),
            self.request,
            self.fields,
            self.begun.elapsed().as_secs_f64()
        );
        let mut line = Record::new(Record::now(), Level::Info, ACCESS_TARGET, &message);
        line.request = self.id.as_deref().map(Cow::Borrowed);
        logger::access(&line, self.output);
    }
}

/// Text of a client's in quotes, at most `most` bytes of it; `-` stands for none.
fn quoted(bytes: &[u8], most: usize) -> String {
    if bytes.is_empty() {
        return "\"-\"".to_owned();
    }
    let text = String::from_utf8_lossy(bytes);
    let masked = masked(&text);
    let shown = redact::cut(&masked, most);
    let is_cut = shown.len() == most && masked.len() > most;
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
    if !text.contains(['=', '@']) {
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
    if let Some((scheme, rest)) = shown.split_once("://") {
        let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@') {
            shown = format!("{scheme}://{MASK}{}", &rest[at..]);
        }
    }
    Cow::Owned(shown)
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
