//! A request as the client sent it.

use std::sync::Arc;

use http::HeaderMap;

/// What the client asked for, before later stages change the request.
pub(super) struct Original {
    pub(super) path: String,
    /// The headers, with the credentials that the client sent even where a middleware took them
    /// out.
    pub(super) headers: HeaderMap,
    pub(super) id: Arc<str>,
}
