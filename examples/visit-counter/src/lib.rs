//! **Handler** (`zlayer:plugin/handler`): counts the visits of each path in the key-value store.
//!
//! The host calls `init` once for each instance before its first request, and `handle` for each
//! request that got through the stages before; the request's body is there as a whole. The verdict
//! of `handle` is one of three:
//!
//! - `Response`: what the client gets;
//! - `PassThrough`: the next handler is asked, and where there is none the client gets 404;
//! - `Error`: the client gets 502, and the text goes to the log alone.
//!
//! Configuration: `greeting`, the first word of the response (`visit` without it).
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ cd target/wasm32-wasip2/release
//! $ zlayer run --wasm visit_counter.wasm --config greeting=welcome, --port 8080
//! $ curl http://localhost:8080/hello
//! welcome, 1 of /hello
//! $ curl http://localhost:8080/hello
//! welcome, 2 of /hello
//! ```
//!
//! With `--data-dir FOLDER` the counts are still there when the daemon is started again.

zlayer_plugin::world!("zlayer-plugin");

use crate::common::KeyValue;
use crate::exports::handler::{
    Capabilities, Guest, HandleResult, InitError, PluginInfo, PluginRequest, Version,
};
use crate::request_types::PluginResponse;
use crate::{config, keyvalue, logging, metrics};

struct VisitCounter;

impl Guest for VisitCounter {
    /// Names the host interfaces that the plugin cannot do without: calls to others are refused.
    /// A device that denies one of these says so when it starts, and not at the first request.
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::CONFIG
            | Capabilities::KEYVALUE
            | Capabilities::LOGGING
            | Capabilities::METRICS)
    }

    /// What `zlayer status` shows of the plugin.
    fn info() -> PluginInfo {
        PluginInfo {
            id: "example:visit-counter".to_owned(),
            name: "Visit counter".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Counts the visits of each path".to_owned(),
            author: "ZLayer".to_owned(),
            license: Some("Apache-2.0".to_owned()),
            homepage: None,
            metadata: vec![],
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        // All instances of the plugin share one store, and incrementing is one step in it: no visit
        // is lost when several requests come at once.
        let count = match keyvalue::increment(&format!("visits:{}", request.path), 1) {
            Ok(count) => count,
            Err(error) => return HandleResult::Error(format!("cannot count: {error}")),
        };
        metrics::counter_inc("visits_total", 1);
        logging::info(&format!("visit {count} of {}", request.path));
        let greeting = config::get("greeting").unwrap_or_else(|| "visit".to_owned());
        HandleResult::Response(PluginResponse {
            status: 200,
            headers: vec![KeyValue {
                key: "content-type".to_owned(),
                value: "text/plain; charset=utf-8".to_owned(),
            }],
            body: format!("{greeting} {count} of {}\n", request.path).into_bytes(),
        })
    }

    /// Called when the daemon stops in good order.
    fn shutdown() {}
}

export!(VisitCounter);
