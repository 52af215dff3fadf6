//! `logging` and `metrics`: calls that answer nothing, so what is checked is
//! that none of them does harm, and what the host says of its levels.

use crate::checks::{Checks, Failed};
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::logging::{self, Level};
use crate::zlayer::plugin::{config, metrics};

/// From least to most.
const LEVELS: [(Level, &str); 5] = [
    (Level::Trace, "trace"),
    (Level::Debug, "debug"),
    (Level::Info, "info"),
    (Level::Warn, "warn"),
    (Level::Error, "error"),
];

pub fn probe_logging(checks: &mut Checks) -> Result<(), Failed> {
    let enabled = LEVELS.map(|(level, _)| logging::is_enabled(level));
    checks.is(
        "a level is enabled when a lower one is",
        enabled.is_sorted(),
    )?;
    if let Some(wanted) = config::get("LOG_LEVEL")
        && let Some(first) = LEVELS
            .iter()
            .position(|(_, name)| name.eq_ignore_ascii_case(&wanted))
    {
        let expected: [bool; 5] = std::array::from_fn(|i| i >= first);
        checks.same("LOG_LEVEL rules what is enabled", enabled, expected)?;
    }

    logging::trace("probe: trace");
    logging::debug("probe: debug");
    logging::info("probe: info");
    logging::warn("probe: warn");
    logging::error("probe: error");
    checks.is("each level has a function", true)?;
    for (level, name) in LEVELS {
        logging::log(level, &format!("probe: log {name}"));
    }
    checks.is("log takes each level", true)?;
    logging::log_structured(
        Level::Info,
        "probe: fields",
        &fields(&[("user", "7"), ("path", "/a b")]),
    );
    logging::log_structured(Level::Info, "probe: no fields", &[]);
    logging::log_structured(
        Level::Info,
        "",
        &fields(&[
            ("", ""),
            ("request_id", "forged"),
            ("two\nlines", "\u{1b}[31m"),
        ]),
    );
    checks.is("log-structured takes any fields", true)?;
    logging::info("probe: one line\nprobe: error: forged line\r\n\u{0}\u{1b}[2J");
    logging::info(&"probe: long ".repeat(10_000));
    checks.is("any message is taken", true)
}

pub fn probe_metrics(checks: &mut Checks) -> Result<(), Failed> {
    let labels = fields(&[("method", "GET"), ("path", "/a\"b\\c\nd")]);
    metrics::counter_inc("probe_total", 1);
    metrics::counter_inc("probe_total", 2);
    metrics::counter_inc_labeled("probe_labelled_total", 1, &labels);
    checks.is("counters are taken", true)?;
    metrics::gauge_set("probe_gauge", 42.0);
    metrics::gauge_add("probe_gauge", -1.5);
    metrics::gauge_set_labeled("probe_labelled_gauge", -0.5, &labels);
    checks.is("gauges are taken", true)?;
    metrics::histogram_observe("probe_size", 0.025);
    metrics::histogram_observe_labeled("probe_labelled_size", 0.5, &labels);
    metrics::record_duration("probe_time", 25_000_000);
    metrics::record_duration_labeled("probe_labelled_time", 1, &labels);
    checks.is("histograms are taken", true)?;

    metrics::counter_inc("probe.with-odd name", u64::MAX);
    metrics::counter_inc("probe.with-odd name", u64::MAX);
    metrics::counter_inc("", 1);
    metrics::counter_inc("9lives", 1);
    metrics::counter_inc_labeled(
        "probe_odd_labels",
        1,
        &fields(&[("", ""), ("a", "1"), ("a", "2"), ("plugin", "forged")]),
    );
    checks.is("odd names and labels are taken", true)?;
    for value in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN,
        f64::MAX,
    ] {
        metrics::gauge_set("probe_odd_gauge", value);
        metrics::gauge_add("probe_odd_gauge", value);
        metrics::histogram_observe("probe_odd_size", value);
    }
    metrics::record_duration("probe_time", u64::MAX);
    checks.is("odd values are taken", true)?;
    // The kind of a name is settled by its first use.
    metrics::gauge_set("probe_total", 1.0);
    metrics::histogram_observe("probe_total", 1.0);
    checks.is("a name of another kind is taken", true)?;
    for i in 0..1000 {
        metrics::counter_inc_labeled("probe_series", 1, &fields(&[("i", &i.to_string())]));
    }
    checks.is("more series than the table holds are taken", true)
}

fn fields(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.to_string(),
            value: value.to_string(),
        })
        .collect()
}
