//! The plugin guide's header transformer: takes two fields with secrets from
//! requests, marks them, and lets every origin read answers.

wit_bindgen::generate!({ world: "zlayer-transformer", path: "../../../wit", generate_all });

use exports::zlayer::plugin::transformer::Guest;
use zlayer::plugin::common::KeyValue;

const SENSITIVE: [&str; 2] = ["x-internal-secret", "x-debug-token"];

struct HeaderTransformer;

impl Guest for HeaderTransformer {
    fn transform_request_headers(mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
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
