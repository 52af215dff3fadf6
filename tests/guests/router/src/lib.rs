//! The plugin guide's router: `/api/v2` and `/api/v1` go to a server each, an
//! old path is redirected for good, everything else goes on.

wit_bindgen::generate!({ world: "zlayer-router", path: "../../../wit", generate_all });

use exports::zlayer::plugin::router::Guest;
use zlayer::plugin::http_types::{RedirectInfo, RequestMetadata, RoutingDecision, Upstream};
use zlayer::plugin::request_types::PluginRequest;

const SECOND: u64 = 1_000_000_000;

struct Router;

impl Guest for Router {
    fn route(request: PluginRequest, _metadata: RequestMetadata) -> RoutingDecision {
        match request.path.as_str() {
            path if path.starts_with("/api/v2") => forward("api-v2.internal"),
            path if path.starts_with("/api/v1") => forward("api-v1.internal"),
            "/old-endpoint" => RoutingDecision::Redirect(RedirectInfo {
                location: "/api/v2/new-endpoint".to_owned(),
                status: 308,
                preserve_body: true,
            }),
            _ => RoutingDecision::ContinueProcessing,
        }
    }
}

fn forward(host: &str) -> RoutingDecision {
    RoutingDecision::Forward(Upstream {
        host: host.to_owned(),
        port: 8080,
        tls: false,
        connect_timeout: 5 * SECOND,
        request_timeout: 30 * SECOND,
    })
}

export!(Router);
