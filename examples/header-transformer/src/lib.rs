//! **Transformer** (`zlayer:plugin/transformer`): takes two fields with secrets out of requests,
//! marks them, and lets every origin read responses.
//!
//! The host calls the request's two functions before the handler, and the response's two after it.
//! What a function returns takes the place of what it was given: the header fields as a whole, so
//! that a field left out is gone, and the body as a whole.
//!
//! It reads no configuration and no secrets, and returns bodies as they are. `wasm.bodies: none` in
//! its [`deployment.yaml`](../deployment.yaml) says so to the host, which then does not copy them.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ zlayer run header-transformer/deployment.yaml --port 8080
//! $ curl -i -H 'x-debug-token: secret' http://localhost:8080/
//! HTTP/1.1 200 OK
//! access-control-allow-origin: *
//! ...
//!
//! {"method":"GET","path":"/"}
//! ```

zlayer_plugin::world!("zlayer-transformer");

use crate::common::KeyValue;
use crate::exports::transformer::Guest;

/// Fields that no handler is to see.
const SENSITIVE: [&str; 2] = ["x-internal-secret", "x-debug-token"];

struct HeaderTransformer;

impl Guest for HeaderTransformer {
    fn transform_request_headers(mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
        // Names come in lower case from this host. Others may differ, and no case has a meaning.
        headers.retain(|field| {
            let mut sensitive = SENSITIVE.iter();
            !sensitive.any(|name| field.key.eq_ignore_ascii_case(name))
        });
        headers.push(field("x-transformed-by", "zlayer-transformer"));
        headers
    }

    fn transform_response_headers(mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
        headers.push(field("access-control-allow-origin", "*"));
        headers
    }

    fn transform_request_body(body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn transform_response_body(body: Vec<u8>) -> Vec<u8> {
        body
    }
}

fn field(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

export!(HeaderTransformer);
