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

const GUIDE: &str = include_str!("../tests/files/guide.yaml");
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

#[test]
fn the_schema_accepts_what_is_read_and_refuses_what_is_not() {
    let valid = |text: &str| {
        let root = parse(text, &Report::new(Path::new("f"))).unwrap();
        is_valid(&schema(), &as_json(&root))
    };
    let is_read = |text: &str| read_text(Path::new("f"), Ok(text.as_bytes().to_vec())).is_ok();
    assert!(valid(GUIDE) && is_read(GUIDE));
    assert!(valid(FULL) && is_read(FULL));
    for (of, with) in [
        ("version: v1", "version: v2"),
        ("deployment: shop.edge\n", ""),
        ("release: 7", "release: -1"),
        ("release: 7", "release: \"7\""),
        ("release: 7", "releese: 7"),
        ("threads: 2", "threads: 65"),
        ("port: 80\n", "port: 65536\n"),
        ("redirect_http: true", "redirect_http: yes"),
        ("log: both", "log: file"),
        ("log: both", "log:"),
        ("idle: 30s", "idle: [30s]"),
        ("max_message: 65536", "max_message: true"),
        ("roles: [authenticator]", "roles: []"),
        ("roles: [authenticator]", "roles: authenticator"),
        ("rtype: service", "rtype: job"),
        ("storage: []", "storage: [{type: bind}]"),
        ("allow_tcp: false", "allow_tcp: true"),
        ("precompile: true", "precompile:"),
        ("leeway: 30", "leeway:"),
        ("name: TOKEN", "nam: TOKEN"),
        ("image: ./plugins/guard.wasm", "image: []"),
        ("      - credential: shop", "      - credential: {a: b}"),
    ] {
        let text = FULL.replacen(of, with, 1);
        assert_ne!(text, FULL, "{of}");
        assert!(!is_read(&text), "read: {with}");
        assert!(!valid(&text), "valid: {with}");
    }
}

/// A tree as an editor reads it.
fn as_json(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Scalar {
            text,
            is_plain: true,
        } => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            text => match text.parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) => text.into(),
            },
        },
        Content::Scalar { text, .. } => text.as_str().into(),
        Content::List(items) => items.iter().map(|item| as_json(item)).collect(),
        Content::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), as_json(&entry.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Validates with the words of JSON Schema that ours has, but for regular expressions.
fn is_valid(schema: &Value, value: &Value) -> bool {
    let Value::Object(words) = schema else {
        return schema != &Value::Bool(false);
    };
    let object = value.as_object();
    let items = value.as_array();
    let has_type = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        name => panic!("no type {name}"),
    };
    words.iter().all(|(word, said)| match word.as_str() {
        "$schema" | "title" | "description" | "pattern" | "propertyNames" => true,
        "type" => match said {
            Value::Array(names) => names.iter().any(has_type),
            name => has_type(name),
        },
        "enum" => said.as_array().unwrap().contains(value),
        "not" => !is_valid(said, value),
        "anyOf" => said
            .as_array()
            .unwrap()
            .iter()
            .any(|one| is_valid(one, value)),
        "minimum" => value
            .as_i64()
            .is_none_or(|number| number >= said.as_i64().unwrap()),
        "maximum" => value
            .as_i64()
            .is_none_or(|number| number <= said.as_i64().unwrap()),
        "minItems" => items.is_none_or(|items| items.len() as u64 >= said.as_u64().unwrap()),
        "maxItems" => items.is_none_or(|items| items.len() as u64 <= said.as_u64().unwrap()),
        "items" => items.is_none_or(|items| items.iter().all(|item| is_valid(said, item))),
        "required" => object.is_none_or(|object| {
            let names = said.as_array().unwrap();
            names
                .iter()
                .all(|name| object.contains_key(name.as_str().unwrap()))
        }),
        "properties" => object.is_none_or(|object| {
            let known = said.as_object().unwrap();
            known
                .iter()
                .all(|(name, schema)| object.get(name).is_none_or(|value| is_valid(schema, value)))
        }),
        "additionalProperties" => object.is_none_or(|object| {
            let known = words.get("properties").and_then(Value::as_object);
            object.iter().all(|(name, value)| {
                known.is_some_and(|known| known.contains_key(name)) || is_valid(said, value)
            })
        }),
        word => panic!("no word {word}"),
    })
}
