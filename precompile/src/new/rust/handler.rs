//! A handler: counts the visits of each path in the store.

zlayer_plugin::world!("zlayer-plugin");

use crate::exports::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use crate::request_types::{HandleResult, PluginRequest, PluginResponse};

struct Plugin;

impl Guest for Plugin {
    /// Names the host's interfaces that the plugin cannot do without.
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::CONFIG | Capabilities::KEYVALUE | Capabilities::LOGGING)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: concat!("example:", env!("CARGO_PKG_NAME")).to_owned(),
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            author: String::new(),
            license: None,
            homepage: None,
            metadata: vec![],
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        let count = match crate::keyvalue::increment(&format!("visits:{}", request.path), 1) {
            Ok(count) => count,
            // The client gets 502, and the text goes to the log alone.
            Err(error) => return HandleResult::Error(format!("cannot count: {error}")),
        };
        crate::logging::info(&format!("visit {count} of {}", request.path));
        let greeting = crate::config::get("greeting").unwrap_or_else(|| "visit".to_owned());
        HandleResult::Response(PluginResponse {
            status: 200,
            headers: vec![],
            body: format!("{greeting} {count} of {}\n", request.path).into_bytes(),
        })
    }

    /// Called when the daemon stops in good order.
    fn shutdown() {}
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_types::HttpMethod;
    use zlayer_plugin::double::Host;

    fn get(path: &str) -> HandleResult {
        Plugin::handle(PluginRequest {
            request_id: "1".to_owned(),
            path: path.to_owned(),
            method: HttpMethod::Get,
            query: None,
            headers: vec![],
            body: vec![],
            timestamp: crate::clock::now(),
            context: vec![],
        })
    }

    #[test]
    fn visits_of_a_path_are_counted() {
        let _host = Host::new().config("greeting", "welcome,");
        get("/hello");
        let HandleResult::Response(response) = get("/hello") else {
            panic!("there is no response");
        };
        assert_eq!(response.body, b"welcome, 2 of /hello\n");
    }

    #[test]
    fn a_store_that_fails_is_an_error() {
        let host = Host::new();
        host.break_store(Some("worn out"));
        assert!(matches!(get("/"), HandleResult::Error(text) if text.contains("worn out")));
    }
}
