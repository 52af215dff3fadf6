//! The paths of the guide's transformer.

wit_bindgen::generate!({
    world: "zlayer-transformer",
    path: "../wit",
});

use crate::common::KeyValue;
use crate::exports::transformer::Guest;

struct Quiet;

impl Guest for Quiet {
    fn transform_request_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        headers
    }

    fn transform_response_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        let mut result = headers;
        let before = result.len();
        result.retain(|h| h.key.to_lowercase() != "server");
        if result.len() < before {
            crate::logging::info("a server's name was taken out");
        }
        result
    }

    fn transform_request_body(body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn transform_response_body(body: Vec<u8>) -> Vec<u8> {
        body
    }
}

export!(Quiet);

#[cfg(test)]
mod tests {
    use super::*;
    use wit_bindgen::double::Host;

    #[test]
    fn servers_are_nameless() {
        let host = Host::new();
        let header = |key: &str| KeyValue {
            key: key.to_string(),
            value: "x".to_string(),
        };
        let left = Quiet::transform_response_headers(vec![header("Server"), header("date")]);
        assert_eq!(left.len(), 1);
        assert_eq!(host.logged().len(), 1);
    }
}
