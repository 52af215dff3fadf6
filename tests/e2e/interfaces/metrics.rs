use super::prometheus::{Table, parse};
use super::{ROLES, text, whole_log};
use crate::support::Daemon;

/// Series that a plugin may have: the default.
const SERIES: usize = 256;
/// The host's count of what it did not keep.
const DROPPED: &str = "zlayer_metrics_dropped_total";

/// What the daemon shows after requests for these paths.
fn shown(paths: &[&str]) -> Table {
    let daemon = Daemon::start("metrics-probe");
    for path in paths {
        assert_eq!(text(&daemon, path), "done");
    }
    // The table goes to standard error on request.
    daemon.signal(10);
    daemon.wait_for_log(DROPPED);
    let log = whole_log(daemon);
    let start = log.find("# TYPE ").unwrap();
    let lines = log[start..].lines();
    // A record of the log begins with the time.
    let lines = lines.take_while(|line| line.starts_with('#') || !line.contains(" GMT "));
    parse(&lines.map(|line| format!("{line}\n")).collect::<String>())
}

/// The same paths in both roles.
fn in_both_roles(path: &str) -> Table {
    let paths = ROLES.map(|role| format!("{role}{path}"));
    shown(&paths.each_ref().map(String::as_str))
}

/// A series of the plugin.
fn own(table: &Table, name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut labels = labels.to_vec();
    labels.push(("plugin", "metrics-probe"));
    table.value(name, &labels)
}

#[test]
fn counters_add_up_by_name_and_labels() {
    let table = in_both_roles("/counters");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    assert_eq!(value("requests_total", &[]), 2.0 * 42.0);
    assert_eq!(value("untouched_total", &[]), 0.0);
    assert_eq!(value("saturated_total", &[]), u64::MAX as f64);
    let name = "requests_by_method";
    // The order in which labels come tells no series apart.
    let get = [("method", "GET"), ("status", "200")];
    assert_eq!(value(name, &get), 2.0 * 3.0);
    let post = [("method", "POST"), ("status", "200")];
    assert_eq!(value(name, &post), 2.0 * 4.0);
    // No labels and an empty list of labels are the same.
    assert_eq!(value(name, &[]), 2.0 * 24.0);
    assert_eq!(table.names_of(name), 3);
    assert_eq!(table.kind("requests_total"), "counter");
    assert_eq!(table.sum(DROPPED), 0.0);
}

#[test]
fn gauges_are_set_and_added_to() {
    let table = in_both_roles("/gauges");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    assert_eq!(value("active_connections", &[]), 42.0);
    // 1 + 1.5 - 1 from 0, in each role.
    assert_eq!(value("queue_size", &[]), 2.0 * 1.5);
    // Set anew in the second role.
    assert_eq!(value("mixed", &[]), -7.5);
    let bytes = |kind| value("memory_usage_bytes", &[("type", kind)]);
    assert_eq!((bytes("heap"), bytes("stack")), (536_870_912.0, 0.125));
    assert!(value("gauge_nan", &[]).is_nan());
    assert_eq!(value("gauge_inf", &[]), f64::INFINITY);
    assert_eq!(value("gauge_neg_inf", &[]), f64::NEG_INFINITY);
    assert_eq!(value("gauge_max", &[]), f64::MAX);
    assert_eq!(value("gauge_tiny", &[]), 5e-324);
    assert_eq!(table.kind("queue_size"), "gauge");
}

#[test]
fn histograms_count_into_fixed_buckets() {
    let table = in_both_roles("/histograms");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    assert_eq!(value("sizes_count", &[]), 2.0 * 5.0);
    let sum = value("sizes_sum", &[]);
    assert!((sum - 2.0 * 1002.07).abs() < 1e-9, "{sum}");
    // A bound counts what equals it: -1 alone, then 0.025, then 0.045, then 3, then 1000.
    let bounds = [
        ("0.01", 1.0),
        ("0.025", 2.0),
        ("0.05", 3.0),
        ("2.5", 3.0),
        ("10", 4.0),
        ("+Inf", 5.0),
    ];
    for (bound, count) in bounds {
        assert_eq!(
            value("sizes_bucket", &[("le", bound)]),
            2.0 * count,
            "{bound}"
        );
    }
    let name = "http_request_duration_seconds";
    let labels = [("method", "POST"), ("path", "/api/users")];
    assert_eq!(value(&format!("{name}_count"), &labels), 2.0);
    assert_eq!(value(&format!("{name}_sum"), &labels), 2.0 * 0.045);
    assert_eq!(value("odd_sizes_count", &[]), 2.0 * 3.0);
    assert!(value("odd_sizes_sum", &[]).is_nan());
    assert_eq!(table.kind("sizes"), "histogram");
}

#[test]
fn durations_feed_histograms_in_seconds() {
    let table = in_both_roles("/durations");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    let name = "request_processing_seconds";
    assert_eq!(value(&format!("{name}_count"), &[]), 2.0 * 2.0);
    let sum = value(&format!("{name}_sum"), &[]);
    assert!((sum - 2.0 * 1.525).abs() < 1e-9, "{sum}");
    for (bound, count) in [("0.01", 0.0), ("0.025", 1.0), ("1", 1.0), ("2.5", 2.0)] {
        let bucket = value(&format!("{name}_bucket"), &[("le", bound)]);
        assert_eq!(bucket, 2.0 * count, "{bound}");
    }
    let created = [("handler", "user_create")];
    assert_eq!(value(&format!("{name}_count"), &created), 2.0);
    assert_eq!(value(&format!("{name}_sum"), &created), 2.0 * 0.04);
    assert_eq!(value("no_time_seconds_sum", &[]), 0.0);
    assert_eq!(value("no_time_seconds_bucket", &[("le", "0.001")]), 2.0);
    let longest = value("longest_seconds_sum", &[]);
    assert_eq!(longest, 2.0 * (u64::MAX as f64 / 1e9));
    assert_eq!(table.kind(name), "histogram");
    assert!(table.has_none_of("request_processing"), "without its unit");
}

#[test]
fn names_and_labels_are_mapped_to_prometheus_rules() {
    let table = in_both_roles("/names");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    for name in [
        "db_pool_size",
        "_9lives",
        "_",
        "a:b",
        "gr_n",
        "two_words",
        "x___TYPE_y_counter",
    ] {
        assert_eq!(value(name, &[]), 2.0, "{name}");
    }
    let labels = [
        ("label_with_signs", "1"),
        ("_9", "2"),
        ("_", "3"),
        ("colon_ed", "4"),
    ];
    assert_eq!(value("odd_label_names", &labels), 2.0);
    let labels = [("value", "back\\slash \"quotes\"\nline\u{fffd}✓")];
    assert_eq!(value("odd_label_values", &labels), 2.0);
    // The plugin is a label that no plugin can set, and buckets are the host's.
    assert_eq!(value("forged_labels", &[]), 2.0);
    assert_eq!(value("forged_buckets_bucket", &[("le", "1")]), 2.0);
    assert_eq!(table.names_of("label_twice"), 1);
    // Two that are too long, in each role.
    assert_eq!(table.sum(DROPPED), 2.0 * 2.0);
}

#[test]
fn a_name_keeps_its_first_kind_and_what_does_not_fit_is_counted() {
    let table = in_both_roles("/kinds");
    let value = |name: &str, labels: &[(&str, &str)]| own(&table, name, labels);
    assert_eq!(value("first_a_counter", &[]), 2.0);
    assert_eq!(value("first_a_gauge", &[]), 1.0);
    assert_eq!(value("first_a_histogram_seconds_count", &[]), 2.0);
    assert_eq!(table.names_of("first_a_gauge"), 1);
    assert_eq!(table.sum(DROPPED), 2.0 * 4.0);
}

#[test]
fn a_full_table_drops_new_series_counts_them_and_goes_on_with_the_old() {
    let table = shown(&[
        "/series?count=256",
        "/series?count=300",
        "/http/series?count=10",
        "/counters",
    ]);
    assert_eq!(table.names_of("series_total"), SERIES);
    for (number, times) in [("0", 3.0), ("9", 3.0), ("10", 2.0), ("255", 2.0)] {
        let value = own(&table, "series_total", &[("number", number)]);
        assert_eq!(value, times, "{number}");
    }
    assert!(table.has_none_of("requests_total"));
    // The last 44 of the second path, and every call of the last one.
    assert_eq!(table.sum(DROPPED), 44.0 + 10.0);
}

#[test]
fn no_plugin_can_make_the_text_invalid_by_the_names_it_chooses() {
    // That it can be parsed is most of what is checked: no series and no TYPE line comes twice.
    let table = in_both_roles("/clash");
    assert_eq!(own(&table, "clash_count", &[]), 2.0);
    assert_eq!(own(&table, "clash_sum", &[]), 1.0);
    let forged = table.sum(DROPPED);
    assert!(forged < 1_000_000.0, "a plugin wrote the host's own series");
}
