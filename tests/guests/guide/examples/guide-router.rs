//! The paths of the guide's router, and `RedirectInfo`, which it uses without an import.

wit_bindgen::generate!({
    world: "zlayer-router",
    path: "../wit",
});

use crate::exports::router::Guest;
use crate::http_types::{RedirectInfo, RequestMetadata, RoutingDecision, Upstream};
use crate::request_types::PluginRequest;

struct Shards;

const SECOND: u64 = 1_000_000_000;

impl Guest for Shards {
    fn route(request: PluginRequest, metadata: RequestMetadata) -> RoutingDecision {
        let Some(rest) = request.path.strip_prefix("/shard/") else {
            return RoutingDecision::ContinueProcessing;
        };
        if rest.is_empty() {
            return RoutingDecision::Redirect(RedirectInfo {
                location: "/shards".to_string(),
                status: 308,
                preserve_body: true,
            });
        }
        // One client stays with one server.
        let shard = metadata.client_ip.bytes().map(u64::from).sum::<u64>() % 2;
        crate::logging::debug(&format!("{} goes to {shard}", metadata.client_ip));
        RoutingDecision::Forward(Upstream {
            host: format!("shard-{shard}.internal"),
            port: 8080,
            tls: false,
            connect_timeout: 2 * SECOND,
            request_timeout: 20 * SECOND,
        })
    }
}

export!(Shards);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_types::HttpVersion;
    use crate::request_types::HttpMethod;
    use wit_bindgen::double::Host;

    fn route(path: &str) -> RoutingDecision {
        let request = PluginRequest {
            request_id: "1".to_string(),
            path: path.to_string(),
            method: HttpMethod::Get,
            query: None,
            headers: vec![],
            body: vec![],
            timestamp: 0,
            context: vec![],
        };
        let metadata = RequestMetadata {
            client_ip: "192.0.2.1".to_string(),
            client_port: 1024,
            tls_version: None,
            tls_cipher: None,
            server_name: None,
            http_version: HttpVersion::Http11,
            received_at: 0,
        };
        Shards::route(request, metadata)
    }

    #[test]
    fn a_client_stays_with_its_server() {
        let _host = Host::new();
        let servers = ["/shard/a", "/shard/b"].map(|path| match route(path) {
            RoutingDecision::Forward(upstream) => upstream.host,
            _ => panic!("{path} is not forwarded"),
        });
        assert_eq!(servers[0], servers[1]);
        assert!(matches!(route("/shard/"), RoutingDecision::Redirect(_)));
        assert!(matches!(route("/"), RoutingDecision::ContinueProcessing));
    }
}
