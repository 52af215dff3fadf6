//! **Router** (`zlayer:plugin/router`): sends paths to other servers, or redirects them.
//!
//! The host calls `route` for each request that the cache did not serve. The verdict is one of
//! four:
//!
//! - `Forward`: the host asks this upstream and passes its response on, streaming both ways;
//! - `Redirect`: the client gets 301, 302, 303, 307 or 308 with this `location`;
//! - `RespondImmediate`: the client gets this response;
//! - `ContinueProcessing`: the next router is asked, and then the handlers.
//!
//! Configuration: `upstream.PREFIX`, the HOST:PORT of the server for paths that begin with PREFIX
//! (the longest one counts); `redirect.PATH`, where clients of this path are sent for good.
//!
//! The host forwards only to servers that `--allow-host`, or `wasm.upstreams` of the router's service in
//! [`deployment.yaml`](../deployment.yaml), names.
//!
//! The second daemon here is the upstream; both want a terminal of their own.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ zlayer run --wasm target/wasm32-wasip2/release/hello.wasm --port 9000
//! $ zlayer run path-router/deployment.yaml --port 8080
//! $ curl http://localhost:8080/api/users?page=2
//! {"method":"GET","path":"/api/users?page=2"}
//! $ curl -i http://localhost:8080/old
//! HTTP/1.1 308 Permanent Redirect
//! location: /new
//! ...
//! $ curl http://localhost:8080/new
//! visit 1 of /new
//! ```

zlayer_plugin::world!("zlayer-router");

use crate::exports::router::Guest;
use crate::http_types::{
    ImmediateResponse, RedirectInfo, RequestMetadata, RoutingDecision, Upstream,
};
use crate::request_types::PluginRequest;
use crate::{config, logging};

/// The contract's durations are in nanoseconds.
const SECOND: u64 = 1_000_000_000;

struct PathRouter;

impl Guest for PathRouter {
    /// `metadata` tells what is known of the connection, such as the client's address.
    fn route(request: PluginRequest, _metadata: RequestMetadata) -> RoutingDecision {
        if let Some(location) = config::get(&format!("redirect.{}", request.path)) {
            return RoutingDecision::Redirect(RedirectInfo {
                location,
                status: 308,
                preserve_body: true,
            });
        }
        let upstreams = config::get_prefix("upstream.");
        let Some(address) = longest(&upstreams, &request.path) else {
            return RoutingDecision::ContinueProcessing;
        };
        let Some((host, port)) = split(address) else {
            logging::error(&format!(
                "an upstream is set to '{address}': wants HOST:PORT"
            ));
            return RoutingDecision::RespondImmediate(ImmediateResponse {
                status: 502,
                headers: vec![],
                body: b"this path leads nowhere\n".to_vec(),
            });
        };
        RoutingDecision::Forward(Upstream {
            host: host.to_owned(),
            port,
            tls: false,
            connect_timeout: 5 * SECOND,
            request_timeout: 30 * SECOND,
        })
    }
}

/// The address for the longest prefix that `path` begins with.
fn longest<'a>(upstreams: &'a [(String, String)], path: &str) -> Option<&'a str> {
    let matching = upstreams.iter().filter(|(key, _)| {
        let prefix = key.strip_prefix("upstream.");
        prefix.is_some_and(|prefix| path.starts_with(prefix))
    });
    let found = matching.max_by_key(|(key, _)| key.len());
    found.map(|(_, address)| address.as_str())
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?)).filter(|_| !host.is_empty())
}

export!(PathRouter);

#[cfg(test)]
mod tests {
    use super::{longest, split};

    #[test]
    fn the_longest_prefix_counts() {
        let pair = |prefix: &str, address: &str| (format!("upstream.{prefix}"), address.to_owned());
        let upstreams = [pair("/api/", "a:1"), pair("/api/v2/", "b:2")];
        assert_eq!(longest(&upstreams, "/api/v1/x"), Some("a:1"));
        assert_eq!(longest(&upstreams, "/api/v2/x"), Some("b:2"));
        assert_eq!(longest(&upstreams, "/apiary"), None);
    }

    #[test]
    fn an_address_is_host_and_port() {
        assert_eq!(split("backend.local:8080"), Some(("backend.local", 8080)));
        for wrong in ["backend.local", ":80", "backend.local:http", ""] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
