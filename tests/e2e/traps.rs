//! What is said of a plugin that traps, and what the build host makes of it.

use serde_json::Value;

use crate::support::{Daemon, Output, artifact, eventually, get, guests, precompile, target};

/// The places that the log tells of a trap at this path of `hostile-plugin`.
fn places(path: &str) -> Vec<String> {
    let daemon = Daemon::start("hostile-plugin");
    assert_eq!(get(&daemon, path).status, 500);
    let begins = format!(" GET {path}: plugin hostile-plugin: failed: trap: ");
    daemon.wait_for_log(&begins);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(&begins)).unwrap();
    let (_, places) = line.split_once(" (at ").unwrap_or_else(|| panic!("{line}"));
    let (places, behind) = places.split_once(')').unwrap();
    assert_eq!(behind, "", "{line}");
    places.split(" < ").map(str::to_owned).collect()
}

/// What `zlayer-precompile explain` says of `hostile-plugin`.
fn explain(words: &[&str]) -> Output {
    let plugin = guests().join("hostile-plugin.wasm");
    let mut all = vec!["explain", plugin.to_str().unwrap()];
    all.extend(words);
    precompile(all)
}

#[test]
fn the_places_of_a_trap_are_functions_on_the_build_host() {
    let places = places("/trap");
    assert!((2..=12).contains(&places.len()), "{places:?}");
    let compiled = artifact("hostile-plugin");
    let mut words = vec!["--json", "--artifact", compiled.to_str().unwrap()];
    words.extend(places.iter().map(String::as_str));
    let said = explain(&words);
    assert_eq!(said.code, 0, "{said:?}");
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let function = |number: usize| said["places"][number]["function"].as_str().unwrap();
    assert!(function(0).ends_with("trap"), "{said}");
    assert!(function(1).contains("handle"), "{said}");
    // As the line of the log has them, and for people.
    let copied = places.join(" < ");
    let said = explain(&["--target", target(), &copied]);
    assert_eq!(said.code, 0, "{said:?}");
    let first = said.stdout.lines().next().unwrap();
    assert!(
        first.starts_with(&places[0]) && first.ends_with("trap"),
        "{first}"
    );
}

#[test]
fn how_to_read_places_is_told_once() {
    let daemon = Daemon::start("hostile-plugin");
    for _ in 0..3 {
        assert_eq!(get(&daemon, "/trap").status, 500);
    }
    daemon.wait_for_log("zlayer-precompile explain hostile-plugin.wasm --artifact");
    eventually("all three are told", || {
        daemon.log().matches("failed: trap: ").count() == 3
    });
    assert_eq!(daemon.log().matches("zlayer-precompile explain").count(), 1);
}

#[test]
fn only_what_was_compiled_from_the_plugin_is_explained() {
    let other = artifact("hello");
    let refused = explain(&["--artifact", other.to_str().unwrap(), "0x10"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("not compiled from this plugin"),
        "{refused:?}"
    );
    let missing = explain(&["--artifact", "/nowhere/x.cwasm", "0x10"]);
    assert_eq!(missing.code, 3, "{missing:?}");
    for words in [&[][..], &["zzz"], &["12"], &["--target", "z80", "0x1"]] {
        let refused = explain(words);
        assert_eq!(refused.code, 2, "{words:?}: {refused:?}");
    }
    // Beyond all code.
    let beyond = explain(&["--target", "x86_64", "0xfffffff"]);
    assert_eq!(beyond.code, 0, "{beyond:?}");
    assert!(
        beyond.stdout.contains("not in the plugin's own code"),
        "{beyond:?}"
    );
}
