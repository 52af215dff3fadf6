//! The variables of the environment that programs and tests read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{files, page};

#[test]
fn every_variable_is_explained() {
    let pages = page("CONTRIBUTING.md") + &page("docs/device.md");
    let read = names_in_code();
    let unexplained: Vec<&String> = read
        .iter()
        .filter(|name| !pages.contains(&format!("`{name}`")))
        .collect();
    assert!(
        unexplained.is_empty(),
        "neither CONTRIBUTING.md nor docs/device.md explains {unexplained:?}"
    );
    assert!(read.contains("ZLAYER_LOG"), "only {read:?} were found");
}

#[test]
fn every_variable_that_is_explained_is_read() {
    let read = names_in_code();
    let explained = names(&(page("CONTRIBUTING.md") + &page("docs/device.md")));
    let stale: Vec<&String> = explained.difference(&read).collect();
    assert!(stale.is_empty(), "no code knows {stale:?}");
}

fn names_in_code() -> BTreeSet<String> {
    let is_code = |path: &Path| {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        path.ends_with(".ci/run") || ["rs", "py", "sh", "toml"].contains(&&*extension)
    };
    let texts = files(is_code).into_iter().map(fs::read_to_string);
    texts.flat_map(|text| names(&text.unwrap())).collect()
}

/// The names in a text that begin as ours do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let ours = words.filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX));
    ours.map(str::to_owned).collect()
}

const PREFIX: &str = "ZLAYER_";
