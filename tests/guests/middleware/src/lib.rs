//! The plugin guide's middleware. A request gets a trace id and its client's
//! address; `/admin` without credentials ends here with 401. An answer gets
//! two security fields, and an error of the server is logged.

wit_bindgen::generate!({ world: "zlayer-middleware", path: "../../../wit", generate_all });

use exports::zlayer::plugin::middleware::{Guest, MiddlewareAction};
use wasi::random::random::get_random_u64;
use zlayer::plugin::common::KeyValue;
use zlayer::plugin::http_types::RequestMetadata;
use zlayer::plugin::logging;

struct Middleware;

impl Guest for Middleware {
    fn on_request(
        _method: String,
        path: String,
        mut headers: Vec<KeyValue>,
        metadata: RequestMetadata,
    ) -> MiddlewareAction {
        let authorized = headers.iter().any(|field| field.key == "authorization");
        if path.starts_with("/admin") && !authorized {
            return MiddlewareAction::Abort((401, "Unauthorized".to_owned()));
        }
        headers.push(field("x-trace-id", format!("{:016x}", get_random_u64())));
        headers.push(field("x-forwarded-for", metadata.client_ip));
        MiddlewareAction::ContinueWith(headers)
    }

    fn on_response(status: u16, mut headers: Vec<KeyValue>) -> MiddlewareAction {
        headers.push(field("x-content-type-options", "nosniff".to_owned()));
        headers.push(field("x-frame-options", "DENY".to_owned()));
        if status >= 500 {
            logging::error(&format!("Server error: {status}"));
        }
        MiddlewareAction::ContinueWith(headers)
    }
}

fn field(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value,
    }
}

export!(Middleware);
