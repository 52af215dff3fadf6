//! What the pages say, held against the repository and the programs.

mod deployments;
mod first_device;
mod first_plugin;
mod flags;
mod keys_of_flags;
mod keys_that_change;
mod links;
mod unit;
mod variables;

use std::fs;
use std::path::{Path, PathBuf};

/// The folder with the workspace's `Cargo.toml`.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A page of the repository, by its path from the root.
fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of the checkout that `wanted` takes. What was built and what starts with a dot is left out, but
/// for the script of CI.
fn files(wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned(), root().join(".ci")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false if wanted(&path) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a page in one language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(opened) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if opened == language {
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// What somebody reads who has a minute.
#[test]
fn the_readme_is_short_and_opens_with_the_two_commands() {
    let readme = page("README.md");
    assert!(readme.len() <= 6 << 10, "{} bytes", readme.len());
    let first = blocks(&readme, "sh").remove(0);
    let commands: Vec<&str> = first
        .lines()
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    assert_eq!(commands, ["cargo boards demo", "cargo boards test"]);
    let before = readme.split("```").next().unwrap().trim();
    assert_eq!(before, "# ZLayer Edge");
}
