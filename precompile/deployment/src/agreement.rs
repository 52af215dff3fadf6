//! The JSON Schema takes what the reader takes, and refuses what it refuses.

mod validator;
mod variants;

use std::path::Path;

use serde_json::Value;

use crate::keys::FILE;
use crate::read::read_text;
use crate::report::Report;
use crate::schema;
use crate::shape::Shape;
use crate::tree::{Content, Node, parse};
use validator::is_valid;
use variants::{odd_values, variants, words};

const GUIDE: &str = include_str!("../tests/files/guide.yaml");
const FULL: &str = include_str!("../tests/files/full.yaml");

/// Where both differ, and why a JSON Schema cannot say what the reader knows. The reader refuses more, always.
const BEYOND: &[(&str, &str)] = &[
    (
        "device.trusted_proxies",
        "the bits of a network behind those that count are 0",
    ),
    ("services.a.scale.mode", "`fixed` wants `replicas`"),
    ("services.a.scale.replicas", "wants `mode: fixed`"),
    (
        "services.a.scale.min",
        "no more than `max`, which is 10 where nothing is said",
    ),
    (
        "services.a.wasm.min_instances",
        "no more than `max_instances`, which is 10 where nothing is said",
    ),
    (
        "services.a.wasm.services",
        "the names of services that the file has",
    ),
    (
        "services.a.env[0].secret",
        "the value of a secret has a `${NAME}`",
    ),
];

fn is_read(text: &str) -> bool {
    read_text(Path::new("f"), Ok(text.as_bytes().to_vec())).is_ok()
}

#[test]
fn whatever_a_key_holds_the_schema_and_the_reader_agree_on_it() {
    let full = as_json(&parse(FULL, &Report::new(Path::new("f"))).unwrap());
    let schema = schema();
    let mut odd = odd_values();
    words(&schema, &mut odd);
    static FILE_SHAPE: Shape = Shape::Map(FILE);
    let variants = variants(&FILE_SHAPE, &[&full], &odd);
    let (mut taken, mut refused, mut differing) = (0, 0, Vec::new());
    for (path, document) in &variants {
        // The file itself has no path.
        let path = path.trim_start_matches('.');
        // The same block under its other name.
        let path = &path.replacen("services.a.wasm_http", "services.a.wasm", 1);
        // JSON is YAML, in which text has quotes and nothing else has.
        let (read, valid) = (is_read(&document.to_string()), is_valid(&schema, document));
        match read {
            true => taken += 1,
            false => refused += 1,
        }
        let is_beyond = BEYOND
            .iter()
            .any(|(known, _)| path == known || path.starts_with(&format!("{known}[")));
        if read != valid && !(is_beyond && valid) {
            let by = if read { "the reader" } else { "the schema" };
            differing.push(format!("{path}: only {by} takes {document}"));
        }
    }
    let shown: Vec<_> = differing.iter().take(40).collect();
    assert!(
        differing.is_empty(),
        "{} differ: {shown:#?}",
        differing.len()
    );
    // Values that nothing takes, or that everything does, would show little.
    assert!(taken > 500 && refused > 500, "{taken} {refused}");
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
            "true" | "True" | "TRUE" => true.into(),
            "false" | "False" | "FALSE" => false.into(),
            text => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => text.into(),
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
