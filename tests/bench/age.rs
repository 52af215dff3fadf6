//! A test that the recorded figures are not too old.
//!
//! Figures may be of the release before the code's: nobody measures anew for each change. Beyond that
//! they tell of another program than the one that readers get.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::fs;

use anyhow::{Result, bail, ensure};

use crate::bench::recorded;
use crate::checkout::{self, VERSION};
use crate::record::{Record, recording};

/// Fails when figures that were measured of version `measured` are older than `current` by more than
/// one release. Releases are the headings of `changelog`, `## 1.2.3`, newest first; `current` is the
/// newest even where it has no heading yet.
fn check(measured: &str, current: &str, changelog: &str) -> Result<()> {
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let words = headings.filter_map(|heading| heading.split_whitespace().next());
    let releases = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let mut versions = vec![current];
    versions.extend(releases.filter(|&release| release != current));
    let Some(age) = versions.iter().position(|&version| version == measured) else {
        bail!("they are of {measured}, which is neither {current} nor a heading of CHANGELOG.md");
    };
    ensure!(
        age <= 1,
        "they are of {measured} and the code is {current}, {age} releases later"
    );
    Ok(())
}

#[test]
fn the_figures_are_at_most_one_release_older_than_the_code() {
    let root = checkout::root();
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    for bench in recorded() {
        let Some(record) = Record::load(&root, bench).unwrap() else {
            continue;
        };
        let checked = check(&record.version, VERSION, &changelog);
        assert!(
            checked.is_ok(),
            "the figures in docs/figures/{bench}.json are too old: {}; measure again with `{}`",
            checked.unwrap_err(),
            recording(bench),
        );
    }
}

const CHANGELOG: &str =
    "# Changelog\n\n## Unreleased\n\n- a\n\n## 0.3.0 (2027-03-01)\n\n## 0.2.0\n\n## 0.1.0\n";

#[test]
fn figures_of_this_release_and_of_the_one_before_pass() {
    for measured in ["0.3.0", "0.2.0"] {
        check(measured, "0.3.0", CHANGELOG).unwrap();
    }
    // The version is raised before its heading is written.
    for measured in ["0.4.0", "0.3.0"] {
        check(measured, "0.4.0", CHANGELOG).unwrap();
    }
}

#[test]
fn figures_older_than_one_release_or_of_no_release_fail() {
    let cases = [
        ("0.1.0", "0.3.0", "the code is 0.3.0, 2 releases later"),
        ("0.2.0", "0.4.0", "the code is 0.4.0, 2 releases later"),
        ("0.9.0", "0.3.0", "neither 0.3.0 nor a heading"),
    ];
    for (measured, current, reason) in cases {
        let error = check(measured, current, CHANGELOG).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
