//! A router: what begins with `/api/` goes to the server that the configuration's `api` names, as
//! `HOST:PORT`.

zlayer_plugin::world!("zlayer-router");

use crate::exports::router::Guest;
use crate::http_types::{RequestMetadata, RoutingDecision, Upstream};
use crate::request_types::PluginRequest;

const SECOND: u64 = 1_000_000_000;

struct Plugin;

impl Guest for Plugin {
    fn route(request: PluginRequest, _metadata: RequestMetadata) -> RoutingDecision {
        match upstream(&request.path) {
            Some(upstream) => RoutingDecision::Forward(upstream),
            None => RoutingDecision::ContinueProcessing,
        }
    }
}

/// Where a path goes. Nowhere when nothing is configured, or nothing that is an address.
fn upstream(path: &str) -> Option<Upstream> {
    if !path.starts_with("/api/") {
        return None;
    }
    let address = crate::config::get("api")?;
    let (host, port) = address.rsplit_once(':')?;
    let Ok(port) = port.parse() else {
        crate::logging::error(&format!("'{address}' has no port"));
        return None;
    };
    Some(Upstream {
        host: host.to_owned(),
        port,
        tls: false,
        connect_timeout: 5 * SECOND,
        request_timeout: 30 * SECOND,
    })
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn the_api_goes_where_the_configuration_says() {
        let host = Host::new().config("api", "10.0.0.2:9000");
        let found = upstream("/api/users").map(|upstream| (upstream.host, upstream.port));
        assert_eq!(found, Some(("10.0.0.2".to_owned(), 9000)));
        assert!(upstream("/").is_none());
        host.set_config("api", "10.0.0.2:http");
        assert!(upstream("/api/users").is_none());
        assert_eq!(host.logged().len(), 1);
    }
}
