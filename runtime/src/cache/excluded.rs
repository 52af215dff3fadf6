//! What no cache has any business with, beside streams that do not end: what logs a connection in.

use http::HeaderMap;
use http::header::HeaderName;

use crate::message::{begins_with, elements};

/// Schemes that log a connection in, and not a request (RFC 4559 section 6): what comes over the
/// connection afterwards is for that client, though nothing in it says so.
const FOR_CONNECTIONS: [&str; 2] = ["ntlm", "negotiate"];

/// Whether `name`, which holds credentials or challenges, has some of a scheme that logs a
/// connection in.
pub(super) fn is_for_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    elements(headers, name).any(|challenge| {
        let mut schemes = FOR_CONNECTIONS.into_iter();
        schemes.any(|scheme| begins_with(challenge, b' ', scheme))
    })
}
