//! A plugin with two roles, by the names of their worlds: no world of its own is written for it.

wit_bindgen::world!("zlayer-middleware", "zlayer-transformer");

use crate::common::KeyValue;
use crate::exports::{middleware, transformer};
use crate::http_types::RequestMetadata;

struct Both;

impl middleware::Guest for Both {
    fn on_request(
        _method: String,
        _path: String,
        headers: Vec<KeyValue>,
        _metadata: RequestMetadata,
    ) -> middleware::MiddlewareAction {
        middleware::MiddlewareAction::ContinueWith(headers)
    }

    fn on_response(_status: u16, headers: Vec<KeyValue>) -> middleware::MiddlewareAction {
        middleware::MiddlewareAction::ContinueWith(headers)
    }
}

impl transformer::Guest for Both {
    fn transform_request_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        headers
    }

    fn transform_response_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        headers
    }

    fn transform_request_body(body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn transform_response_body(body: Vec<u8>) -> Vec<u8> {
        body.to_ascii_uppercase()
    }
}

export!(Both);

#[cfg(test)]
mod tests {
    use super::Both;
    use crate::exports::transformer::Guest;

    #[test]
    fn each_role_is_there_to_be_called() {
        assert_eq!(Both::transform_response_body(b"a".to_vec()), b"A");
    }
}
