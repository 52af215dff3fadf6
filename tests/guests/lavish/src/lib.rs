//! Every role hands over far more than anybody can use: texts of [`LARGE`] bytes.
//!
//! The header field `x-lavish` names what is large: `cache-key`, `host` (of the upstream that the router
//! names), `claim-error` (why a token is not taken), `answer` (the fields of the handler's response, beside a body
//! of `x-body` bytes). Everything else is as small as can be. With `x-wait: MS` the authenticator takes its time.
//! The handler's paths are in [`calls`].

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:lavish;

        /// Those roles that return texts which somebody might keep.
        world lavish {
            include zlayer:plugin/zlayer-plugin@0.1.0;
            export zlayer:plugin/authenticator@0.1.0;
            export zlayer:plugin/router@0.1.0;
            export zlayer:plugin/transformer@0.1.0;
            export zlayer:plugin/caching@0.1.0;
        }
    ",
    world: "zlayer-tests:lavish/lavish",
    generate_all,
});

mod calls;

use exports::zlayer::plugin::authenticator::{self, AuthResult};
use exports::zlayer::plugin::caching::{self, CacheDecision};
use exports::zlayer::plugin::handler::{self, Capabilities, InitError, PluginInfo, Version};
use exports::zlayer::plugin::router::{self, RequestMetadata, RoutingDecision};
use exports::zlayer::plugin::transformer;
use wasi::clocks::monotonic_clock::subscribe_duration;
use zlayer::plugin::common::{Error, KeyValue};
use zlayer::plugin::http_types::Upstream;
use zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};

/// As much as one call may hand over, but for a little.
const LARGE: usize = 3_900_000;

struct Lavish;

fn field<'a>(headers: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let mut fields = headers.iter();
    fields
        .find(|field| field.key == name)
        .map(|field| field.value.as_str())
}

/// A large text, if the request asks for one of this kind.
fn large(headers: &[KeyValue], kind: &str) -> Option<String> {
    (field(headers, "x-lavish") == Some(kind)).then(|| "l".repeat(LARGE))
}

fn wait(headers: &[KeyValue]) {
    let time = field(headers, "x-wait").and_then(|text| text.parse::<u64>().ok());
    if let Some(milliseconds) = time {
        subscribe_duration(milliseconds * 1_000_000).block();
    }
}

impl handler::Guest for Lavish {
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::empty())
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:lavish".to_owned(),
            name: "Lavish".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Hands over too much".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        let mut headers = Vec::new();
        if let Some(value) = large(&request.headers, "answer") {
            headers.push(KeyValue {
                key: "x-large".to_owned(),
                value,
            });
        }
        let bytes = field(&request.headers, "x-body").and_then(|text| text.parse().ok());
        let body = match bytes {
            Some(bytes) => vec![b'b'; bytes],
            None => calls::call(&request).into_bytes(),
        };
        HandleResult::Response(PluginResponse {
            status: 200,
            headers,
            body,
        })
    }

    fn shutdown() {}
}

impl authenticator::Guest for Lavish {
    fn authenticate(request: PluginRequest) -> AuthResult {
        wait(&request.headers);
        AuthResult::Skip
    }

    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        let text = match token.as_str() {
            "large" => "l".repeat(LARGE),
            _ => String::new(),
        };
        Err(Error {
            code: "NO".to_owned(),
            message: text,
        })
    }
}

impl router::Guest for Lavish {
    fn route(request: PluginRequest, _: RequestMetadata) -> RoutingDecision {
        match large(&request.headers, "host") {
            None => RoutingDecision::ContinueProcessing,
            Some(host) => RoutingDecision::Forward(Upstream {
                host,
                port: 80,
                tls: false,
                connect_timeout: 0,
                request_timeout: 0,
            }),
        }
    }
}

/// It is there to wait for a request's body.
impl transformer::Guest for Lavish {
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
        body
    }
}

impl caching::Guest for Lavish {
    fn cache_policy(_: String, _: String, _: u16, _: Vec<KeyValue>) -> CacheDecision {
        CacheDecision::NoCache
    }

    fn cache_key(_: String, path: String, headers: Vec<KeyValue>) -> String {
        large(&headers, "cache-key").unwrap_or(path)
    }
}

export!(Lavish);
