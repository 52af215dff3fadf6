//! A transformer: takes a header out of requests, and lets every origin read responses.

zlayer_plugin::world!("zlayer-transformer");

use crate::common::KeyValue;
use crate::exports::transformer::Guest;

struct Plugin;

impl Guest for Plugin {
    fn transform_request_headers(mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
        let before = headers.len();
        headers.retain(|header| header.key != "x-debug");
        if headers.len() < before {
            crate::logging::info("x-debug was taken out");
        }
        headers
    }

    fn transform_response_headers(mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
        headers.push(KeyValue {
            key: "access-control-allow-origin".to_owned(),
            value: "*".to_owned(),
        });
        headers
    }

    fn transform_request_body(body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn transform_response_body(body: Vec<u8>) -> Vec<u8> {
        body
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn a_header_is_taken_out_and_told() {
        let host = Host::new();
        let header = |key: &str| KeyValue {
            key: key.to_owned(),
            value: "1".to_owned(),
        };
        let left = Plugin::transform_request_headers(vec![header("x-debug"), header("accept")]);
        assert_eq!(left.len(), 1);
        assert_eq!(host.logged()[0].message, "x-debug was taken out");
    }
}
