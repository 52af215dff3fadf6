//! The host's interfaces: configuration, key-value store, logs, secrets, metrics, and what WASI
//! shows of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::support::{Builder, Client, Daemon, TempDir, eventually, get, request, under_qemu};

/// The secrets that `host-probe` wants; nothing else in the suite contains them.
const SECRETS: [&str; 2] = ["s3cr3t-value", "o7her-value"];

/// `host-probe` with all that it wants to be given.
fn probe() -> Builder {
    let mut builder = Daemon::builder("host-probe");
    for pair in [
        "name=probe",
        "db.host=localhost",
        "db.port=5432",
        "flag.yes=YES",
        "flag.zero=0",
        "flag.bad=maybe",
        "num=42",
        "float=2.5",
        "empty=",
    ] {
        builder = builder.args(["--config", pair]);
    }
    for (name, value) in ["api_key", "other"].iter().zip(SECRETS) {
        builder = builder.arg("--secret").arg(format!("{name}={value}"));
    }
    builder
}

fn put(daemon: &Daemon, path: &str, body: &str) -> String {
    let answer = request(daemon, "PUT", path, &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn text(daemon: &Daemon, path: &str) -> String {
    let answer = get(daemon, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn is_absent(daemon: &Daemon, key: &str) -> bool {
    let answer = get(daemon, &format!("/get/{key}"));
    assert!([200, 404].contains(&answer.status), "{answer:?}");
    answer.status == 404
}

#[test]
fn every_interface_keeps_the_contract_as_seen_from_inside() {
    let daemon = probe().start();
    for interface in ["config", "keyvalue", "logging", "secrets", "metrics"] {
        let answer = get(&daemon, &format!("/{interface}"));
        let said = answer.text();
        assert_eq!(answer.status, 200, "{interface}: {said}");
        assert!(
            said.starts_with("ok ") && said.ends_with(" checks"),
            "{interface}: {said}"
        );
    }
}

#[test]
fn a_plugin_sees_nothing_of_the_machine() {
    let daemon = probe().env("PLANTED_VARIABLE", "planted").start();
    assert_eq!(text(&daemon, "/env"), "");
    assert_eq!(text(&daemon, "/fs"), "none");
    assert_eq!(text(&daemon, "/random").len(), 64);
    let clocks: serde_json::Value = serde_json::from_str(&text(&daemon, "/clock")).unwrap();
    assert!(
        clocks["wall_s"].as_u64().unwrap() > 1_700_000_000,
        "{clocks}"
    );
    // How long the machine has been up is nobody's business.
    assert!(
        clocks["monotonic_ns"].as_u64().unwrap() < 3_600_000_000_000,
        "{clocks}"
    );
    assert!(text(&daemon, "/sleep?ms=30").starts_with("slept "));
}

#[test]
fn what_was_stored_survives_a_restart() {
    let folder = TempDir::new();
    let start = || {
        Daemon::builder("counter")
            .data_dir(folder.path().join("data"))
            .start()
    };
    let daemon = start();
    put(&daemon, "/set/kept", "a value");
    put(&daemon, "/set/gone", "x");
    put(&daemon, "/set-ttl/short?ms=1", "x");
    put(&daemon, "/set-ttl/long?ms=3600000", "still here");
    assert_eq!(text(&daemon, "/incr/count?by=40"), "40");
    assert_eq!(text(&daemon, "/del/gone"), "true");
    assert_eq!(daemon.stop(), 0);

    let daemon = start();
    assert_eq!(text(&daemon, "/get/kept"), "a value");
    assert_eq!(text(&daemon, "/get/long"), "still here");
    assert_eq!(text(&daemon, "/incr/count?by=2"), "42");
    assert!(is_absent(&daemon, "gone") && is_absent(&daemon, "short"));
    assert_eq!(text(&daemon, "/list/"), "count\nkept\nlong\n");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_was_stored_a_second_ago_survives_a_kill() {
    let folder = TempDir::new();
    let start = || Daemon::builder("counter").data_dir(folder.path()).start();
    let mut daemon = start();
    for number in 1..=20 {
        assert_eq!(text(&daemon, "/incr/count"), number.to_string());
    }
    put(&daemon, "/set/note", "before");
    thread::sleep(Duration::from_millis(1200));
    daemon.signal(9);
    assert_eq!(daemon.wait(), 128 + 9);

    // And again, in the middle of writing.
    let mut daemon = start();
    assert_eq!(text(&daemon, "/get/note"), "before");
    assert_eq!(text(&daemon, "/incr/count"), "21");
    thread::sleep(Duration::from_millis(1200));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::connect(&daemon);
            let ask = b"GET /incr/busy HTTP/1.1\r\nhost: a\r\n\r\n";
            let mut last = 0;
            while client.try_send(ask).is_ok() {
                match client.try_read_response() {
                    Ok(answer) => last = answer.text().parse().unwrap(),
                    Err(_) => break,
                }
            }
            last
        });
        eventually("writes", || text(&daemon, "/exists/busy") == "true");
        daemon.signal(9);
        let last: u64 = writer.join().unwrap();
        assert!(last > 0);
    });
    assert_eq!(daemon.wait(), 128 + 9);

    let daemon = start();
    assert_eq!(text(&daemon, "/incr/count"), "22");
    // What was answered last may be lost with the second, but it is a number as ever.
    let busy: u64 = text(&daemon, "/incr/busy").parse().unwrap();
    assert!(busy >= 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_value_with_a_time_to_live_goes_by_itself() {
    let daemon = Daemon::start("counter");
    put(&daemon, "/set-ttl/brief?ms=200", "x");
    put(&daemon, "/set-ttl/never-there?ms=0", "x");
    put(&daemon, "/set-ttl/long?ms=3600000", "x");
    assert!(is_absent(&daemon, "never-there"));
    eventually("the end of a value", || is_absent(&daemon, "brief"));
    assert_eq!(text(&daemon, "/exists/brief"), "false");
    assert_eq!(text(&daemon, "/del/brief"), "false");
    assert_eq!(text(&daemon, "/list/"), "long\n");
    // A counter keeps its time to live, a set ends it.
    put(&daemon, "/set-ttl/count?ms=300", "5");
    text(&daemon, "/incr/count");
    eventually("the end of a counter", || is_absent(&daemon, "count"));
    put(&daemon, "/set-ttl/stays?ms=1000", "x");
    put(&daemon, "/set/stays", "y");
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(text(&daemon, "/get/stays"), "y");
}

#[test]
fn increments_from_many_connections_are_all_counted() {
    const CLIENTS: u64 = 16;
    let each: u64 = if under_qemu() { 10 } else { 50 };
    let daemon = Daemon::start("counter");
    let answers: Vec<u64> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(&daemon);
                    let mut ask = || {
                        client.send("GET /incr/shared HTTP/1.1\r\nhost: a\r\n\r\n");
                        client.read_response().text().parse::<u64>().unwrap()
                    };
                    (0..each).map(|_| ask()).collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let distinct: BTreeSet<u64> = answers.iter().copied().collect();
    assert_eq!(
        distinct,
        (1..=CLIENTS * each).collect(),
        "one answered twice or never"
    );
}

#[test]
fn of_many_that_compare_and_swap_one_wins() {
    let daemon = Daemon::start("counter");
    for round in 0..3 {
        let path = format!("/cas/lock-{round}");
        let won = thread::scope(|scope| {
            let clients: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| put(&daemon, &path, "a client") == "true"))
                .collect();
            let won = clients.into_iter().map(|client| client.join().unwrap());
            won.filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
    assert_eq!(put(&daemon, "/cas/lock-0?expect=nobody", "x"), "false");
    assert_eq!(text(&daemon, "/get/lock-0"), "a client");
    put(&daemon, "/set/lock-0", "mine");
    assert_eq!(put(&daemon, "/cas/lock-0?expect=mine", "yours"), "true");
    assert_eq!(text(&daemon, "/get/lock-0"), "yours");
}

#[test]
fn a_bad_key_or_value_is_an_error_and_changes_nothing() {
    let daemon = Daemon::start("counter");
    for key in ["", "a%20b", "a~b", &"k".repeat(1025)] {
        let answer = get(&daemon, &format!("/get/{key}"));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (409, "invalid-key"),
            "{key}"
        );
    }
    put(&daemon, &format!("/set/{}", "k".repeat(1024)), "longest");
    put(&daemon, "/set/word", "not a number");
    let answer = get(&daemon, "/incr/word");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (409, "storage: not a number")
    );
    assert_eq!(text(&daemon, "/get/word"), "not a number");
}

#[test]
fn no_secret_is_ever_shown() {
    let folder = TempDir::new();
    let mut daemon = probe()
        .data_dir(folder.path())
        .args(["--config", "LOG_LEVEL=trace"])
        .env("ZLAYER_LOG", "trace")
        .start();
    let mut said = String::new();
    for path in [
        "/config",
        "/keyvalue",
        "/logging",
        "/secrets",
        "/metrics",
        "/env",
        "/fs",
        "/clock",
        "/sleep?ms=1",
        "/sleep",
        "/random",
        "/nowhere",
    ] {
        said.push_str(&format!("{:?}\n", get(&daemon, path)));
    }
    daemon.signal(10);
    daemon.wait_for_log("zlayer_metrics_dropped_total ");
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    said.push_str(&daemon.log());
    said.push_str(&daemon.stdout());
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret} in {said}");
        // The guest has the values in its own code, of which the folder keeps a copy.
        let holders = files_with(&folder.path().join("kv"), secret.as_bytes());
        assert!(holders.is_empty(), "{secret} in {holders:?}");
    }
}

/// The files below `folder` that hold `needle`.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    files_below(folder).into_iter().filter(holds).collect()
}

/// All files below `folder`.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_plugins_log_level_comes_from_its_configuration() {
    const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
    let settings = [
        (None, "info"),
        (Some("LOG_LEVEL=trace"), "trace"),
        (Some("LOG_LEVEL=Debug"), "debug"),
        (Some("RUST_LOG=warn"), "warn"),
        (Some("LOG_LEVEL=error"), "error"),
    ];
    for (setting, least) in settings {
        let builder = match setting {
            Some(pair) => probe().args(["--config", pair]),
            None => probe(),
        };
        let daemon = builder.start();
        assert!(text(&daemon, "/logging").starts_with("ok "));
        // The last of the levels is written by all settings.
        daemon.wait_for_log("plugin host-probe: [");
        daemon.wait_for_log("probe: log error\n");
        let log = daemon.log();
        let first = LEVELS.iter().position(|level| *level == least).unwrap();
        for (index, level) in LEVELS.iter().enumerate() {
            for words in [
                format!("] probe: {level}\n"),
                format!("] probe: log {level}\n"),
            ] {
                assert_eq!(
                    log.contains(&words),
                    index >= first,
                    "{setting:?}: {words}{log}"
                );
            }
        }
    }
}

#[test]
fn a_log_record_cannot_forge_another_nor_steer_a_terminal() {
    let daemon = probe().start();
    assert!(text(&daemon, "/logging").starts_with("ok "));
    daemon.wait_for_log("forged line");
    daemon.wait_for_log("probe: long ");
    for line in daemon.log().lines() {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.len() < 10_000, "{} bytes", line.len());
        let level = line.get(30..35).unwrap_or_default().trim();
        assert!(
            ["ERROR", "WARN", "INFO"].contains(&level),
            "not a record: {line:?}"
        );
    }
}

#[test]
fn a_plugins_metrics_are_printed_as_prometheus_text() {
    let mut daemon = probe().start();
    assert!(text(&daemon, "/metrics").starts_with("ok "));
    daemon.signal(10);
    daemon.wait_for_log("zlayer_metrics_dropped_total ");
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let log = daemon.log();
    let start = log.find("# TYPE ").unwrap();
    let end = log.find("\nzlayer_metrics_dropped_total ").unwrap() + 1;
    let end = end + log[end..].find('\n').unwrap() + 1;
    let series = parse_prometheus(&log[start..end]);

    let value = |name: &str, labels: &[(&str, &str)]| {
        let mut wanted: Labels = labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        wanted.insert("plugin".to_owned(), "host-probe".to_owned());
        *series
            .get(&(name.to_owned(), wanted.clone()))
            .unwrap_or_else(|| panic!("no {name}{wanted:?} in {series:?}"))
    };
    let labels = [("method", "GET"), ("path", "/a\"b\\c\nd")];
    assert_eq!(value("probe_total", &[]), 3.0);
    assert_eq!(value("probe_labelled_total", &labels), 1.0);
    assert_eq!(value("probe_gauge", &[]), 40.5);
    assert_eq!(value("probe_labelled_gauge", &labels), -0.5);
    assert_eq!(value("probe_size_count", &[]), 1.0);
    assert_eq!(value("probe_size_sum", &[]), 0.025);
    assert_eq!(value("probe_size_bucket", &[("le", "0.025")]), 1.0);
    assert_eq!(value("probe_size_bucket", &[("le", "0.01")]), 0.0);
    // 25 ms and then the longest duration there is.
    assert_eq!(value("probe_time_seconds_count", &[]), 2.0);
    assert_eq!(value("probe_time_seconds_bucket", &[("le", "0.025")]), 1.0);
    assert_eq!(
        value("probe_with_odd_name", &[]),
        u64::MAX as f64,
        "saturates"
    );
    assert_eq!(value("_9lives", &[]), 1.0);
    assert_eq!(value("probe_odd_labels", &[("a", "1"), ("_", "")]), 1.0);
    assert!(value("probe_odd_size_sum", &[]).is_nan());
    // A thousand series do not fit; the rest was dropped and counted.
    let kept = series
        .keys()
        .filter(|(name, _)| name == "probe_series")
        .count();
    assert!((100..256).contains(&kept), "{kept}");
    let dropped = series[&("zlayer_metrics_dropped_total".to_owned(), Labels::new())];
    // Besides the series: two of another kind.
    assert_eq!(dropped, (1000 - kept + 2) as f64);
}

type Labels = BTreeMap<String, String>;

/// Reads Prometheus' text format, version 0.0.4, as strictly as its description has it: every name has
/// one TYPE line before its samples, which stand together; buckets are cumulative and end with +Inf.
fn parse_prometheus(text: &str) -> BTreeMap<(String, Labels), f64> {
    assert!(text.ends_with('\n'));
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut current = ("", "");
    let mut series = BTreeMap::new();
    let mut bucket: Option<(f64, f64)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(is_name(name), "{line:?}");
            assert!(
                ["counter", "gauge", "histogram"].contains(&kind),
                "{line:?}"
            );
            assert!(kinds.insert(name, kind).is_none(), "twice: {line:?}");
            current = (name, kind);
            continue;
        }
        let (name, labels, value) = parse_sample(line);
        let suffix = name.strip_prefix(current.0);
        let suffix = suffix.unwrap_or_else(|| panic!("not below its TYPE: {line:?}"));
        match current.1 {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line:?}"),
            _ => assert_eq!(suffix, "", "{line:?}"),
        }
        if current.1 == "counter" || suffix == "_count" || suffix == "_bucket" {
            assert!(value >= 0.0 && value.fract() == 0.0, "{line:?}");
        }
        match (suffix, bucket) {
            ("_bucket", last) => {
                let le = parse_number(&labels["le"]);
                if let Some((last_le, last_count)) = last.filter(|(le, _)| *le != f64::INFINITY) {
                    assert!(le > last_le && value >= last_count, "{line:?}");
                }
                bucket = Some((le, value));
            }
            ("_sum", Some((le, _))) => assert_eq!(le, f64::INFINITY, "{line:?}"),
            ("_count", Some((_, count))) => {
                assert_eq!(value, count, "{line:?}");
                bucket = None;
            }
            _ => assert!(bucket.is_none(), "{line:?}"),
        }
        let key = (name.to_owned(), labels);
        assert!(series.insert(key, value).is_none(), "twice: {line:?}");
    }
    series
}

/// `NAME{LABEL="VALUE",..} NUMBER` or `NAME NUMBER`.
fn parse_sample(line: &str) -> (&str, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line:?}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label) && !label.contains(':'), "{line:?}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().unwrap_or_else(|| panic!("{line:?}")) {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, c @ ('\\' | '"'))) => c,
                        other => panic!("escape {other:?} in {line:?}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(
                labels.insert(label.to_owned(), value).is_none(),
                "twice {label}: {line:?}"
            );
            rest = &after[end + 1..];
            match rest.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => panic!("{line:?}"),
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    (name, labels, parse_number(number))
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || "_:".contains(c);
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn parse_number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        _ => {
            assert!(
                text.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
                "{text:?}"
            );
            text.parse().unwrap_or_else(|_| panic!("{text:?}"))
        }
    }
}
