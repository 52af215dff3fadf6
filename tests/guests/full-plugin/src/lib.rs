//! A typed handler with a whole life.
//!
//! `init` fails without the configuration key `api_key`. Paths below `/api/`
//! are answered with what the plugin was given, as JSON; `/api/error` is an
//! error; everything else is left to the next handler.

wit_bindgen::generate!({ world: "zlayer-plugin", path: "../../../wit", generate_all });

use exports::zlayer::plugin::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use support::json;
use zlayer::plugin::common::KeyValue;
use zlayer::plugin::request_types::{HandleResult, HttpMethod, PluginRequest, PluginResponse};
use zlayer::plugin::{config, logging};

struct FullPlugin;

impl Guest for FullPlugin {
    fn init() -> Result<Capabilities, InitError> {
        match config::get("api_key") {
            Some(_) => Ok(Capabilities::CONFIG | Capabilities::KEYVALUE | Capabilities::LOGGING),
            None => Err(InitError::ConfigMissing("api_key".to_owned())),
        }
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:full-plugin".to_owned(),
            name: "Full plugin".to_owned(),
            version: Version {
                major: 1,
                minor: 2,
                patch: 3,
                pre_release: Some("test".to_owned()),
            },
            description: "Shows what a typed handler is given".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: Some("Apache-2.0".to_owned()),
            homepage: None,
            metadata: vec![KeyValue {
                key: "purpose".to_owned(),
                value: "tests".to_owned(),
            }],
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        logging::info(&format!("{} {}", name(request.method), request.path));
        if !request.path.starts_with("/api/") {
            return HandleResult::PassThrough;
        }
        if request.path == "/api/error" {
            return HandleResult::Error("this text is for the log alone".to_owned());
        }
        HandleResult::Response(PluginResponse {
            status: 200,
            headers: vec![KeyValue {
                key: "content-type".to_owned(),
                value: "application/json".to_owned(),
            }],
            body: describe(&request).into_bytes(),
        })
    }

    fn shutdown() {
        logging::info("shutting down");
    }
}

fn describe(request: &PluginRequest) -> String {
    let context: Vec<_> = request
        .context
        .iter()
        .map(|e| format!("{}:{}", json(&e.key), json(&e.value)))
        .collect();
    format!(
        "{{\"request_id\":{},\"method\":{},\"path\":{},\"query\":{},\"body_len\":{},\"context\":{{{}}}}}",
        json(&request.request_id),
        json(name(request.method)),
        json(&request.path),
        request.query.as_deref().map_or("null".to_owned(), json),
        request.body.len(),
        context.join(",")
    )
}

fn name(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Head => "HEAD",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Connect => "CONNECT",
        HttpMethod::Trace => "TRACE",
    }
}

export!(FullPlugin);
