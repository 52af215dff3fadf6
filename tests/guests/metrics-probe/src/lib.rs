//! `metrics`: calls that answer nothing, so that what they did is checked in the
//! daemon's table. None of them can fail, whatever it is given.
//!
//! - `/counters`, `/gauges`, `/histograms`, `/durations`: one kind each, told apart by their names
//! - `/names`: names and labels that Prometheus does not take
//! - `/kinds`: names that are used as two kinds
//! - `/clash`: names that other series use, of a histogram and of the host
//! - `/series?count=N`: N series of `series_total`, each incremented by one

use probe::zlayer::plugin::metrics;
use probe::{Answer, Ask, Capabilities, Probe, fields};

const MS: u64 = 1_000_000;

struct MetricsProbe;

impl Probe for MetricsProbe {
    const NAME: &'static str = "metrics-probe";
    const CAPABILITIES: Capabilities = Capabilities::METRICS;

    fn answer(ask: &Ask) -> Result<Answer, String> {
        match ask.path.as_str() {
            "/counters" => counters(),
            "/gauges" => gauges(),
            "/histograms" => histograms(),
            "/durations" => durations(),
            "/names" => names(),
            "/kinds" => kinds(),
            "/clash" => clash(),
            "/series" => (0..ask.number("count", 0)).for_each(series),
            _ => return ask.unknown(),
        }
        Answer::text("done")
    }
}

fn counters() {
    metrics::counter_inc("requests_total", 1);
    metrics::counter_inc("requests_total", 41);
    metrics::counter_inc("untouched_total", 0);
    metrics::counter_inc("saturated_total", u64::MAX);
    metrics::counter_inc("saturated_total", 1);
    let [get, turned, post] = [
        [("method", "GET"), ("status", "200")],
        [("status", "200"), ("method", "GET")],
        [("method", "POST"), ("status", "200")],
    ]
    .map(|pairs| fields(&pairs));
    metrics::counter_inc_labeled("requests_by_method", 1, &get);
    metrics::counter_inc_labeled("requests_by_method", 2, &turned);
    metrics::counter_inc_labeled("requests_by_method", 4, &post);
    metrics::counter_inc_labeled("requests_by_method", 8, &[]);
    metrics::counter_inc("requests_by_method", 16);
}

fn gauges() {
    metrics::gauge_set("active_connections", 7.0);
    metrics::gauge_set("active_connections", 42.0);
    metrics::gauge_add("queue_size", 1.0);
    metrics::gauge_add("queue_size", 1.5);
    metrics::gauge_add("queue_size", -1.0);
    metrics::gauge_set("mixed", -10.0);
    metrics::gauge_add("mixed", 2.5);
    for (kind, bytes) in [("heap", 536_870_912.0), ("stack", 0.125)] {
        metrics::gauge_set_labeled("memory_usage_bytes", bytes, &fields(&[("type", kind)]));
    }
    for (name, value) in [
        ("gauge_nan", f64::NAN),
        ("gauge_inf", f64::INFINITY),
        ("gauge_neg_inf", f64::NEG_INFINITY),
        ("gauge_max", f64::MAX),
        ("gauge_tiny", 5e-324),
    ] {
        metrics::gauge_set(name, value);
    }
}

fn histograms() {
    for value in [0.025, 0.045, 3.0, -1.0, 1000.0] {
        metrics::histogram_observe("sizes", value);
    }
    let labels = fields(&[("method", "POST"), ("path", "/api/users")]);
    metrics::histogram_observe_labeled("http_request_duration_seconds", 0.045, &labels);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        metrics::histogram_observe("odd_sizes", value);
    }
}

fn durations() {
    metrics::record_duration("request_processing", 25 * MS);
    metrics::record_duration("request_processing", 1500 * MS);
    metrics::record_duration("no_time", 0);
    metrics::record_duration("longest", u64::MAX);
    let labels = fields(&[("handler", "user_create")]);
    metrics::record_duration_labeled("request_processing", 40 * MS, &labels);
}

fn names() {
    for name in [
        "db.pool-size",
        "9lives",
        "",
        "a:b",
        "grün",
        "two words",
        "x\n# TYPE y counter",
    ] {
        metrics::counter_inc(name, 1);
    }
    let odd = fields(&[
        ("label.with-signs", "1"),
        ("9", "2"),
        ("", "3"),
        ("colon:ed", "4"),
    ]);
    metrics::counter_inc_labeled("odd_label_names", 1, &odd);
    let value = "back\\slash \"quotes\"\nline\r✓";
    metrics::counter_inc_labeled("odd_label_values", 1, &fields(&[("value", value)]));
    let forged = fields(&[("plugin", "forged"), ("le", "forged")]);
    metrics::counter_inc_labeled("forged_labels", 1, &forged);
    metrics::histogram_observe_labeled("forged_buckets", 1.0, &forged);
    let twice = fields(&[("a", "1"), ("a", "2")]);
    metrics::counter_inc_labeled("label_twice", 1, &twice);
    // Longer than any series may be: dropped and counted.
    metrics::counter_inc(&"long".repeat(5000), 1);
    metrics::counter_inc_labeled("long_label", 1, &fields(&[("l", &"v".repeat(20_000))]));
}

/// A name's kind is settled by its first use; what does not fit is dropped and counted.
fn kinds() {
    metrics::counter_inc("first_a_counter", 1);
    metrics::gauge_set("first_a_counter", 5.0);
    metrics::histogram_observe("first_a_counter", 5.0);
    metrics::gauge_set("first_a_gauge", 1.0);
    metrics::counter_inc_labeled("first_a_gauge", 5, &fields(&[("a", "b")]));
    metrics::record_duration("first_a_histogram", MS);
    metrics::counter_inc("first_a_histogram_seconds", 5);
}

/// A histogram has series of three more names, and the host has its own.
fn clash() {
    metrics::histogram_observe("clash", 0.5);
    for name in ["clash_count", "clash_sum", "clash_bucket"] {
        metrics::counter_inc(name, 1);
    }
    for name in ["late_count", "late_sum", "late_bucket"] {
        metrics::gauge_set(name, 1.0);
    }
    metrics::histogram_observe("late", 0.5);
    metrics::counter_inc("zlayer_metrics_dropped_total", 1_000_000);
    metrics::gauge_set("zlayer_anything", 1.0);
}

fn series(number: u64) {
    let number = number.to_string();
    metrics::counter_inc_labeled("series_total", 1, &fields(&[("number", &number)]));
}

probe::export!(MetricsProbe);
