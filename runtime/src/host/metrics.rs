//! `zlayer:plugin/metrics`: counters, gauges and histograms in the device's table.
//!
//! Without the capability `metrics` calls do nothing.

use super::HostState;
use super::bindings::zlayer::plugin::common::KeyValue;
use super::bindings::zlayer::plugin::metrics::Host;
use crate::capability::Capability;
use crate::metrics::{Change, NAME_BYTES};
use crate::redact::cut;

/// Bytes of a name or a label that are looked at: with more it is too long for the table.
const LOOKED_AT: usize = NAME_BYTES + 1;

impl Host for HostState {
    fn counter_inc(&mut self, name: String, value: u64) {
        self.measure(&name, &[], Change::CounterInc(value));
    }

    fn counter_inc_labeled(&mut self, name: String, value: u64, labels: Vec<KeyValue>) {
        self.measure(&name, &labels, Change::CounterInc(value));
    }

    fn gauge_set(&mut self, name: String, value: f64) {
        self.measure(&name, &[], Change::GaugeSet(value));
    }

    fn gauge_set_labeled(&mut self, name: String, value: f64, labels: Vec<KeyValue>) {
        self.measure(&name, &labels, Change::GaugeSet(value));
    }

    fn gauge_add(&mut self, name: String, delta: f64) {
        self.measure(&name, &[], Change::GaugeAdd(delta));
    }

    fn histogram_observe(&mut self, name: String, value: f64) {
        self.measure(&name, &[], Change::Observe(value));
    }

    fn histogram_observe_labeled(&mut self, name: String, value: f64, labels: Vec<KeyValue>) {
        self.measure(&name, &labels, Change::Observe(value));
    }

    fn record_duration(&mut self, name: String, duration_ns: u64) {
        self.record_duration_labeled(name, duration_ns, Vec::new());
    }

    fn record_duration_labeled(&mut self, name: String, duration_ns: u64, labels: Vec<KeyValue>) {
        let seconds = duration_ns as f64 / 1e9;
        self.measure(
            &format!("{}_seconds", cut(&name, LOOKED_AT)),
            &labels,
            Change::Observe(seconds),
        );
    }
}

impl HostState {
    fn measure(&self, name: &str, labels: &[KeyValue], change: Change) {
        if !self.may(Capability::Metrics) {
            return;
        }
        // The table is shown to people, so secrets are taken out of names and labels here.
        let name = cut(name, LOOKED_AT);
        let labels: Vec<_> = labels
            .iter()
            .map(|label| (cut(&label.key, LOOKED_AT), cut(&label.value, LOOKED_AT)))
            .collect();
        let labels = labels.iter().map(|(key, value)| (&**key, &**value));
        let plugin = &self.plugin;
        let fault = plugin.metrics.apply(&plugin.name, &name, labels, change);
        if let Some(fault) = fault {
            let request = self.request.id();
            let request = request.map_or(String::new(), |id| format!("[{id}] "));
            log::warn!(
                "{request}plugin {}: metrics: '{}' is dropped: {fault}. Said once, however often it happens",
                plugin.name,
                cut(&name, NAME_BYTES)
            );
        }
    }
}
