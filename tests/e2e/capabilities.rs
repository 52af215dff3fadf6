//! What a plugin asks for, what it is granted, and calls beyond that.

use serde_json::Value;

use crate::support::{Daemon, TempDir, ask, eventually, get, zlayer};

/// What each call of `indiscreet` answers where its capability is denied.
const DENIED: [(&str, &str); 24] = [
    ("config.get", "None"),
    ("config.get-required", r#"Err("CAPABILITY_DENIED")"#),
    ("config.get-many", "[]"),
    ("config.get-prefix", "[]"),
    ("config.exists", "false"),
    ("config.get-bool", "None"),
    ("config.get-int", "None"),
    ("config.get-float", "None"),
    ("keyvalue.set", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.set-string", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.set-with-ttl", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.get", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.get-string", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.exists", "false"),
    ("keyvalue.list-keys", "Err(KvError::Storage(\"denied: "),
    ("keyvalue.increment", "Err(KvError::Storage(\"denied: "),
    (
        "keyvalue.compare-and-swap",
        "Err(KvError::Storage(\"denied: ",
    ),
    ("keyvalue.delete", "Err(KvError::Storage(\"denied: "),
    ("secrets.get", r#"Err("CAPABILITY_DENIED")"#),
    ("secrets.get-required", r#"Err("CAPABILITY_DENIED")"#),
    ("secrets.exists", "false"),
    ("secrets.list-names", "[]"),
    ("logging.is-enabled", "false"),
    ("http-client", "Err(ErrorCode::HttpRequestDenied)"),
];

/// And where it is granted, with the configuration and the secret of [`answers`].
const GRANTED: [(&str, &str); 24] = [
    ("config.get", r#"Some("1")"#),
    ("config.get-required", r#"Ok("1")"#),
    ("config.get-many", r#"[("key", "1")]"#),
    ("config.get-prefix", r#"[("key", "1")]"#),
    ("config.exists", "true"),
    ("config.get-bool", "Some(true)"),
    ("config.get-int", "Some(1)"),
    ("config.get-float", "Some(1.0)"),
    ("keyvalue.set", "Ok(())"),
    ("keyvalue.set-string", "Ok(())"),
    ("keyvalue.set-with-ttl", "Ok(())"),
    ("keyvalue.get", "Ok(Some([49]))"),
    ("keyvalue.get-string", r#"Ok(Some("1"))"#),
    ("keyvalue.exists", "true"),
    ("keyvalue.list-keys", r#"Ok(["key"])"#),
    ("keyvalue.increment", "Ok(2)"),
    ("keyvalue.compare-and-swap", "Ok(true)"),
    ("keyvalue.delete", "Ok(true)"),
    ("secrets.get", "Ok(None)"),
    ("secrets.get-required", r#"Err("SECRET_MISSING")"#),
    ("secrets.exists", "true"),
    ("secrets.list-names", r#"["name"]"#),
    ("logging.is-enabled", "true"),
    // Denied without --allow-host.
    ("http-client", "Err(ErrorCode::HttpRequestDenied)"),
];

/// Calls that each capability denies, those counted that answer nothing. `init` reads the
/// configuration, once an instance; `info` lists the secrets three times.
const CALLS: [(&str, u64); 6] = [
    ("config", 8 + 1),
    ("keyvalue", 10),
    ("logging", 8),
    ("secrets", 4 + 3),
    ("metrics", 9),
    ("http-client", 1),
];

/// What `/calls` answers, the log, the status and the metrics of a daemon with these flags.
fn answers(flags: &[&str]) -> (String, String, Value, String) {
    let folder = TempDir::new();
    let mut daemon = Daemon::builder("indiscreet")
        .data_dir(folder.path())
        .args(["--config", "key=1", "--secret", "name=a-planted-value"])
        .args(flags.iter().copied())
        .start();
    // Its first instance is made and at rest: no second one counts calls of its own.
    eventually("an instance at rest", || {
        let status: Value = serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
        status["plugins"][0]["instances"]["idle"] == 1
    });
    let answer = get(&daemon, "/calls");
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
    let metrics = ask(&folder, "/metrics").text();
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    (answer.text(), daemon.log(), status, metrics)
}

fn answer_to<'a>(answers: &'a str, call: &str) -> &'a str {
    let mut lines = answers.lines();
    let found = lines.find_map(|line| line.strip_prefix(call)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {call} in {answers}"))
}

#[test]
fn what_is_not_asked_for_may_be_used_unless_it_is_denied() {
    let (said, log, status, metrics) = answers(&[]);
    for (call, wanted) in GRANTED {
        assert_eq!(answer_to(&said, call), wanted, "{call}");
    }
    assert!(log.contains("a denied record"), "{log}");
    assert!(metrics.contains("denied_counter{"), "{metrics}");
    let plugin = &status["plugins"][0];
    assert_eq!(plugin["asked"], serde_json::json!([]));
    let granted = ["config", "keyvalue", "logging", "secrets", "metrics"];
    assert_eq!(plugin["granted"], serde_json::json!(granted));
    for (interface, _) in CALLS {
        let denied = u64::from(interface == "http-client");
        assert_eq!(plugin["denied_calls"][interface], denied, "{interface}");
    }
}

#[test]
fn denied_calls_answer_an_error_or_nothing_and_are_counted() {
    for (denied, calls) in CALLS {
        let (said, log, status, metrics) = answers(&["--deny", denied]);
        for ((call, without), (_, with)) in DENIED.into_iter().zip(GRANTED) {
            let answer = answer_to(&said, call);
            match call.split('.').next() == Some(denied) {
                true => assert!(answer.starts_with(without), "{call}: {answer}"),
                false => assert_eq!(answer, with, "{call} with {denied} denied"),
            }
        }
        assert_eq!(
            log.contains("a denied record"),
            denied != "logging",
            "{log}"
        );
        assert_eq!(metrics.contains("denied_counter{"), denied != "metrics");
        let plugin = &status["plugins"][0];
        let granted = plugin["granted"].as_array().unwrap();
        assert!(!granted.contains(&denied.into()), "{granted:?}");
        let counted = plugin["denied_calls"][denied].as_u64().unwrap();
        assert_eq!(counted, calls, "{denied}: {plugin}");
        let line = format!(
            "\nzlayer_denied_calls_total{{plugin=\"indiscreet\",interface=\"{denied}\"}} {counted}\n"
        );
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn a_plugin_that_asks_for_what_is_denied_has_failed() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("counter")
        .data_dir(folder.path())
        .args(["--deny", "keyvalue", "--deny", "metrics"])
        .start();
    assert_eq!(get(&daemon, "/get/key").status, 503);
    daemon.wait_for_log("init failed: capability-unavailable: it asks for keyvalue");
    let status: Value = serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
    let plugin = &status["plugins"][0];
    assert_eq!(plugin["state"], "failed", "{plugin}");
    assert_eq!(plugin["init_error"], "capability-unavailable", "{plugin}");
    assert_eq!(
        plugin["granted"],
        serde_json::json!(["config", "logging", "secrets"])
    );
    let health = ask(&folder, "/healthz");
    assert_eq!(health.status, 503);
    assert!(
        health.text().contains("capability-unavailable"),
        "{health:?}"
    );

    // Outgoing HTTP is denied without a flag.
    let folder = TempDir::new();
    let _daemon = Daemon::builder("hostile-plugin")
        .data_dir(folder.path())
        .args(["--config", "init=want-http-client"])
        .start();
    eventually("its init", || {
        ask(&folder, "/healthz")
            .text()
            .contains("it asks for http-client,")
    });
}

#[test]
fn a_capability_that_there_is_none_of_is_refused() {
    let answer = zlayer(["run", "--wasm", "x.cwasm", "--deny", "time-travel"]);
    assert_ne!(answer.code, 0);
    let said = answer.stderr + &answer.stdout;
    assert!(
        said.contains("time-travel") && said.contains("http-client"),
        "{said}"
    );
}
