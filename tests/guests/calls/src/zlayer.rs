//! The interfaces of the contract.

use probe::zlayer::plugin::common::KeyValue;
use probe::zlayer::plugin::logging::Level;
use probe::zlayer::plugin::{config, keyvalue, logging, metrics, secrets};

use crate::{Call, Case, LARGE, MANY, compute, large};

pub const CASES: [Case; 22] = [
    ("compute", compute),
    ("config-get", || one(|text| drop(config::get(text)))),
    ("config-get-required", || {
        one(|text| drop(config::get_required(text)))
    }),
    ("config-get-many", || {
        let keys = vec!["a".to_owned(); 100_000];
        Box::new(move || drop(config::get_many(&keys)))
    }),
    ("config-get-prefix", || {
        Box::new(|| drop(config::get_prefix("")))
    }),
    ("keyvalue-get", || {
        let _ = keyvalue::set("large", &vec![1; 1 << 20]);
        Box::new(|| drop(keyvalue::get("large")))
    }),
    ("keyvalue-get-string", || {
        one(|text| drop(keyvalue::get_string(text)))
    }),
    ("keyvalue-set", || {
        let value = noise(1 << 20);
        Box::new(move || drop(keyvalue::set("set", &value)))
    }),
    ("keyvalue-set-too-large", || {
        one(|text| drop(keyvalue::set_string("k", text)))
    }),
    ("keyvalue-increment", || {
        one(|text| drop(keyvalue::increment(text, 1)))
    }),
    ("keyvalue-compare-and-swap", || {
        let value = noise(1 << 20);
        let _ = keyvalue::set("swapped", &value);
        Box::new(move || drop(keyvalue::compare_and_swap("swapped", Some(&value), &value)))
    }),
    ("keyvalue-list-keys", || {
        for n in 0..9_000 {
            let _ = keyvalue::set(&format!("list/{n}"), b"");
        }
        Box::new(|| drop(keyvalue::list_keys("list/")))
    }),
    ("logging-log", || {
        one(|text| logging::log(Level::Error, text))
    }),
    ("logging-short", || {
        // Segments of the ring come and go.
        let text = "x".repeat(4_000);
        Box::new(move || logging::log(Level::Error, &text))
    }),
    ("logging-log-structured", || {
        let fields = pairs(MANY / 2);
        Box::new(move || logging::log_structured(Level::Warn, "many", &fields))
    }),
    ("secrets-get-required", || {
        one(|text| drop(secrets::get_required(text)))
    }),
    ("secrets-list-names", || {
        Box::new(|| drop(secrets::list_names()))
    }),
    ("metrics-counter", || {
        one(|text| metrics::counter_inc(text, 1))
    }),
    ("metrics-series", || {
        let mut n = 0u64;
        Box::new(move || {
            n += 1;
            metrics::histogram_observe(&format!("series_{n}"), 1.0);
        })
    }),
    ("metrics-labels", || {
        let labels = pairs(MANY / 2);
        Box::new(move || metrics::counter_inc_labeled("many", 1, &labels))
    }),
    ("metrics-long-labels", || {
        let label = KeyValue {
            key: "x".repeat(LARGE / 2),
            value: "x".repeat(LARGE / 2),
        };
        let labels = vec![label];
        Box::new(move || metrics::gauge_set_labeled("long", 1.0, &labels))
    }),
    ("metrics-duration", || {
        one(|text| metrics::record_duration(text, 1))
    }),
];

/// A call with one text that is as long as can be.
fn one(call: fn(&str)) -> Call {
    let text = large();
    Box::new(move || call(&text))
}

fn pairs(count: usize) -> Vec<KeyValue> {
    let pair = |n| KeyValue {
        key: format!("k{n}"),
        value: "v".to_owned(),
    };
    (0..count).map(pair).collect()
}

/// Bytes that cannot be compressed.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}
