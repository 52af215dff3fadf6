//! `zlayer:plugin/metrics` of a test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::types::common::KeyValue;

/// A name, as Prometheus has it, and its labels in order.
type Series = (String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: RefCell<BTreeMap<Series, u64>>,
    gauges: RefCell<BTreeMap<Series, f64>>,
    histograms: RefCell<BTreeMap<Series, Vec<f64>>>,
    pub(super) denied: Cell<bool>,
}

impl Metrics {
    pub(super) fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let counters = self.counters.borrow();
        let value = counters.get(&series(name, labels.iter().copied()));
        value.copied().unwrap_or(0)
    }

    pub(super) fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let gauges = self.gauges.borrow();
        gauges.get(&series(name, labels.iter().copied())).copied()
    }

    pub(super) fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let histograms = self.histograms.borrow();
        let values = histograms.get(&series(name, labels.iter().copied()));
        values.cloned().unwrap_or_default()
    }

    pub(crate) fn counter_inc(&self, name: &str, value: u64) {
        self.counter_inc_labeled(name, value, &[]);
    }

    pub(crate) fn counter_inc_labeled(&self, name: &str, value: u64, labels: &[KeyValue]) {
        if !self.denied.get() {
            let mut counters = self.counters.borrow_mut();
            let counter = counters.entry(of_call(name, labels)).or_default();
            *counter = counter.saturating_add(value);
        }
    }

    pub(crate) fn gauge_set(&self, name: &str, value: f64) {
        self.gauge_set_labeled(name, value, &[]);
    }

    pub(crate) fn gauge_set_labeled(&self, name: &str, value: f64, labels: &[KeyValue]) {
        if !self.denied.get() {
            let mut gauges = self.gauges.borrow_mut();
            gauges.insert(of_call(name, labels), value);
        }
    }

    pub(crate) fn gauge_add(&self, name: &str, delta: f64) {
        if !self.denied.get() {
            *self
                .gauges
                .borrow_mut()
                .entry(of_call(name, &[]))
                .or_default() += delta;
        }
    }

    pub(crate) fn histogram_observe(&self, name: &str, value: f64) {
        self.histogram_observe_labeled(name, value, &[]);
    }

    pub(crate) fn histogram_observe_labeled(&self, name: &str, value: f64, labels: &[KeyValue]) {
        if !self.denied.get() {
            let mut histograms = self.histograms.borrow_mut();
            let values = histograms.entry(of_call(name, labels)).or_default();
            values.push(value);
        }
    }

    pub(crate) fn record_duration(&self, name: &str, duration_ns: u64) {
        self.record_duration_labeled(name, duration_ns, &[]);
    }

    pub(crate) fn record_duration_labeled(
        &self,
        name: &str,
        duration_ns: u64,
        labels: &[KeyValue],
    ) {
        let seconds = duration_ns as f64 / 1e9;
        self.histogram_observe_labeled(&format!("{name}_seconds"), seconds, labels);
    }
}

fn of_call(name: &str, labels: &[KeyValue]) -> Series {
    let labels = labels.iter();
    series(
        name,
        labels.map(|label| (label.key.as_str(), label.value.as_str())),
    )
}

/// The series of a name and labels: what Prometheus does not take in a name becomes `_`.
fn series<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Series {
    let plain = |text: &str| {
        text.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':',
            "_",
        )
    };
    let labels = labels.map(|(key, value)| (plain(key), value.to_owned()));
    (plain(name), labels.collect())
}

#[cfg(test)]
mod tests {
    use crate::double::{Capability, Host};
    use crate::metrics;
    use crate::types::common::KeyValue;

    #[test]
    fn figures_are_kept_by_name_and_labels() {
        let label = |key: &str, value: &str| KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let host = Host::new();
        metrics::counter_inc("requests.total", 2);
        metrics::counter_inc("requests_total", 1);
        metrics::counter_inc_labeled("by", 1, &[label("a", "1"), label("b", "2")]);
        metrics::gauge_add("queue", 2.0);
        metrics::gauge_add("queue", -0.5);
        metrics::gauge_set_labeled("used", 7.0, &[label("type", "heap")]);
        metrics::histogram_observe("size", 3.0);
        metrics::record_duration("work", 1_500_000_000);
        assert_eq!(host.counter("requests_total", &[]), 3);
        assert_eq!(host.counter("by", &[("b", "2"), ("a", "1")]), 1);
        assert_eq!(host.counter("by", &[]), 0);
        assert_eq!(host.gauge("queue", &[]), Some(1.5));
        assert_eq!(host.gauge("used", &[("type", "heap")]), Some(7.0));
        assert_eq!(host.gauge("used", &[]), None);
        assert_eq!(host.histogram("size", &[]), [3.0]);
        assert_eq!(host.histogram("work_seconds", &[]), [1.5]);
        let host = host.deny(Capability::Metrics);
        metrics::counter_inc("requests_total", 1);
        assert_eq!(host.counter("requests_total", &[]), 3);
    }
}
