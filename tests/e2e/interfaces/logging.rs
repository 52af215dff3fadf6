use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::{ROLES, holds, text, whole_log};
use crate::support::{Builder, Daemon, PATIENCE};

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
/// Bytes of a record's message; what is longer is cut.
const RECORD_BYTES: usize = 4096;
/// Records that a plugin may write at once before its rate counts.
const BURST: usize = 1000;

fn probe() -> Builder {
    Daemon::builder("logging-probe")
}

/// One record of the plugin's own, as a line of text shows it.
struct Record<'a> {
    level: String,
    /// Whose request it belongs to; none for those about the plugin itself.
    id: Option<&'a str>,
    text: &'a str,
}

/// The plugin's records: `TIME LEVEL plugin NAME: [ID] MESSAGE FIELDS`, a line each.
fn records(log: &str) -> Vec<Record<'_>> {
    let of_plugin = |line| -> Option<Record<'_>> {
        let line: &str = line;
        let (head, rest) = line.split_once(" plugin logging-probe: ")?;
        let level = head.get(30..)?.trim().to_lowercase();
        let (id, text) = match rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((id, text)) => (Some(id), text),
            None => (None, rest),
        };
        Some(Record { level, id, text })
    };
    log.lines().filter_map(of_plugin).collect()
}

#[test]
fn the_plugins_own_level_rules_what_is_enabled_and_written() {
    let settings: [(&[&str], &str); 9] = [
        (&[], "info"),
        (&["LOG_LEVEL=trace"], "trace"),
        (&["LOG_LEVEL=Debug"], "debug"),
        (&["LOG_LEVEL=INFO"], "info"),
        (&["RUST_LOG=warn"], "warn"),
        (&["LOG_LEVEL=error"], "error"),
        (&["LOG_LEVEL=off"], "off"),
        (&["LOG_LEVEL=nonsense"], "info"),
        (&["LOG_LEVEL=debug", "RUST_LOG=error"], "debug"),
    ];
    for (setting, least) in settings {
        let builder = setting
            .iter()
            .fold(probe(), |builder, pair| builder.args(["--config", pair]));
        // The daemon's own level has nothing to do with it.
        let daemon = builder.env("ZLAYER_LOG", "error").start();
        for role in ROLES {
            holds(&daemon, &format!("{role}/?least={least}"), 6);
        }
        let log = whole_log(daemon);
        let written: BTreeSet<(String, &str)> = records(&log)
            .into_iter()
            .filter(|record| record.id.is_some())
            .map(|record| (record.level, record.text))
            .collect();
        // All are off when there is no such level.
        let first = LEVELS.iter().position(|level| *level == least);
        let mut expected = BTreeSet::new();
        for level in LEVELS.iter().skip(first.unwrap_or(LEVELS.len())) {
            expected.insert((level.to_string(), format!("levels function {level}")));
            expected.insert((level.to_string(), format!("levels log {level}")));
            let structured = format!("levels structured {level} level={level:?}");
            expected.insert((level.to_string(), structured));
        }
        let expected = expected.iter().map(|(l, text)| (l.clone(), text.as_str()));
        assert_eq!(written, expected.collect(), "{setting:?}");
    }
}

#[test]
fn an_unknown_level_is_told_of() {
    let daemon = probe().args(["--config", "LOG_LEVEL=nonsense"]).start();
    daemon.wait_for_log("'nonsense' is not a log level");
}

#[test]
fn every_record_carries_plugin_request_level_and_fields() {
    let daemon = probe().args(["--config", "LOG_LEVEL=trace"]).start();
    let typed = text(&daemon, "/each?tag=first");
    assert!(!typed.is_empty());
    let again = text(&daemon, "/each?tag=second");
    assert_ne!(typed, again, "two requests with one id");
    text(&daemon, "/http/each?tag=third");
    let log = whole_log(daemon);
    let records = records(&log);
    let ids = |tag: &str| -> Vec<&str> {
        let of_tag = records.iter().filter(|record| record.text.starts_with(tag));
        let ids: Vec<_> = of_tag.map(|record| record.id.unwrap_or_default()).collect();
        // Five levels, each by three functions.
        assert_eq!(ids.len(), 15, "{tag}:\n{log}");
        ids
    };
    assert!(ids("first ").iter().all(|id| **id == typed));
    assert!(ids("second ").iter().all(|id| **id == again));
    let third: BTreeSet<&str> = ids("third ").into_iter().collect();
    assert_eq!(third.len(), 1, "{third:?}");
    assert!(
        third.iter().all(|id| !["", &typed, &again].contains(id)),
        "{third:?}"
    );
    for level in LEVELS {
        let text = format!("first structured {level} level={level:?}");
        let found = records.iter().find(|record| record.text == text);
        assert_eq!(found.map(|record| record.level.as_str()), Some(level));
    }
}

#[test]
fn fields_are_named_and_their_values_quoted() {
    let daemon = probe().start();
    text(&daemon, "/fields");
    let log = whole_log(daemon);
    let records = records(&log);
    for wanted in [
        r#"Request processed user_id="123" path="/api/users" duration_ms="45""#,
        "no fields",
        r#"odd values empty="" space="a b" quote="\"""#,
        r#"the same twice key="1" key="2""#,
        r#"grüße schlüssel="wert ✓""#,
        r#" only="fields""#,
    ] {
        let found = records
            .iter()
            .filter(|record| record.text == wanted)
            .count();
        assert_eq!(found, 1, "{wanted:?} in\n{log}");
    }
}

#[test]
fn a_record_cannot_forge_another_nor_steer_a_terminal() {
    let daemon = probe().start();
    for role in ROLES {
        text(&daemon, &format!("{role}/forge"));
    }
    let log = whole_log(daemon);
    for line in log.split('\n') {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(!line.starts_with("Thu, 01 Jan 1970"), "{line:?}");
        assert!(!line.starts_with("forged"), "{line:?}");
        if !line.is_empty() {
            let level = line.get(30..35).unwrap_or_default().trim();
            assert!(["ERROR", "WARN", "INFO"].contains(&level), "{line:?}");
        }
    }
    let records = records(&log);
    let own = records.iter().filter(|record| record.id.is_some());
    // Six calls in each role, a record each.
    assert_eq!(own.count(), 12, "{log}");
    assert!(records.iter().any(|record| record.text == "forge end"));
}

#[test]
fn long_records_are_cut_and_the_next_ones_come_whole() {
    let daemon = probe().start();
    text(&daemon, "/long?bytes=1000000");
    text(&daemon, "/http/long?bytes=5000");
    let log = whole_log(daemon);
    let records = records(&log);
    for begin in [
        "long message mmm",
        "long letterséééé",
        "long key fff",
        "long value k=\"fff",
        "many fields name=\"value\" name=",
    ] {
        let found: Vec<_> = records
            .iter()
            .filter(|record| record.text.starts_with(begin))
            .collect();
        assert_eq!(found.len(), 2, "{begin}");
        for record in found {
            // A last field's name and value may stand beyond it.
            assert!(
                (RECORD_BYTES - 100..2 * RECORD_BYTES + 200).contains(&record.text.len()),
                "{begin}: {} bytes",
                record.text.len()
            );
            assert!(!record.text.contains('\u{fffd}'), "{begin}: half a letter");
        }
    }
    let ends = records.iter().filter(|record| record.text == "long end");
    assert_eq!(ends.count(), 2);
}

#[test]
fn a_message_is_cut_and_no_trap_however_long_it_is() {
    let daemon = probe().start();
    for role in ROLES {
        text(&daemon, &format!("{role}/long?bytes=3000000"));
    }
    let log = whole_log(daemon);
    let records = records(&log);
    let ends = records.iter().filter(|record| record.text == "long end");
    assert_eq!(ends.count(), 2);
}

#[test]
fn a_flood_is_cut_off_and_every_dropped_record_is_counted() {
    const FLOOD: usize = 20_000;
    let daemon = probe().start();
    text(&daemon, &format!("/flood?records={FLOOD}"));
    let mut sent = FLOOD;
    let end = Instant::now() + PATIENCE;
    // Drops are told of when there is room again. Fewer records than the rate allows come now.
    let told = loop {
        thread::sleep(Duration::from_millis(250));
        text(&daemon, "/each?tag=after");
        sent += 9;
        let log = daemon.log();
        let dropped = log.lines().filter_map(|line| {
            let (before, _) = line.split_once(" records dropped: ")?;
            before.rsplit(' ').next()?.parse::<usize>().ok()
        });
        let dropped: usize = dropped.sum();
        let records = records(&log);
        let own = records.iter().filter(|record| record.id.is_some());
        if own.count() + dropped == sent {
            break dropped;
        }
        assert!(
            Instant::now() < end,
            "{sent} records, {dropped} told as dropped"
        );
    };
    assert!(told > 0 && told <= FLOOD - BURST, "{told}");
    let log = daemon.log();
    let first = records(&log);
    let first = first
        .iter()
        .filter_map(|record| record.text.strip_prefix("flood "));
    let first: Vec<usize> = first.map(|number| number.parse().unwrap()).collect();
    // What came first was kept, in order.
    assert!(first.len() >= BURST && first.is_sorted());
    assert_eq!(first[..BURST], (0..BURST).collect::<Vec<_>>());
}
