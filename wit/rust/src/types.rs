//! The contract's shared types.

use std::fmt;

pub use crate::bindings::zlayer::plugin::{common, http_types, plugin_metadata, request_types};

use request_types::HttpMethod;

/// The name of the method as HTTP writes it, such as `GET`.
impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Head => "HEAD",
            HttpMethod::Options => "OPTIONS",
            HttpMethod::Connect => "CONNECT",
            HttpMethod::Trace => "TRACE",
        })
    }
}
