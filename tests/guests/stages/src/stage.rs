//! What every role does: find out what it is asked for, and leave a trace.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Mutex, OnceLock, PoisonError};

use support::{number, word};

use crate::wasi::clocks::monotonic_clock;
use crate::wasi::random::random::get_random_u64;
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::{config, keyvalue, logging};

/// The plugin, in whichever roles it was built.
pub struct Stage;

/// How often each function was called in this instance.
static CALLS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
/// Which instance this is.
static INSTANCE: OnceLock<String> = OnceLock::new();

/// What tells copies of this plugin apart: the configuration's `name`.
pub fn name() -> String {
    config::get("name").unwrap_or_else(|| "stages".to_owned())
}

/// What `role` is asked to do: the header field `x-test-ROLE-NAME` for the copy
/// called NAME alone, else `x-test-ROLE`, else the configuration's `test.ROLE`,
/// else nothing. The first word may already have been obeyed, see [`begin`].
pub fn asked(headers: &[KeyValue], role: &str) -> String {
    let general = format!("x-test-{role}");
    let found = value(headers, &format!("{general}-{}", name())).or(value(headers, &general));
    let found = found.map(str::to_owned);
    let found = found.or_else(|| config::get(&format!("test.{role}")));
    begin(&found.unwrap_or_default()).to_owned()
}

/// Obeys a first word that any role knows and answers what is left to do:
/// `trap` and `spin` do not come back, `wait MS` does after that time.
pub fn begin(asked: &str) -> &str {
    let (verb, rest) = word(asked);
    match verb {
        // The instruction `unreachable` on every target for WebAssembly.
        "trap" => std::process::abort(),
        "spin" => {
            let mut turns = 0u64;
            loop {
                turns = black_box(turns.wrapping_add(1));
            }
        }
        "wait" => {
            let (milliseconds, rest) = number(rest, 0);
            let time = milliseconds.saturating_mul(1_000_000);
            monotonic_clock::subscribe_duration(time).block();
            rest
        }
        _ => asked,
    }
}

/// Leaves a trace of a call and answers it, `NAME FUNCTION`.
///
/// It is logged with the instance and the number of calls. If there is a field
/// `x-test-trace: ID`, it also becomes the next entry of the list ID in the
/// store, which the handler shows at `/trace/ID`.
pub fn trace(function: &'static str, headers: &[KeyValue]) -> String {
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = calls.entry(function).or_default();
    *count += 1;
    let entry = format!("{} {function}", name());
    logging::info(&format!(
        "stage {entry} instance={} calls={count}",
        instance()
    ));
    if let Some(id) = value(headers, "x-test-trace") {
        // A plugin without the store leaves its trace in the log alone.
        if let Ok(number) = keyvalue::increment(&format!("traces/{id}"), 1) {
            let _ = keyvalue::set_string(&format!("trace/{id}/{number:04}"), &entry);
        }
    }
    entry
}

/// Sixteen hexadecimal digits, the same as long as the instance lives.
pub fn instance() -> &'static str {
    INSTANCE.get_or_init(|| format!("{:016x}", get_random_u64()))
}

/// `FUNCTION=CALLS` for each function that was called in this instance, sorted.
pub fn calls() -> String {
    let calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let calls: Vec<_> = calls.iter().map(|(f, n)| format!("{f}={n}")).collect();
    calls.join(" ")
}

/// The first value of a field.
pub fn value<'a>(headers: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let field = headers.iter().find(|field| field.key == name);
    field.map(|field| field.value.as_str())
}

/// A field, a claim or whatever else is a pair.
pub fn pair(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.into(),
    }
}
