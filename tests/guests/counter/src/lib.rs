//! The key-value store behind paths. KEY is the rest of the path, as it came.
//!
//! - `/incr/KEY?by=N` (N is 1 when it is left out): the new number
//! - `/get/KEY`: the value's bytes, or 404
//! - `/text/KEY`: the value as text, or 404
//! - `/set/KEY`, `/set-ttl/KEY?ms=N`: stores the request's body
//! - `/del/KEY`, `/exists/KEY`: `true` or `false`
//! - `/cas/KEY?expect=TEXT`: stores the body if KEY holds TEXT, or is absent without `expect`; `true` or `false`
//! - `/list/PREFIX`: the keys, one a line
//! - `/instance`: how many requests for this path this instance has had
//! - `/bench/OP?n=N`: the nanoseconds that N calls take, see [`bench::run`]
//!
//! An error of the store is 409 with its case's name in the body.

wit_bindgen::generate!({ world: "zlayer-plugin", path: "../../../wit", generate_all });

mod bench;

use std::sync::atomic::{AtomicU64, Ordering};

use exports::zlayer::plugin::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use support::field;
use zlayer::plugin::keyvalue::{self, KvError};
use zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};

/// Lives as long as the instance does.
static SEEN: AtomicU64 = AtomicU64::new(0);

struct Counter;

impl Guest for Counter {
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::KEYVALUE)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:counter".to_owned(),
            name: "Counter".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Puts the key-value store behind paths".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        let (status, body) = match answer(&request) {
            Ok(Some(body)) => (200, body),
            Ok(None) => (404, b"absent\n".to_vec()),
            Err(Failure::Store(error)) => (409, describe(&error).into_bytes()),
            Err(Failure::Request(text)) => (400, text.as_bytes().to_vec()),
        };
        HandleResult::Response(PluginResponse {
            status,
            headers: Vec::new(),
            body,
        })
    }

    fn shutdown() {}
}

enum Failure {
    Store(KvError),
    Request(&'static str),
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        Self::Store(error)
    }
}

fn answer(request: &PluginRequest) -> Result<Option<Vec<u8>>, Failure> {
    let query = request.query.as_deref().unwrap_or_default();
    let path = request.path.strip_prefix('/').unwrap_or_default();
    let (verb, key) = path.split_once('/').unwrap_or((path, ""));
    let done = || Ok(Some(b"ok".to_vec()));
    let text = |text: String| Ok(Some(text.into_bytes()));
    match verb {
        "incr" => {
            let by = field(query, "by").unwrap_or("1");
            let by = by
                .parse()
                .map_err(|_| Failure::Request("by is not a number\n"))?;
            text(keyvalue::increment(key, by)?.to_string())
        }
        "get" => Ok(keyvalue::get(key)?),
        "text" => Ok(keyvalue::get_string(key)?.map(String::into_bytes)),
        "set" => {
            keyvalue::set(key, &request.body)?;
            done()
        }
        "set-ttl" => {
            let ms: Option<u64> = field(query, "ms").and_then(|ms| ms.parse().ok());
            let ms = ms.ok_or(Failure::Request("/set-ttl wants ?ms=N\n"))?;
            keyvalue::set_with_ttl(key, &request.body, ms.saturating_mul(1_000_000))?;
            done()
        }
        "del" => text(keyvalue::delete(key)?.to_string()),
        "exists" => text(keyvalue::exists(key).to_string()),
        "cas" => {
            let expected = field(query, "expect").map(str::as_bytes);
            text(keyvalue::compare_and_swap(key, expected, &request.body)?.to_string())
        }
        "list" => text(
            keyvalue::list_keys(key)?
                .iter()
                .map(|key| format!("{key}\n"))
                .collect(),
        ),
        "bench" => text(bench::run(key, query)?.to_string()),
        "instance" => text((SEEN.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        _ => Ok(None),
    }
}

fn describe(error: &KvError) -> String {
    match error {
        KvError::NotFound => "not-found".to_owned(),
        KvError::ValueTooLarge => "value-too-large".to_owned(),
        KvError::QuotaExceeded => "quota-exceeded".to_owned(),
        KvError::InvalidKey => "invalid-key".to_owned(),
        KvError::Storage(text) => format!("storage: {text}"),
    }
}

export!(Counter);
