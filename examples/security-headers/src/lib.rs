//! **Middleware** (`zlayer:plugin/middleware`): adds security fields to responses, refuses hidden
//! files, and lets pages of another origin in (CORS).
//!
//! The host calls `on-request` before the handlers, in the order of the deployment, and
//! `on-response` after them in reverse. A middleware sees heads, never bodies. Its verdict is
//! either `ContinueWith` with the header fields that take the place of those it was given, or
//! `Abort` with a status and a text for the client.
//!
//! It sees every response, that of an authenticator or a limiter that refuses a request, too. And
//! it sees a browser's preflight before any authenticator does, since a preflight has no
//! credentials: it ends that with `Abort((204, ""))`, and `on-response` adds the fields that the
//! browser looks for.
//!
//! Configuration: `header.NAME`, the value of one more field for all responses. A field that the
//! response has already stays as it is. `cors.origin`, the origin whose pages may send requests
//! here, or `*`; `cors.methods` and `cors.headers`, what they may send (`GET, POST` and
//! `authorization, content-type` by default). The `env` of its service in
//! [`deployment.yaml`](../deployment.yaml) has one of them.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ zlayer run security-headers/deployment.yaml --port 8080
//! $ curl -i http://localhost:8080/
//! HTTP/1.1 200 OK
//! content-type: application/json
//! x-content-type-options: nosniff
//! x-frame-options: DENY
//! content-security-policy: default-src 'self'
//! ...
//!
//! {"method":"GET","path":"/"}
//! $ curl -i http://localhost:8080/.git/config
//! HTTP/1.1 404 Not Found
//! ...
//! ```

zlayer_plugin::world!("zlayer-middleware");

use crate::common::KeyValue;
use crate::exports::middleware::{Guest, MiddlewareAction};
use crate::http_types::RequestMetadata;
use crate::{config, logging};

/// Fields that do no harm to any response.
const ALWAYS: [(&str, &str); 2] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

struct SecurityHeaders;

impl Guest for SecurityHeaders {
    fn on_request(
        method: String,
        path: String,
        headers: Vec<KeyValue>,
        metadata: RequestMetadata,
    ) -> MiddlewareAction {
        if is_hidden(&path) {
            logging::warn(&format!("{method} {path} by {}", metadata.client_ip));
            return MiddlewareAction::Abort((404, "not found".to_owned()));
        }
        if is_preflight(&method, &headers) && config::exists("cors.origin") {
            return MiddlewareAction::Abort((204, String::new()));
        }
        MiddlewareAction::ContinueWith(headers)
    }

    fn on_response(_status: u16, mut headers: Vec<KeyValue>) -> MiddlewareAction {
        for (name, value) in ALWAYS {
            add(&mut headers, name, value);
        }
        for (key, value) in config::get_prefix("header.") {
            add(&mut headers, key.trim_start_matches("header."), &value);
        }
        if let Some(origin) = config::get("cors.origin") {
            let or = |key: &str, usual: &str| config::get(key).unwrap_or_else(|| usual.to_owned());
            add(&mut headers, "access-control-allow-origin", &origin);
            let methods = or("cors.methods", "GET, POST");
            add(&mut headers, "access-control-allow-methods", &methods);
            let allowed = or("cors.headers", "authorization, content-type");
            add(&mut headers, "access-control-allow-headers", &allowed);
            // A response for one origin is not that for another.
            if origin != "*" {
                headers.push(field("vary", "origin"));
            }
        }
        MiddlewareAction::ContinueWith(headers)
    }
}

/// Whether a browser asks if a page of another origin may send a request.
fn is_preflight(method: &str, headers: &[KeyValue]) -> bool {
    let has = |name| headers.iter().any(|field| field.key == name);
    method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

/// Whether a part of the path begins with a dot, as `/.git` does. `/.well-known` is meant to be
/// seen.
fn is_hidden(path: &str) -> bool {
    path.split('/')
        .any(|part| part.starts_with('.') && part != ".well-known")
}

fn add(headers: &mut Vec<KeyValue>, name: &str, value: &str) {
    let is_there = |field: &KeyValue| field.key.eq_ignore_ascii_case(name);
    if !headers.iter().any(is_there) {
        headers.push(field(name, value));
    }
}

fn field(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: value.to_owned(),
    }
}

export!(SecurityHeaders);

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn a_part_that_begins_with_a_dot_is_hidden() {
        assert!(is_hidden("/.git/config"));
        assert!(is_hidden("/site/.env"));
        assert!(!is_hidden("/.well-known/security.txt"));
        assert!(!is_hidden("/v1.2/file.txt"));
    }
}
