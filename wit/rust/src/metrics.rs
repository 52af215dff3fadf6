//! Figures for the people who run the device (`zlayer:plugin/metrics`).

use crate::ask;
use crate::types::common::KeyValue;

/// Adds `value` to a counter.
pub fn counter_inc(name: &str, value: u64) {
    ask!(metrics.counter_inc(name, value));
}

/// Adds `value` to the counter with these labels.
pub fn counter_inc_labeled(name: &str, value: u64, labels: &[KeyValue]) {
    ask!(metrics.counter_inc_labeled(name, value, labels));
}

/// Sets a gauge.
pub fn gauge_set(name: &str, value: f64) {
    ask!(metrics.gauge_set(name, value));
}

/// Sets the gauge with these labels.
pub fn gauge_set_labeled(name: &str, value: f64, labels: &[KeyValue]) {
    ask!(metrics.gauge_set_labeled(name, value, labels));
}

/// Adds `delta`, which may be negative, to a gauge.
pub fn gauge_add(name: &str, delta: f64) {
    ask!(metrics.gauge_add(name, delta));
}

/// Puts `value` into a histogram.
pub fn histogram_observe(name: &str, value: f64) {
    ask!(metrics.histogram_observe(name, value));
}

/// Puts `value` into the histogram with these labels.
pub fn histogram_observe_labeled(name: &str, value: f64, labels: &[KeyValue]) {
    ask!(metrics.histogram_observe_labeled(name, value, labels));
}

/// Puts a length of time in nanoseconds into the histogram `NAME_seconds`.
pub fn record_duration(name: &str, duration_ns: u64) {
    ask!(metrics.record_duration(name, duration_ns));
}

/// Puts a length of time in nanoseconds into the histogram `NAME_seconds` with these labels.
pub fn record_duration_labeled(name: &str, duration_ns: u64, labels: &[KeyValue]) {
    ask!(metrics.record_duration_labeled(name, duration_ns, labels));
}
