use std::path::{Path, PathBuf};

use super::{ROLES, files_below, holds};
use crate::support::{Builder, Daemon, TempDir, get};

/// The secrets that `secrets-probe` wants. Nothing else in the suite contains the values.
const SECRETS: [(&str, &str); 5] = [
    ("stripe_key", "sk_t3st_grün"),
    ("api_key", "s3cr3t-value"),
    ("zebra", "two w0rds and a \"quote\""),
    ("empty", ""),
    ("database_password", "p4ss=w0rd=with=signs"),
];

/// Every form in which a value would be recognised.
fn forms() -> Vec<String> {
    let filled = SECRETS.iter().map(|(_, value)| *value);
    let filled = filled.filter(|value| !value.is_empty());
    // As it is, and as it stands between quotes.
    filled
        .flat_map(|value| [value.to_owned(), value.replace('"', "\\\"")])
        .collect()
}

/// `secrets-probe` with all that it wants to be given, in a daemon that says all it can.
fn probe(folder: &TempDir) -> Builder {
    let mut builder = Daemon::builder("secrets-probe")
        .data_dir(folder.path())
        .args(["--config", "name=probe", "--config", "LOG_LEVEL=trace"])
        .env("ZLAYER_LOG", "trace");
    for (name, value) in SECRETS {
        builder = builder.arg("--secret").arg(format!("{name}={value}"));
    }
    builder
}

/// Asks for `paths`, then looks for the values in all that the daemon said and stored.
fn assert_untold(paths: &[&str]) {
    let folder = TempDir::new();
    let mut daemon = probe(&folder).start();
    let mut said = String::new();
    for role in ROLES {
        for path in paths {
            // A handler's error is no `wasi:http` answer: there it would be the plugin's own.
            if *path != "/tell-error" || role.is_empty() {
                let answer = get(&daemon, &format!("{role}{path}"));
                said.push_str(&format!("{answer:?}\n{}\n", answer.text()));
            }
        }
    }
    daemon.signal(10);
    daemon.wait_for_log("zlayer_metrics_dropped_total");
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    said.push_str(&daemon.log());
    said.push_str(&daemon.stdout());
    assert!(said.contains("secrets-probe"), "it said nothing: {said}");
    for form in forms() {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(&form)).collect();
        assert!(lines.is_empty(), "{form} in\n{}", lines.join("\n"));
        let holders = files_with(folder.path(), form.as_bytes());
        assert!(holders.is_empty(), "{form} in {holders:?}");
    }
}

#[test]
fn every_sentence_holds_in_both_roles() {
    let folder = TempDir::new();
    let daemon = probe(&folder).start();
    for role in ROLES {
        holds(&daemon, &format!("{role}/"), 40);
    }
}

#[test]
fn a_service_without_secrets_has_none() {
    let daemon = Daemon::builder("secrets-probe")
        .args(["--config", "name=probe"])
        .start();
    let said = get(&daemon, "/").text();
    let names = said.lines().find(|line| line.contains("list-names"));
    let names = names.unwrap_or_default();
    assert!(names.contains("found [], expected ["), "{said}");
}

#[test]
fn no_secret_is_shown_by_a_plugin_that_uses_them() {
    assert_untold(&["/", "/nowhere"]);
}

#[test]
fn a_secret_is_struck_out_of_whatever_a_plugin_writes() {
    assert_untold(&["/tell", "/tell-error"]);
}

/// The files below `folder` that hold `needle`.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    files_below(folder).into_iter().filter(holds).collect()
}
