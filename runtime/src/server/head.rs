//! A request's head, taken out of the read buffer.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::header::{HOST, HeaderValue};
use zlayer_http1::{BodyLength, RequestHead, Version, without_zone};

use super::client_stream::ClientStream;
use crate::message::Spellings;
use crate::message::fields::header_map;

/// A request's head, in the types that the pipeline and plugins are called with.
pub(super) struct Head {
    pub(super) parts: http::request::Parts,
    pub(super) version: Version,
    pub(super) body: BodyLength,
    pub(super) keep_alive: bool,
    pub(super) expect_continue: bool,
}

/// Why a request is refused before any plugin sees it: the status and the text for the client.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Refusal {
    /// For a client that speaks HTTP without TLS where TLS is spoken.
    pub(super) fn plain_http() -> Refusal {
        Refusal {
            status: 400,
            text: "this port speaks HTTPS; ask for https:// instead of http://".to_owned(),
        }
    }
}

impl Head {
    /// Copies a parsed head out of the buffer that it borrows from.
    pub(super) fn new(head: &RequestHead<'_, '_>, stream: &ClientStream) -> Result<Head, Refusal> {
        let bad = |what: &str| Refusal {
            status: 400,
            text: format!("the {what} cannot be understood"),
        };
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method =
            http::Method::from_bytes(head.method.as_bytes()).map_err(|_| bad("method"))?;
        if parts.method == http::Method::CONNECT {
            return Err(Refusal {
                status: 501,
                text: "this server is not a proxy".to_owned(),
            });
        }
        // One form for all that follow: with the target's own authority in Host, it says the same.
        let target = head.origin_form();
        parts.uri = target.parse().map_err(|_| bad("request target"))?;
        parts.headers = header_map(head.headers).map_err(|part| bad(&part.to_string()))?;
        Spellings::of(head.headers.iter().map(|header| header.name)).put(&mut parts.extensions);
        let known = parts.headers.get(HOST).map(HeaderValue::as_bytes);
        let host = match (head.authority(), known, stream.local_addr()) {
            // An absolute target overrides Host (RFC 9112 section 3.2.2). The zone of an address
            // means something to the client alone.
            (Some(authority), _, _) => without_zone(authority),
            (None, Some(_), _) => Cow::Borrowed(""),
            // A client of HTTP/1.0 may send neither: then the address that it connected to stands
            // for the host.
            (None, None, Ok(address)) => {
                let ip = address.ip().to_canonical();
                Cow::Owned(SocketAddr::new(ip, address.port()).to_string())
            }
            (None, None, Err(_)) => Cow::Borrowed(""),
        };
        if known != Some(host.as_bytes()) {
            let value = HeaderValue::from_str(&host).map_err(|_| bad("authority"))?;
            parts.headers.insert(HOST, value);
        }
        parts.version = match head.version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        };
        Ok(Head {
            parts,
            version: head.version,
            body: head.body,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
        })
    }
}
