//! A typed handler that misbehaves.
//!
//! The configuration key `init` rules `init`: `ok` (or nothing), `missing`,
//! `invalid`, `unavailable`, `failed`, `trap`, `spin`, `want-http-client`
//! (asks for every capability). The key `shutdown` rules `shutdown`: `ok` (or
//! nothing), `trap`, `spin`.
//!
//! The path rules `handle`: `/spin`, `/trap`, `/error`, `/status-N` (answers
//! with the status N, whatever it is), `/header-crlf`, `/header-name`,
//! `/header-framing`, `/big-body` (8 MiB), `/leak` (never drops six handles),
//! `/pass`; anything else is 200.

wit_bindgen::generate!({ world: "zlayer-plugin", path: "../../../wit", generate_all });

use std::hint::black_box;

use exports::zlayer::plugin::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use wasi::http::types::Fields;
use zlayer::plugin::common::KeyValue;
use zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};
use zlayer::plugin::{config, logging};

struct Hostile;

impl Guest for Hostile {
    fn init() -> Result<Capabilities, InitError> {
        match config::get("init").as_deref() {
            None | Some("ok") => Ok(Capabilities::CONFIG | Capabilities::LOGGING),
            Some("want-http-client") => Ok(Capabilities::all()),
            Some("missing") => Err(InitError::ConfigMissing(
                "a_key_that_nobody_sets".to_owned(),
            )),
            Some("invalid") => Err(InitError::ConfigInvalid("init".to_owned())),
            Some("unavailable") => Err(InitError::CapabilityUnavailable("time-travel".to_owned())),
            Some("failed") => Err(InitError::Failed("nothing works today".to_owned())),
            Some("trap") => trap(),
            Some("spin") => spin(),
            Some(other) => Err(InitError::ConfigInvalid(format!("init={other}"))),
        }
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:hostile-plugin".to_owned(),
            name: "Hostile plugin".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Misbehaves".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        match request.path.as_str() {
            "/spin" => spin(),
            "/trap" => trap(),
            "/error" => HandleResult::Error("hostile: this must not reach the client".to_owned()),
            "/pass" => HandleResult::PassThrough,
            "/header-crlf" => respond(200, &[("x-note", "a\r\nx-injected: yes")], b"ok".to_vec()),
            "/header-name" => respond(200, &[("bad name", "a")], b"ok".to_vec()),
            "/header-framing" => respond(
                200,
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                b"a body of more than five bytes".to_vec(),
            ),
            "/leak" => {
                // What a language does that collects its garbage late: six handles a request.
                for _ in 0..6 {
                    std::mem::forget(Fields::new());
                }
                respond(200, &[], b"leaked".to_vec())
            }
            "/big-body" => respond(200, &[], vec![b'b'; 8 << 20]),
            path => match path
                .strip_prefix("/status-")
                .and_then(|status| status.parse().ok())
            {
                Some(status) => respond(status, &[], b"odd".to_vec()),
                None => respond(200, &[], b"ok".to_vec()),
            },
        }
    }

    fn shutdown() {
        match config::get("shutdown").as_deref() {
            Some("spin") => spin(),
            Some("trap") => trap(),
            _ => logging::info("hostile: shut down"),
        }
    }
}

fn respond(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> HandleResult {
    let headers = headers.iter().map(|(key, value)| KeyValue {
        key: key.to_string(),
        value: value.to_string(),
    });
    HandleResult::Response(PluginResponse {
        status,
        headers: headers.collect(),
        body,
    })
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

// Not put into its callers: a test looks for its name.
#[inline(never)]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

export!(Hostile);
