//! The page of metrics, as parsers of others read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use prometheus_parse::{Scrape, Value};

use crate::support::{Daemon, TempDir, ask, at_rest, eventually, get, skipped};

use super::serving;

/// A page after requests that went well and badly, and a plugin's odd metrics.
fn page() -> String {
    let folder = TempDir::new();
    let daemon = serving("indiscreet", &folder).start();
    at_rest(&folder);
    ask_all(&daemon);
    // A request is counted when its answer is out, and the counts of two come in no order.
    let plugin = "{plugin=\"indiscreet\",outcome=";
    let counts = [
        "zlayer_requests_total{code=\"2xx\"} 2\n".to_owned(),
        "zlayer_requests_total{code=\"4xx\"} 1\n".to_owned(),
        "zlayer_requests_total{code=\"5xx\"} 2\n".to_owned(),
        "zlayer_request_seconds_count 5\n".to_owned(),
        format!("zlayer_plugin_requests_total{plugin}\"answered\"}} 2\n"),
        format!("zlayer_plugin_requests_total{plugin}\"plugin_error\"}} 1\n"),
        format!("zlayer_plugin_requests_total{plugin}\"trap\"}} 1\n"),
        format!("zlayer_plugin_requests_total{plugin}\"not_handled\"}} 1\n"),
    ];
    let mut page = String::new();
    eventually("all requests", || {
        page = ask(&folder, "/metrics").text();
        counts.iter().all(|count| page.contains(count))
    });
    page
}

fn ask_all(daemon: &Daemon) {
    for (path, status) in [
        ("/odd-metrics", 200),
        ("/calls", 200),
        ("/tell/panic", 500),
        ("/tell/error", 502),
        ("/nowhere", 404),
    ] {
        assert_eq!(get(daemon, path).status, status, "{path}");
    }
}

fn scrape(page: &str) -> Scrape {
    Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap()
}

/// The one sample of this name with these labels among its own.
fn value<'a>(scrape: &'a Scrape, name: &str, labels: &[(&str, &str)]) -> &'a Value {
    let has = |sample: &&prometheus_parse::Sample| {
        let mut wanted = labels.iter();
        sample.metric == name && wanted.all(|(key, value)| sample.labels.get(key) == Some(value))
    };
    let mut found = scrape.samples.iter().filter(has);
    let first = found.next();
    let first = first.unwrap_or_else(|| panic!("no {name} {labels:?}"));
    assert!(found.next().is_none(), "more than one {name} {labels:?}");
    &first.value
}

fn number(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    match value(scrape, name, labels) {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_parser_finds_the_daemons_own_series() {
    let page = page();
    let scrape = scrape(&page);
    let of = |name: &str, labels: &[(&str, &str)]| number(&scrape, name, labels);
    assert_eq!(of("zlayer_requests_total", &[("code", "2xx")]), 2.0);
    assert_eq!(of("zlayer_requests_total", &[("code", "4xx")]), 1.0);
    assert_eq!(of("zlayer_requests_total", &[("code", "5xx")]), 2.0);
    let plugin = ("plugin", "indiscreet");
    for (outcome, count) in [("answered", 2.0), ("trap", 1.0), ("not_handled", 1.0)] {
        let labels = [plugin, ("outcome", outcome)];
        assert_eq!(
            of("zlayer_plugin_requests_total", &labels),
            count,
            "{outcome}"
        );
    }
    assert_eq!(of("zlayer_traps_total", &[plugin]), 1.0);
    assert_eq!(of("zlayer_plugin_ready", &[plugin]), 1.0);
    assert_eq!(of("zlayer_log_dropped_total", &[plugin]), 0.0);
    assert_eq!(of("zlayer_instances", &[plugin, ("state", "running")]), 0.0);
    let labels = [plugin, ("interface", "http-client")];
    assert_eq!(of("zlayer_denied_calls_total", &labels), 1.0);
    assert_eq!(of("zlayer_connections", &[]).fract(), 0.0);
    assert_eq!(of("zlayer_memory_limit_bytes", &[]), f64::from(64 << 20));
    for part in ["store", "connections", "bodies", "admin", "log", "plugins"] {
        assert!(of("zlayer_memory_bytes", &[("part", part)]) > 0.0, "{part}");
    }
    assert!(of("zlayer_process_resident_bytes", &[]) > 1e6);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(of("zlayer_build_info", &version), 1.0);
    let Value::Histogram(buckets) = value(&scrape, "zlayer_request_seconds", &[]) else {
        panic!("not a histogram: {page}");
    };
    assert!(buckets.is_sorted_by(|a, b| a.less_than < b.less_than && a.count <= b.count));
    assert_eq!(
        buckets.last().map(|last| (last.less_than, last.count)),
        Some((f64::INFINITY, 5.0))
    );
    assert_eq!(of("zlayer_request_seconds_count", &[]), 5.0);
    assert!(of("zlayer_request_seconds_sum", &[]) > 0.0);
}

#[test]
fn a_parser_finds_a_plugins_odd_series_as_they_must_be() {
    let page = page();
    let scrape = scrape(&page);
    let of = |name: &str| number(&scrape, name, &[("plugin", "indiscreet")]);
    assert_eq!(of("plain"), 2.0);
    assert_eq!(of("odd_name__"), u64::MAX as f64);
    assert_eq!((of("_"), of("_7up")), (1.0, 1.0));
    // It cannot count for the daemon.
    assert_eq!(of("_zlayer_requests_total"), 7.0);
    assert_eq!(of("_zlayer_metrics_dropped_total"), 7.0);
    assert_eq!(number(&scrape, "zlayer_metrics_dropped_total", &[]), 7.0);
    assert!(of("nan").is_nan());
    assert_eq!(of("infinite"), f64::INFINITY);
    assert_eq!(of("negative_infinite"), f64::NEG_INFINITY);
    assert_eq!(
        (of("large"), of("small"), of("zero")),
        (1e300, -2.5e-300, 0.0)
    );
    assert_eq!(of("values_count"), 6.0);
    assert!(of("values_sum").is_nan());
    let labels = [
        ("_name__", "forged"),
        ("a_b", "1"),
        ("plugin", "indiscreet"),
    ];
    assert_eq!(number(&scrape, "labelled", &labels), 1.0);
    for (way, within) in [("in", 1.0), ("out", 0.0)] {
        let Value::Histogram(buckets) = value(&scrape, "took_seconds", &[("way", way)]) else {
            panic!("not a histogram: {page}");
        };
        assert_eq!((buckets[1].less_than, buckets[1].count), (0.0025, within));
    }
}

/// What the crate forgives: no name has two types or begins twice, none stands without a type, and
/// no series stands twice.
#[test]
fn families_stand_together_and_series_stand_once() {
    let page = page();
    assert!(page.ends_with('\n'));
    let (mut types, mut series) = (BTreeMap::new(), BTreeSet::new());
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
            family = name;
        } else if !line.starts_with("# HELP ") {
            let (name, _) = line.split_once(['{', ' ']).unwrap();
            let suffix = name
                .strip_prefix(family)
                .unwrap_or_else(|| panic!("{line} in {family}"));
            let wanted: &[&str] = match types[family] {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(wanted.contains(&suffix), "{line} in {family}");
            let (key, _) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(key), "twice: {line}");
        }
    }
    assert!(series.len() > 100, "{page}");
}

#[test]
fn the_parser_of_prometheus_own_python_client_takes_the_page() {
    const PROGRAM: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
text = sys.stdin.buffer.read().decode()
samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
value = 'a \"quoted\" \\\\ back\\\\nslash\\nline, {braces}=\\x01\\xe9\\u2028'
assert any(s.name.startswith('labelled') and s.labels.get('value') == value for s in samples), samples
print(len(samples))
";
    let found = Command::new("python3")
        .args(["-c", "import prometheus_client.parser"])
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return skipped("python3 has no prometheus_client (pip install prometheus-client)");
    }
    let page = page();
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{page}");
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        samples.to_string()
    );
}
