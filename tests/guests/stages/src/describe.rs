//! What a role was given, as text: a word and a value a line.

use std::fmt::Write;

use support::Fnv;

use crate::zlayer::plugin::request_types::{HttpMethod, PluginRequest};

/// `method`, `path`, `query`, `request-id`, `timestamp`, `header NAME: VALUE`
/// in the order in which they came, `context KEY: VALUE`, `body LENGTH HASH`
/// (64-bit FNV-1a).
pub fn request(request: &PluginRequest) -> String {
    let mut text = format!("method {}\npath {}\n", method(request.method), request.path);
    let mut line = |what: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what} {value}");
    };
    if let Some(query) = &request.query {
        line("query", query);
    }
    line("request-id", &request.request_id);
    line("timestamp", &request.timestamp.to_string());
    for field in &request.headers {
        line("header", &format!("{}: {}", field.key, field.value));
    }
    for entry in &request.context {
        line("context", &format!("{}: {}", entry.key, entry.value));
    }
    let mut hash = Fnv::new();
    hash.update(&request.body);
    line("body", &format!("{} {}", request.body.len(), hash.hex()));
    text
}

/// The method as HTTP writes it.
pub fn method(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Head => "HEAD",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Connect => "CONNECT",
        HttpMethod::Trace => "TRACE",
    }
}
