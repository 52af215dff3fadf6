//! The handler: `x-test-handle` is one of
//!
//! - `respond STATUS TEXT`, whatever the status
//! - `echo`: the request's body, `bytes N`: a body of N bytes
//! - `pass`, `error TEXT`, `trap`, `spin`, `wait MS` and then any of these
//!
//! Else it answers with what it was given (see [`crate::describe`]), then with
//! the lines `instance ID`, `calls FUNCTION=N…` and `secrets NAME…`. Either way
//! it counts `stages_handled_total`.
//!
//! `x-test-answer` holds steps (see [`crate::steps`]) for the fields of the
//! answer. The fields that ask something of the stages on the way back are
//! copied from the request into the answer. `/trace/ID` shows a trace.

use support::{number, unescape, word};

use crate::describe;
use crate::exports::zlayer::plugin::handler::{
    Capabilities, Guest, InitError, PluginInfo, Version,
};
use crate::stage::{Stage, asked, calls, instance, name, pair, trace};
use crate::steps::change;
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};
use crate::zlayer::plugin::{keyvalue, logging, metrics, secrets};

/// What fields begin with that stages look for in an answer.
const BACK: [&str; 3] = [
    "x-test-on-response",
    "x-test-transform-response",
    "x-test-trace",
];

impl Guest for Stage {
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::all() - Capabilities::HTTP_CLIENT)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:stages".to_owned(),
            name: "Stages".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Plays every role as header fields ask it to".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        if let Some(id) = request.path.strip_prefix("/trace/") {
            return respond(200, Vec::new(), kept(id));
        }
        trace("handle", &request.headers);
        metrics::counter_inc("stages_handled_total", 1);
        let asked = asked(&request.headers, "handle");
        let (verb, rest) = word(&asked);
        let (status, body) = match verb {
            "pass" => return HandleResult::PassThrough,
            "error" => return HandleResult::Error(unescape(rest)),
            "respond" => {
                let (status, text) = number(rest, 200);
                (status as u16, unescape(text).into_bytes())
            }
            "echo" => (200, request.body),
            "bytes" => (200, vec![b'b'; number(rest, 0).0 as usize]),
            _ => {
                let seen = describe::request(&request);
                let own = format!(
                    "instance {}\ncalls {}\nsecrets {}\n",
                    instance(),
                    calls(),
                    secrets::list_names().join(" ")
                );
                (200, (seen + &own).into_bytes())
            }
        };
        let headers = answer_fields(&request.headers);
        respond(status, headers, body)
    }

    fn shutdown() {
        logging::info(&format!("stage {} shutdown", name()));
    }
}

fn answer_fields(headers: &[KeyValue]) -> Vec<KeyValue> {
    let goes_back = |key: &str| {
        // `x-test-cache-key` is for the way there.
        key == "x-test-cache" || BACK.iter().any(|begin| key.starts_with(begin))
    };
    let back = headers.iter().filter(|field| goes_back(&field.key));
    let mut fields = vec![pair("content-type", "text/plain")];
    fields.extend(back.cloned());
    change(&mut fields, &asked(headers, "answer"));
    fields
}

/// The entries of a trace, one a line, oldest first.
fn kept(id: &str) -> Vec<u8> {
    let keys = keyvalue::list_keys(&format!("trace/{id}/")).unwrap_or_default();
    let entries = keys
        .iter()
        .filter_map(|key| keyvalue::get_string(key).ok().flatten());
    entries
        .flat_map(|entry| entry.into_bytes().into_iter().chain(*b"\n"))
        .collect()
}

fn respond(status: u16, headers: Vec<KeyValue>, body: Vec<u8>) -> HandleResult {
    HandleResult::Response(PluginResponse {
        status,
        headers,
        body,
    })
}
