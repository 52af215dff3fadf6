//! Whether a request begins a WebSocket.
//!
//! This is decided once, before any stage sees the request, and everybody goes by it: a request
//! that only looks like an upgrade is a plain request for all of them.

use http::header::UPGRADE;
use zlayer_http1::Version;
use zlayer_http1::websocket::{Deflate, UpgradeError, read_upgrade};

use crate::message::fields::pairs;

/// What becomes of a request's `Upgrade` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrading {
    /// It has none, or asks for another protocol, which is ignored (RFC 9110 section 7.8).
    No,
    /// It really begins a WebSocket (RFC 6455 section 4.2.1).
    Begins,
    /// It asks for a WebSocket in a way in which none can begin, for this reason. It is a plain
    /// request.
    Malformed(UpgradeError),
}

/// What a valid request for a WebSocket asks for.
pub(super) struct UpgradeRequest {
    /// The value of Sec-WebSocket-Accept.
    pub(super) accept: String,
    /// The compression to be used, if it asks for one that there is.
    pub(super) deflate: Option<Deflate>,
}

impl Upgrading {
    /// Decides for a request. Unless it begins a WebSocket, its `Upgrade` field is taken out: it
    /// means nothing then, and must not mean anything to whoever sees the request next.
    pub(super) fn decide(head: &mut http::request::Parts) -> Upgrading {
        let upgrading = match read(head) {
            Ok(Some(_)) => return Upgrading::Begins,
            Ok(None) => Upgrading::No,
            Err(error) => Upgrading::Malformed(error),
        };
        head.headers.remove(UPGRADE);
        upgrading
    }
}

/// Reads a request that may ask for a WebSocket. `None` if it does not.
///
/// # Errors
///
/// It asks for one, and something is wrong with how.
pub(super) fn read(head: &http::request::Parts) -> Result<Option<UpgradeRequest>, UpgradeError> {
    if !head.headers.contains_key(UPGRADE) {
        return Ok(None);
    }
    let headers = pairs(&head.headers);
    let version = match head.version {
        http::Version::HTTP_10 => Version::Http10,
        _ => Version::Http11,
    };
    let asked = read_upgrade(head.method.as_str(), version, &headers)?;
    Ok(asked.map(|accept| UpgradeRequest {
        accept,
        deflate: Deflate::negotiate(&headers),
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn head(method: &str, fields: &[(&str, &str)]) -> http::request::Parts {
        let mut builder = http::Request::builder().method(method);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    const FIELDS: [(&str, &str); 5] = [
        ("host", "device.local"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    #[test]
    fn only_what_really_begins_a_websocket_is_one() {
        let mut real = head("GET", &FIELDS);
        assert_eq!(Upgrading::decide(&mut real), Upgrading::Begins);
        assert!(real.headers.contains_key(UPGRADE));
        let accept = read(&real).unwrap().unwrap().accept;
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let without = |name: &str| -> Vec<(&str, &str)> {
            let others = FIELDS.into_iter().filter(|(other, _)| *other != name);
            others.collect()
        };
        let with =
            |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
        for (method, fields, error) in [
            ("POST", FIELDS.to_vec(), UpgradeError::NotGet),
            (
                "GET",
                without("connection"),
                UpgradeError::NotOnThisConnection,
            ),
            (
                "GET",
                with("connection", "close"),
                UpgradeError::NotOnThisConnection,
            ),
            (
                "GET",
                without("sec-websocket-version"),
                UpgradeError::UnsupportedVersion,
            ),
            (
                "GET",
                with("sec-websocket-version", "12"),
                UpgradeError::UnsupportedVersion,
            ),
            (
                "GET",
                without("sec-websocket-key"),
                UpgradeError::InvalidKey,
            ),
            (
                "GET",
                with("sec-websocket-key", "a"),
                UpgradeError::InvalidKey,
            ),
            ("GET", with("content-length", "2"), UpgradeError::HasBody),
        ] {
            let mut plain = head(method, &fields);
            let decided = Upgrading::decide(&mut plain);
            assert_eq!(decided, Upgrading::Malformed(error), "{fields:?}");
            assert!(!plain.headers.contains_key(UPGRADE));
        }
        for fields in [without("upgrade"), with("upgrade", "h2c")] {
            let mut plain = head("GET", &fields);
            assert_eq!(Upgrading::decide(&mut plain), Upgrading::No);
            assert!(!plain.headers.contains_key(UPGRADE));
        }
        let mut old = head("GET", &FIELDS);
        old.version = http::Version::HTTP_10;
        assert_eq!(Upgrading::decide(&mut old), Upgrading::No);
    }
}
