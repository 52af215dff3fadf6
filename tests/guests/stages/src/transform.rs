//! The transformer. `x-test-transform` in a request, and
//! `x-test-transform-response` in an answer, are steps (see [`crate::steps`]),
//! `trap`, `spin` or `wait MS`; a field `x-trace: NAME FUNCTION` is added at the end.
//!
//! The body hooks see no fields. The configuration's `test.request-body` and
//! `test.response-body` say what they do, or the body itself does, if it begins
//! with a line `!WORDS`, which is then taken away. The words are one of
//!
//! - `upper`, `reverse`, `empty`, `grow N` (by N bytes), `shrink N` (to N bytes)
//! - `trap`, `spin`, `wait MS` and then any of these

use support::{number, word};

use crate::exports::zlayer::plugin::transformer::Guest;
use crate::stage::{Stage, asked, begin, pair, trace};
use crate::steps::change;
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::config;

impl Guest for Stage {
    fn transform_request_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        change_headers("transform-request-headers", "transform", headers)
    }

    fn transform_response_headers(headers: Vec<KeyValue>) -> Vec<KeyValue> {
        change_headers("transform-response-headers", "transform-response", headers)
    }

    fn transform_request_body(body: Vec<u8>) -> Vec<u8> {
        trace("transform-request-body", &[]);
        change_body("test.request-body", body)
    }

    fn transform_response_body(body: Vec<u8>) -> Vec<u8> {
        trace("transform-response-body", &[]);
        change_body("test.response-body", body)
    }
}

fn change_headers(function: &'static str, role: &str, mut headers: Vec<KeyValue>) -> Vec<KeyValue> {
    let entry = trace(function, &headers);
    let asked = asked(&headers, role);
    change(&mut headers, &asked);
    headers.push(pair("x-trace", entry));
    headers
}

fn change_body(setting: &str, mut body: Vec<u8>) -> Vec<u8> {
    let asked = match first_line(&body) {
        Some(line) => {
            body.drain(..line.len() + 2);
            line
        }
        None => config::get(setting).unwrap_or_default(),
    };
    let (verb, rest) = word(begin(&asked));
    let size = number(rest, 0).0 as usize;
    match verb {
        "upper" => body.make_ascii_uppercase(),
        "reverse" => body.reverse(),
        "empty" => body.clear(),
        "grow" => body.resize(body.len().saturating_add(size), b'g'),
        "shrink" => body.truncate(size),
        _ => {}
    }
    body
}

/// The first line without its `!`, if that is how the body begins.
fn first_line(body: &[u8]) -> Option<String> {
    let end = body.iter().take(200).position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&body[..end]).ok()?;
    line.strip_prefix('!').map(str::to_owned)
}
