//! The opening handshake, from both sides.

use sha1::{Digest, Sha1};

use super::{HandshakeError, UpgradeError, base64};
use crate::headers::{list_elements, write_field};
use crate::response::is_own_field;
use crate::{HeaderError, Version};

/// The version of the protocol, as the field Sec-WebSocket-Version has it.
pub const VERSION: &str = "13";

/// RFC 6455, 1.3: what a key is hashed with, so that only a WebSocket server can answer it.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Header fields by name, in the order in which they came.
type Fields<'a> = &'a [(&'a str, &'a [u8])];

/// Reads a request that may ask for a WebSocket (RFC 6455, 4.2.1), and returns the value of
/// Sec-WebSocket-Accept for its response. `None` means that it asks for nothing of the kind: its
/// Upgrade field has no `websocket`, or it came by HTTP/1.0, where that field is to be ignored
/// (RFC 9110, 7.8).
///
/// # Errors
///
/// It asks for a WebSocket, and something is wrong with how.
pub fn read_upgrade(
    method: &str,
    version: Version,
    headers: Fields<'_>,
) -> Result<Option<String>, UpgradeError> {
    if version == Version::Http10 || !has_element(headers, "upgrade", b"websocket") {
        return Ok(None);
    }
    if method != "GET" {
        return Err(UpgradeError::NotGet);
    }
    if !has_element(headers, "connection", b"upgrade") {
        return Err(UpgradeError::NotOnThisConnection);
    }
    if only(headers, "host").is_none() {
        return Err(UpgradeError::MissingHost);
    }
    if only(headers, "sec-websocket-version") != Some(VERSION.as_bytes()) {
        return Err(UpgradeError::UnsupportedVersion);
    }
    let empty = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
    if all(headers, "transfer-encoding").next().is_some()
        || !all(headers, "content-length").all(empty)
    {
        return Err(UpgradeError::HasBody);
    }
    match only(headers, "sec-websocket-key") {
        Some(key) if base64::is_sixteen_bytes(key) => Ok(Some(accept_for(key))),
        _ => Err(UpgradeError::InvalidKey),
    }
}

/// Appends the whole response to a request to upgrade: `accept` as [`read_upgrade`] gave it, and
/// `headers` but for those that are not theirs to say (`upgrade`, `connection` and what else
/// [`ResponseHead`](crate::ResponseHead) leaves out, `sec-websocket-accept`).
///
/// # Errors
///
/// A header name or value that HTTP does not allow. `out` is then as it was.
pub fn encode_response(
    out: &mut Vec<u8>,
    accept: &str,
    headers: Fields<'_>,
) -> Result<(), HeaderError> {
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: upgrade\r\n"
        .to_vec();
    write_field(&mut head, "Sec-WebSocket-Accept", accept.as_bytes())?;
    for (name, value) in headers {
        if !is_own_field(name) && !name.eq_ignore_ascii_case("sec-websocket-accept") {
            write_field(&mut head, name, value)?;
        }
    }
    head.extend_from_slice(b"\r\n");
    out.append(&mut head);
    Ok(())
}

/// The subprotocols that a request offers, the ones it would rather have first (RFC 6455, 11.3.4).
pub fn offered_protocols<'a>(headers: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
    all(headers, "sec-websocket-protocol")
        .flat_map(list_elements)
        .filter(|protocol| !protocol.is_empty())
}

/// The value of Sec-WebSocket-Key for a request. `random` has to be new for each connection
/// (RFC 6455, 4.1).
#[must_use]
pub fn client_key(random: [u8; 16]) -> String {
    base64::encode(&random)
}

/// Checks a server's response to a request that was sent with `key` and the fields `sent`, in which
/// no extension was asked for (RFC 6455, 4.1).
///
/// # Errors
///
/// It is not the start of a WebSocket.
pub fn check_response(
    key: &str,
    sent: Fields<'_>,
    status: u16,
    headers: Fields<'_>,
) -> Result<(), HandshakeError> {
    if status != 101 {
        return Err(HandshakeError::NotSwitching);
    }
    if !only(headers, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::InvalidUpgrade);
    }
    if !has_element(headers, "connection", b"upgrade") {
        return Err(HandshakeError::InvalidConnection);
    }
    if only(headers, "sec-websocket-accept") != Some(accept_for(key.as_bytes()).as_bytes()) {
        return Err(HandshakeError::InvalidAccept);
    }
    if all(headers, "sec-websocket-extensions").any(|value| !value.is_empty()) {
        return Err(HandshakeError::UnwantedExtension);
    }
    let mut chosen = all(headers, "sec-websocket-protocol");
    match (chosen.next(), chosen.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if offered_protocols(sent).any(|offered| offered == one) => Ok(()),
        _ => Err(HandshakeError::UnwantedProtocol),
    }
}

/// RFC 6455, 4.2.2: the proof that a server has read the key.
fn accept_for(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(KEY_SUFFIX);
    base64::encode(&hash.finalize())
}

/// The values of all fields called `name`.
pub(super) fn all<'a>(headers: Fields<'a>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// The value of the field called `name` if there is exactly one.
fn only<'a>(headers: Fields<'a>, name: &'a str) -> Option<&'a [u8]> {
    let mut values = all(headers, name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether the list in the fields called `name` holds `element`, in any case.
fn has_element(headers: Fields<'_>, name: &str, element: &[u8]) -> bool {
    all(headers, name)
        .flat_map(list_elements)
        .any(|found| found.eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455, 1.2.
    const REQUEST: [(&str, &[u8]); 7] = [
        ("Host", b"server.example.com"),
        ("Upgrade", b"websocket"),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", b"http://example.com"),
        ("Sec-WebSocket-Protocol", b"chat, superchat"),
        ("Sec-WebSocket-Version", b"13"),
    ];
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn read(headers: Fields<'_>) -> Result<Option<String>, UpgradeError> {
        read_upgrade("GET", Version::Http11, headers)
    }

    /// The request with the field called `name` changed to `values`.
    fn with(name: &'static str, values: &[&'static str]) -> Vec<(&'static str, &'static [u8])> {
        let mut headers = REQUEST.to_vec();
        headers.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        headers.extend(values.iter().map(|value| (name, value.as_bytes())));
        headers
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        assert_eq!(read(&REQUEST), Ok(Some(ACCEPT.to_owned())));
        let offered: Vec<_> = offered_protocols(&REQUEST).collect();
        assert_eq!(offered, [&b"chat"[..], b"superchat"]);
        assert_eq!(client_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn what_browsers_and_proxies_write_differently_passes() {
        for headers in [
            with("connection", &["keep-alive, Upgrade"]),
            with("connection", &["keep-alive", "uPGRADE"]),
            with("upgrade", &["WebSocket"]),
            with("upgrade", &["h2c, websocket"]),
            with("origin", &[]),
            with("sec-websocket-protocol", &[]),
        ] {
            assert_eq!(read(&headers), Ok(Some(ACCEPT.to_owned())), "{headers:?}");
        }
    }

    #[test]
    fn a_request_for_something_else_is_none() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&with("upgrade", &[])), Ok(None));
        assert_eq!(read(&with("upgrade", &["h2c", "websockets"])), Ok(None));
        assert_eq!(read_upgrade("GET", Version::Http10, &REQUEST), Ok(None));
    }

    #[test]
    fn a_wrong_request_is_refused_with_the_status_of_its_rule() {
        use UpgradeError::*;
        assert_eq!(read_upgrade("POST", Version::Http11, &REQUEST), Err(NotGet));
        for (headers, error, status) in [
            (with("connection", &[]), NotOnThisConnection, 400),
            (with("connection", &["close"]), NotOnThisConnection, 400),
            (with("host", &[]), MissingHost, 400),
            (with("sec-websocket-version", &[]), UnsupportedVersion, 426),
            (
                with("sec-websocket-version", &["8"]),
                UnsupportedVersion,
                426,
            ),
            (
                with("sec-websocket-version", &["13", "13"]),
                UnsupportedVersion,
                426,
            ),
            (with("content-length", &["5"]), HasBody, 400),
            (with("transfer-encoding", &["chunked"]), HasBody, 400),
            (with("sec-websocket-key", &[]), InvalidKey, 400),
            (with("sec-websocket-key", &["short"]), InvalidKey, 400),
            (
                with(
                    "sec-websocket-key",
                    &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="],
                ),
                InvalidKey,
                400,
            ),
        ] {
            assert_eq!(read(&headers), Err(error), "{headers:?}");
            assert_eq!(error.status(), status);
        }
    }

    #[test]
    fn the_response_is_what_a_client_accepts() {
        let mut out = Vec::new();
        let headers: [(&str, &[u8]); 6] = [
            ("X-More", b"1"),
            ("Upgrade", b"h2c"),
            ("connection", b"close"),
            ("Sec-WebSocket-Accept", b"forged"),
            ("content-length", b"5"),
            ("sec-websocket-protocol", b"chat"),
        ];
        assert_eq!(encode_response(&mut out, ACCEPT, &headers), Ok(()));
        let expected = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\nX-More: 1\r\nsec-websocket-protocol: chat\r\n\r\n"
        );
        assert_eq!(out, expected.as_bytes());
        let wrong = encode_response(&mut out, ACCEPT, &[("x", b"a\r\nb")]);
        assert!(wrong.is_err());
        assert_eq!(out, expected.as_bytes(), "out must not change");
    }

    #[test]
    fn a_servers_response_is_checked() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let good: [(&str, &[u8]); 4] = [
            ("upgrade", b"websocket"),
            ("connection", b"Upgrade"),
            ("sec-websocket-accept", ACCEPT.as_bytes()),
            ("sec-websocket-protocol", b"chat"),
        ];
        assert_eq!(check_response(key, &REQUEST, 101, &good), Ok(()));
        assert_eq!(check_response(key, &REQUEST, 101, &good[..3]), Ok(()));
        assert_eq!(
            check_response(key, &REQUEST, 200, &good),
            Err(HandshakeError::NotSwitching)
        );
        assert_eq!(
            check_response("AAAAAAAAAAAAAAAAAAAAAA==", &REQUEST, 101, &good),
            Err(HandshakeError::InvalidAccept)
        );
        for (index, value, error) in [
            (0, &b"h2c"[..], HandshakeError::InvalidUpgrade),
            (1, b"close", HandshakeError::InvalidConnection),
            (2, b"", HandshakeError::InvalidAccept),
            (3, b"other", HandshakeError::UnwantedProtocol),
            (3, b"chat, superchat", HandshakeError::UnwantedProtocol),
        ] {
            let mut headers = good;
            headers[index].1 = value;
            assert_eq!(check_response(key, &REQUEST, 101, &headers), Err(error));
        }
        let mut headers = good.to_vec();
        headers.push(("sec-websocket-extensions", b"permessage-deflate"));
        assert_eq!(
            check_response(key, &REQUEST, 101, &headers),
            Err(HandshakeError::UnwantedExtension)
        );
    }
}
