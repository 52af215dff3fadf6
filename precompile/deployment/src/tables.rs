//! What is made of the table of keys: the schema, and the tables of the page on the file.
//!
//! `ZLAYER_WRITE_DOCS=1` writes both anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::keys::FILE;
use crate::read::read_text;
use crate::report::Report;
use crate::schema;
use crate::shape::{Key, Shape};
use crate::tree::{Content, Node, parse};

const FULL: &str = include_str!("../tests/files/full.yaml");
const START: &str = "<!-- keys: ";
const END: &str = "<!-- end of keys -->";

fn docs(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("docs").join(name)
}

/// Compares a file of `docs/` with what it should be, or writes it.
fn compare(name: &str, made: &str, is_same: impl Fn(&str) -> bool) {
    if std::env::var_os("ZLAYER_WRITE_DOCS").is_some() {
        fs::write(docs(name), made).unwrap();
        return;
    }
    let written = fs::read_to_string(docs(name)).unwrap();
    assert!(
        is_same(&written),
        "docs/{name} is not what the table of keys says: ZLAYER_WRITE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_schema_is_the_one_of_the_docs() {
    let made = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    // In which order an object's keys are written depends on who else builds serde_json.
    compare("deployment.schema.json", &made, |written| {
        serde_json::from_str::<Value>(written).unwrap() == schema()
    });
}

#[test]
fn the_tables_are_those_of_the_docs() {
    let page = fs::read_to_string(docs("deployment.md")).unwrap();
    let (mut made, mut rest) = (String::new(), page.as_str());
    let mut missing: BTreeSet<String> = mappings().into_iter().map(|(path, _)| path).collect();
    while let Some((before, behind)) = rest.split_once(START) {
        let (path, behind) = behind.split_once(" -->").unwrap();
        let (_, after) = behind.split_once(END).unwrap();
        let known = mappings().into_iter().find(|(known, _)| known == path);
        let (_, keys) = known.unwrap_or_else(|| panic!("there are no keys below {path}"));
        write!(made, "{before}{START}{path} -->\n{}{END}", table(keys)).unwrap();
        missing.remove(path);
        rest = after;
    }
    assert!(missing.is_empty(), "docs/deployment.md has no {missing:?}");
    made.push_str(rest);
    compare("deployment.md", &made, |written| written == made);
}

#[test]
fn the_example_of_the_docs_is_read() {
    let page = fs::read_to_string(docs("deployment.md")).unwrap();
    let (_, behind) = page.split_once("```yaml\n").unwrap();
    let (example, _) = behind.split_once("```").unwrap();
    let file = read_text(Path::new("f"), Ok(example.as_bytes().to_vec())).unwrap();
    assert_eq!((file.images.len(), file.notes.len()), (2, 0));
}

/// Every mapping with keys of its own, by its path.
fn mappings() -> Vec<(String, &'static [Key])> {
    fn collect(path: &str, keys: &'static [Key], known: &mut Vec<(String, &'static [Key])>) {
        known.push((path.to_owned(), keys));
        for key in keys {
            if let Some(keys) = key.shape.keys() {
                let path = match path {
                    "file" => key.name.to_owned(),
                    path => format!("{path}.{}", key.name),
                };
                // A block with two names has one table.
                if !known.iter().any(|(_, other)| std::ptr::eq(*other, keys)) {
                    collect(&path, keys, known);
                }
            }
        }
    }
    let mut known = Vec::new();
    collect("file", FILE, &mut known);
    known
}

fn table(keys: &[Key]) -> String {
    let mut table =
        "| key | what it holds | default | what it does |\n|---|---|---|---|\n".to_owned();
    let known = keys
        .iter()
        .filter(|key| !matches!(key.shape, Shape::Refused(_)));
    for key in known {
        let default = match key.is_required {
            true => "**required**",
            false => key.default,
        };
        let cell = |text: &str| text.replace('|', "\\|").replace('*', "\\*");
        let default = match key.is_required {
            true => default.to_owned(),
            false => cell(default),
        };
        writeln!(
            table,
            "| `{}` | {} | {default} | {} |",
            key.name,
            cell(&key.shape.what()),
            cell(key.about).replace("NAME\\*`", "NAME*`"),
        )
        .unwrap();
    }
    table
}

#[test]
fn the_example_with_every_key_has_every_key() {
    let report = Report::new(Path::new("f"));
    let root = parse(FULL, &report).unwrap();
    let mut seen = BTreeSet::new();
    collect("file", FILE, &root, &mut seen);
    for (path, keys) in mappings() {
        for key in keys {
            let is_refused = matches!(key.shape, Shape::Refused(_));
            let is_seen = seen.contains(&(path.clone(), key.name));
            assert_ne!(is_refused, is_seen, "{path}: {}", key.name);
        }
    }
    fn collect(
        path: &str,
        keys: &'static [Key],
        node: &Node,
        seen: &mut BTreeSet<(String, &'static str)>,
    ) {
        for key in keys {
            let Some(entry) = node.entry(key.name) else {
                continue;
            };
            seen.insert((path.to_owned(), key.name));
            let path = match path {
                "file" => key.name.to_owned(),
                path => format!("{path}.{}", key.name),
            };
            let (Some(keys), value) = (key.shape.keys(), &entry.value) else {
                continue;
            };
            match (&key.shape, &value.content) {
                (Shape::Named(..), Content::Map(entries)) => {
                    for entry in entries {
                        collect(&path, keys, &entry.value, seen);
                    }
                }
                (_, Content::List(items)) => {
                    for item in items {
                        collect(&path, keys, item, seen);
                    }
                }
                _ => collect(&path, keys, value, seen),
            }
        }
    }
}
