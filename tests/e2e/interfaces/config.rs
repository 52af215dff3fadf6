use super::{ROLES, holds};
use crate::support::{Builder, Daemon, figures_are_the_daemons, get, target};

/// What `config-probe` wants to be given as it stands.
const PAIRS: [&str; 8] = [
    "name=probe",
    "empty=",
    "database.port=5432",
    "database.host=localhost",
    "database.Port=upper",
    "databases=other",
    "url=http://h/?a=b&c=d",
    "schlüssel=grün",
];

/// What it wants to be given as `PREFIX:WORD=WORD`.
const WORDS: [(&str, &[&str]); 3] = [
    (
        "truth",
        &[
            "true", "TRUE", "True", "tRuE", "1", "yes", "YES", "Yes", "false", "FALSE", "False",
            "fAlSe", "0", "no", "NO", "No", "", "maybe", "on", "off", "y", "n", "t", "f", "2",
            "-1", " true", "truely",
        ],
    ),
    (
        "int",
        &[
            "42",
            "-7",
            "0",
            "9223372036854775807",
            "-9223372036854775808",
            "",
            "-",
            "word",
            "2.5",
            "1e3",
            "0x10",
            "1_000",
            "1,000",
            " 42",
            "42 ",
            "9223372036854775808",
            "-9223372036854775809",
        ],
    ),
    (
        "float",
        &[
            "2.5",
            "42",
            "-0.25",
            "1e3",
            "0",
            "1.7976931348623157e308",
            "",
            "-",
            "word",
            "1,5",
            "0x1p3",
            "1_0",
            " 2.5",
            "2.5.1",
        ],
    ),
];

/// `config-probe` with all that it wants to be given.
fn probe() -> Builder {
    let mut builder = Daemon::builder("config-probe")
        .arg("--config")
        .arg(format!("long={}", "x".repeat(10_000)));
    for pair in PAIRS {
        builder = builder.args(["--config", pair]);
    }
    for (prefix, words) in WORDS {
        for word in words {
            builder = builder
                .arg("--config")
                .arg(format!("{prefix}:{word}={word}"));
        }
    }
    builder
}

#[test]
fn every_sentence_holds_in_both_roles() {
    let daemon = probe().start();
    for role in ROLES {
        holds(&daemon, &format!("{role}/"), 120);
    }
}

#[test]
fn of_a_key_that_is_given_twice_the_last_value_counts() {
    let daemon = probe()
        .args(["--config", "name=first"])
        .args(["--config", "name=probe"])
        .start();
    holds(&daemon, "/", 120);
}

#[test]
fn a_plugin_that_asks_for_more_than_memory_holds_costs_nobody_anything() {
    let daemon = probe().start();
    for role in ROLES {
        assert_eq!(get(&daemon, &format!("{role}/greedy?keys=20")).text(), "20");
        // 200 MB, of 10 KB.
        let greedy = get(&daemon, &format!("{role}/greedy?keys=20000"));
        assert_eq!(greedy.status, 500, "{}", greedy.text());
        if figures_are_the_daemons() {
            let peak = daemon.status_kib("VmHWM");
            assert!(peak < 200 << 10, "{peak} KiB");
        }
        holds(&daemon, &format!("{role}/"), 120);
    }
}

#[test]
fn a_call_that_hands_over_too_much_is_told_with_its_limit_and_what_raises_it() {
    // Two of its words are shorter there.
    let each = match target() {
        "armv7" => 32,
        _ => 40,
    };
    let keys = (4 << 20) / each + 200;
    let told = format!(
        "it handed more than 4096 KiB to a host function in one call, counted with {each} bytes for each text in a \
         list; let the plugin do it in several calls, or raise --max-body"
    );
    for role in ROLES {
        let daemon = probe().start();
        let refused = get(&daemon, &format!("{role}/greedy?keys={keys}"));
        assert_eq!(refused.status, 500, "{}", refused.text());
        daemon.wait_for_log(&told);
        // What is raised lets the keys through, and it is the values that are too much for the plugin.
        let daemon = probe().args(["--max-body", "5Mi"]).start();
        let refused = get(&daemon, &format!("{role}/greedy?keys={keys}"));
        assert_eq!(refused.status, 500, "{}", refused.text());
        daemon.wait_for_log("failed: out of memory: ");
    }
}
