//! What the handler does, by path.

use std::hint::black_box;

use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::logging::{self, Level};
use crate::zlayer::plugin::request_types::PluginRequest;

pub fn call(request: &PluginRequest) -> String {
    match request.path.as_str() {
        "/record" => record(true),
        // The same texts, for nobody.
        "/texts" => record(false),
        _ => "ok".to_owned(),
    }
}

/// One record with a message and fields as large as can be.
fn record(log: bool) -> String {
    // Where the host takes it for Latin-1, each byte is a letter that has two in UTF-8.
    let text = "\u{e9}".repeat(crate::LARGE / 2);
    let fields = [KeyValue {
        key: text.clone(),
        value: "v".repeat(2),
    }];
    if black_box(log) {
        logging::log_structured(Level::Info, &text, &fields);
    }
    "ok".to_owned()
}
