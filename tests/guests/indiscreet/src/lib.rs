//! A typed handler that asks for no capability, calls everything, and tells its secrets.
//!
//! - `/calls`: calls every function of the host that may be denied and answers what came of it, a line each
//! - `/odd-metrics`: counts and measures under names and labels that a page of metrics could choke on
//! - `/tell/WAY`: tells every secret by one way: `log`, `fields`, `stdout`, `metric`, `error`, `panic`,
//!   `header`; `long` writes them into a line that is too long for one record
//!
//! With the configuration `init=tell`, `init` fails and says the secrets; `info` always says them.

wit_bindgen::generate!({ world: "zlayer-plugin", path: "../../../wit", generate_all });

use std::fmt::Write as _;

use exports::zlayer::plugin::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use wasi::cli::{stderr, stdout};
use wasi::http::outgoing_handler;
use wasi::http::types::{Fields, OutgoingRequest, Scheme};
use wasi::io::streams::OutputStream;
use zlayer::plugin::common::KeyValue;
use zlayer::plugin::logging::{self, Level};
use zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};
use zlayer::plugin::{config, keyvalue, metrics, secrets};

struct Indiscreet;

impl Guest for Indiscreet {
    fn init() -> Result<Capabilities, InitError> {
        match config::get("init").as_deref() {
            Some("tell") => Err(InitError::Failed(format!("with {}", all()))),
            _ => Ok(Capabilities::empty()),
        }
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: format!("zlayer-tests:{}", all()),
            name: all(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: Some(all()),
            },
            description: "Tells its secrets".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        if request.path == "/calls" {
            return respond(&[], calls());
        }
        if request.path == "/odd-metrics" {
            odd_metrics();
            return respond(&[], String::new());
        }
        let told = all();
        match request.path.strip_prefix("/tell/") {
            Some("log") => {
                logging::info(&format!("told {told}"));
                logging::error(&format!("{}{told}", "x".repeat(4090)));
            }
            Some("fields") => {
                let fields = [field("told", &told), field(&told, "value")];
                logging::log_structured(Level::Warn, "told", &fields);
            }
            Some("stdout") => {
                write(&stdout::get_stdout(), &format!("told {told}\n"));
                write(&stderr::get_stderr(), &format!("told {told:?}\n"));
            }
            Some("long") => {
                let out = stdout::get_stdout();
                for padding in 0..200 {
                    write(&out, &format!("{} {told}", "y".repeat(padding)));
                }
                write(&out, "\n");
            }
            Some("metric") => {
                metrics::counter_inc(&format!("told_{told}"), 1);
                metrics::counter_inc_labeled("told_total", 1, &[field("told", &told)]);
                metrics::gauge_set_labeled("told", 1.0, &[field(&told, "value")]);
            }
            Some("error") => return HandleResult::Error(format!("failed with {told}")),
            Some("panic") => {
                // What a panic of the standard library does.
                write(&stderr::get_stderr(), &format!("panicked at {told}\n"));
                core::arch::wasm32::unreachable()
            }
            Some("header") => return respond(&[field(&format!("bad {told}"), "x")], String::new()),
            _ => return HandleResult::PassThrough,
        }
        respond(&[], "told\n".to_owned())
    }

    fn shutdown() {
        logging::info(&format!("told at last {}", all()));
    }
}

/// Every secret's value.
fn all() -> String {
    let names = secrets::list_names();
    let values = names
        .iter()
        .filter_map(|name| secrets::get(name).ok().flatten());
    values.collect::<Vec<_>>().join(" ")
}

/// A line for each call: its name and what it answered.
fn calls() -> String {
    let mut out = String::new();
    let mut tell = |call: &str, answer: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{call} {answer}");
    };
    let keys = ["key".to_owned()];
    tell("config.get", format!("{:?}", config::get("key")));
    let required = config::get_required("key");
    tell(
        "config.get-required",
        format!("{:?}", required.map_err(|error| error.code)),
    );
    tell("config.get-many", format!("{:?}", config::get_many(&keys)));
    tell("config.get-prefix", format!("{:?}", config::get_prefix("")));
    tell("config.exists", format!("{:?}", config::exists("key")));
    tell("config.get-bool", format!("{:?}", config::get_bool("key")));
    tell("config.get-int", format!("{:?}", config::get_int("key")));
    tell(
        "config.get-float",
        format!("{:?}", config::get_float("key")),
    );

    tell("keyvalue.set", format!("{:?}", keyvalue::set("key", b"1")));
    tell(
        "keyvalue.set-string",
        format!("{:?}", keyvalue::set_string("key", "1")),
    );
    tell(
        "keyvalue.set-with-ttl",
        format!("{:?}", keyvalue::set_with_ttl("key", b"1", u64::MAX)),
    );
    tell("keyvalue.get", format!("{:?}", keyvalue::get("key")));
    tell(
        "keyvalue.get-string",
        format!("{:?}", keyvalue::get_string("key")),
    );
    tell("keyvalue.exists", format!("{:?}", keyvalue::exists("key")));
    tell(
        "keyvalue.list-keys",
        format!("{:?}", keyvalue::list_keys("")),
    );
    tell(
        "keyvalue.increment",
        format!("{:?}", keyvalue::increment("key", 1)),
    );
    let swapped = keyvalue::compare_and_swap("key", Some(b"2"), b"3");
    tell("keyvalue.compare-and-swap", format!("{swapped:?}"));
    tell("keyvalue.delete", format!("{:?}", keyvalue::delete("key")));

    let code = |error: zlayer::plugin::common::Error| error.code;
    tell(
        "secrets.get",
        format!("{:?}", secrets::get("absent").map_err(code)),
    );
    tell(
        "secrets.get-required",
        format!("{:?}", secrets::get_required("absent").map_err(code)),
    );
    tell("secrets.exists", format!("{:?}", secrets::exists("name")));
    tell("secrets.list-names", format!("{:?}", secrets::list_names()));

    tell(
        "logging.is-enabled",
        format!("{:?}", logging::is_enabled(Level::Error)),
    );
    logging::log(Level::Error, "a denied record");
    logging::log_structured(Level::Error, "a denied record", &[]);
    for log in [
        logging::trace,
        logging::debug,
        logging::info,
        logging::warn,
        logging::error,
    ] {
        log("a denied record");
    }

    let labels = [field("label", "value")];
    metrics::counter_inc("denied_counter", 1);
    metrics::counter_inc_labeled("denied_counter", 1, &labels);
    metrics::gauge_set("denied_gauge", 1.0);
    metrics::gauge_set_labeled("denied_gauge", 1.0, &labels);
    metrics::gauge_add("denied_gauge", 1.0);
    metrics::histogram_observe("denied_size", 1.0);
    metrics::histogram_observe_labeled("denied_size", 1.0, &labels);
    metrics::record_duration("denied_time", 1);
    metrics::record_duration_labeled("denied_time", 1, &labels);

    let request = OutgoingRequest::new(Fields::new());
    // 192.0.2.1 is nobody's (RFC 5737).
    let _ = request.set_authority(Some("192.0.2.1"));
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_path_with_query(Some("/"));
    let sent = outgoing_handler::handle(request, None);
    let answer = sent.and_then(|answer| {
        answer.subscribe().block();
        match answer.get() {
            Some(Ok(Ok(response))) => Ok(response.status()),
            Some(Ok(Err(code))) => Err(code),
            _ => Ok(0),
        }
    });
    tell("http-client", format!("{answer:?}"));
    out
}

/// What each of these must come to is in the test that asks for them.
fn odd_metrics() {
    let labels = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| field(key, value))
            .collect::<Vec<_>>()
    };
    metrics::counter_inc("plain", 2);
    metrics::counter_inc("odd.name-é", u64::MAX);
    metrics::counter_inc("odd.name-é", u64::MAX);
    metrics::counter_inc("", 1);
    metrics::counter_inc("7up", 1);
    metrics::counter_inc("zlayer_requests_total", 7);
    metrics::counter_inc("zlayer_metrics_dropped_total", 7);
    for (name, value) in [
        ("nan", f64::NAN),
        ("infinite", f64::INFINITY),
        ("negative_infinite", f64::NEG_INFINITY),
        ("large", 1e300),
        ("small", -2.5e-300),
        ("zero", -0.0),
    ] {
        metrics::gauge_set(name, value);
        metrics::histogram_observe("values", value);
    }
    let value = "a \"quoted\" \\ back\\nslash\nline, {braces}=\u{1}é\u{2028}";
    metrics::counter_inc_labeled("labelled", 1, &labels(&[("value", value)]));
    metrics::counter_inc_labeled(
        "labelled",
        1,
        &labels(&[
            ("plugin", "forged"),
            ("le", "1"),
            ("__name__", "forged"),
            ("a.b", "1"),
            ("a-b", "2"),
        ]),
    );
    metrics::record_duration_labeled("took", 2_500_000, &labels(&[("way", "in")]));
    metrics::record_duration_labeled("took", u64::MAX, &labels(&[("way", "out")]));
    // Seven of these are dropped: a sample of a histogram, a histogram over one, other kinds, too long.
    metrics::counter_inc("values_count", 1);
    metrics::gauge_set("values_bucket", 1.0);
    metrics::gauge_set("later_sum", 1.0);
    metrics::histogram_observe("later", 1.0);
    metrics::gauge_set("plain", 1.0);
    metrics::counter_inc("values", 1);
    metrics::counter_inc(&"n".repeat(1000), 1);
    metrics::counter_inc_labeled("long", 1, &labels(&[("value", &"v".repeat(1000))]));
}

fn write(stream: &OutputStream, text: &str) {
    // Nobody is left to be told that it failed.
    let _ = stream.blocking_write_and_flush(text.as_bytes());
}

fn field(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn respond(headers: &[KeyValue], body: String) -> HandleResult {
    HandleResult::Response(PluginResponse {
        status: 200,
        headers: headers.to_vec(),
        body: body.into_bytes(),
    })
}

export!(Indiscreet);
