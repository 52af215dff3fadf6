//! Header fields: the lists of fields that have special rules, and conversions between the HTTP
//! codec and the `http` crate.

use std::fmt;

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use zlayer_http1::{Header, clean_value};

/// The most headers in a plugin's list. The server adds only a handful, so no map gets near the
/// 24,576 names at which an insert panics.
pub(crate) const LIST_HEADERS: usize = 256;
/// The most bytes of names and values in a plugin's list, with four more for each header as a head
/// needs them. It is what a request's head may have by default. They are not charged to the budget.
pub(crate) const LIST_BYTES: usize = 32 << 10;

/// Fields that tell who the client is.
pub(crate) static CREDENTIALS: [HeaderName; 3] =
    [AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")];

/// What a proxy says of its client: the addresses on the way.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a proxy says of its client: the Host that it asked for.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// What a proxy says of its client: `http` or `https`.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a proxy says of its client: its address.
pub(crate) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Nothing that HTTP knows.
pub(crate) const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Fields that frame a message or concern one connection alone. The server writes them itself,
/// whatever a plugin puts there (RFC 9110 section 7.6.1, RFC 9112 section 6).
pub(crate) const OWN_FIELDS: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The fields of [`OWN_FIELDS`] that a proxy passes on all the same: the body's length, and which
/// trailers will follow.
const PASSED_ON: [HeaderName; 2] = [CONTENT_LENGTH, TRAILER];

/// Further fields that a proxy takes out (RFC 9110 sections 10.1.1 and 11.7).
const NOT_PASSED_ON: [HeaderName; 5] = [
    EXPECT,
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
];

/// Whether a field is meant for the next hop alone, and so is taken out of what is passed on.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    let is_own = OWN_FIELDS.contains(name) && !PASSED_ON.contains(name);
    is_own || NOT_PASSED_ON.contains(name)
}

/// Further fields that servers believe, or that this one sets.
const BELIEVED: [HeaderName; 10] = [
    HOST,
    FORWARDED,
    VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
    X_REAL_IP,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("cdn-loop"),
];

/// Whether a name has an underscore. Programs that get fields as variables, as those of CGI, WSGI
/// and PHP do, read it as a hyphen (RFC 3875 section 4.1.18).
pub(crate) fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

/// Whether a name with underscores reads, with hyphens, as that of a field which frames a message,
/// tells who the client is, or is set by this proxy: `X_Forwarded_For`, `Content_Length`.
pub(crate) fn is_double(name: &HeaderName) -> bool {
    if !has_underscore(name) {
        return false;
    }
    let Ok(read) = HeaderName::try_from(name.as_str().replace('_', "-")) else {
        return false;
    };
    OWN_FIELDS.contains(&read)
        || NOT_PASSED_ON.contains(&read)
        || CREDENTIALS.contains(&read)
        || BELIEVED.contains(&read)
}

/// The part of a field that is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadField {
    Name,
    Value,
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadField::Name => "header name",
            BadField::Value => "header value",
        })
    }
}

/// Converts the fields of a head that the codec has read.
pub(crate) fn header_map(fields: &[Header<'_>]) -> Result<HeaderMap, BadField> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadField::Name)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| BadField::Value)?;
        map.append(name, value);
    }
    Ok(map)
}

/// Converts the fields of a response that the codec has read, which may be sloppy: control bytes in
/// values become spaces.
pub(crate) fn response_header_map(fields: &[Header<'_>]) -> Result<HeaderMap, BadField> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadField::Name)?;
        let value = clean_value(field.value);
        let value = HeaderValue::from_bytes(&value).map_err(|_| BadField::Value)?;
        map.append(name, value);
    }
    Ok(map)
}

/// Converts the fields of a trailer section that the codec has read.
pub(crate) fn trailer_map(trailers: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        // The codec has checked both, and bounded their number.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    map
}

/// Converts fields to the pairs that the codec reads, and trailers to those that it writes. For heads
/// that it writes there is [`Spelled`](super::Spelled).
pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let all = headers.iter();
    all.map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn names_that_read_as_others_are_known() {
        let name = |text: &str| HeaderName::try_from(text).unwrap();
        for double in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "Content_Length",
            "Transfer_Encoding",
            "X_Api_Key",
            "X_Real_IP",
        ] {
            assert!(is_double(&name(double)), "{double}");
        }
        for single in ["x-forwarded-for", "content-length", "x_mine", "_"] {
            assert!(!is_double(&name(single)), "{single}");
        }
        assert!(has_underscore(&name("x_mine")) && !has_underscore(&name("x-mine")));
    }
}
