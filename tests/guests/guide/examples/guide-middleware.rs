//! The paths of the guide's middleware, WASI's random numbers among them. `Abort` holds one value, a
//! pair, where the guide gives it two.

wit_bindgen::generate!({
    world: "zlayer-middleware",
    path: "../wit",
});

use crate::common::KeyValue;
use crate::exports::middleware::{Guest, MiddlewareAction};
use crate::http_types::RequestMetadata;

struct Traced;

impl Guest for Traced {
    fn on_request(
        method: String,
        path: String,
        headers: Vec<KeyValue>,
        metadata: RequestMetadata,
    ) -> MiddlewareAction {
        if method == "TRACE" {
            return MiddlewareAction::Abort((405, format!("{path} is not traced")));
        }
        let mut new_headers = headers;
        new_headers.push(KeyValue {
            key: "x-trace".to_string(),
            value: format!("{:016x}", crate::random::get_random_u64()),
        });
        new_headers.push(KeyValue {
            key: "x-client".to_string(),
            value: metadata.client_ip.clone(),
        });
        MiddlewareAction::ContinueWith(new_headers)
    }

    fn on_response(status: u16, headers: Vec<KeyValue>) -> MiddlewareAction {
        if status >= 500 {
            crate::logging::error(&format!("a response with status {status}"));
        }
        MiddlewareAction::ContinueWith(headers)
    }
}

export!(Traced);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_types::HttpVersion;
    use wit_bindgen::double::Host;

    fn on_request(method: &str) -> MiddlewareAction {
        let metadata = RequestMetadata {
            client_ip: "2001:db8::1".to_string(),
            client_port: 0,
            tls_version: None,
            tls_cipher: None,
            server_name: None,
            http_version: HttpVersion::Http11,
            received_at: 0,
        };
        Traced::on_request(method.to_string(), "/".to_string(), vec![], metadata)
    }

    fn trace() -> String {
        match on_request("GET") {
            MiddlewareAction::ContinueWith(headers) => headers[0].value.clone(),
            MiddlewareAction::Abort((status, _)) => panic!("refused with {status}"),
        }
    }

    #[test]
    fn each_request_has_its_own_trace() {
        let host = Host::new().seed(1);
        let (first, second) = (trace(), trace());
        assert_ne!(first, second);
        drop(host);
        let _host = Host::new().seed(1);
        assert_eq!(trace(), first);
        let refused = on_request("TRACE");
        assert!(matches!(refused, MiddlewareAction::Abort((405, _))));
    }

    #[test]
    fn failures_are_logged() {
        let host = Host::new();
        Traced::on_response(200, vec![]);
        Traced::on_response(503, vec![]);
        assert_eq!(host.logged().len(), 1);
    }
}
