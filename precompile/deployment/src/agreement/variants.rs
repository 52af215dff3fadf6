//! Documents in which one value is odd.

use serde_json::{Map, Value, json};

use crate::shape::{Key, Shape};

/// What somebody may write, whatever is wanted.
pub(super) fn odd_values() -> Vec<Value> {
    let texts = [
        "",
        "a",
        "A",
        "a b",
        "1",
        "0",
        "true",
        "false",
        "null",
        "v1",
        "/",
        "/a",
        "/a/",
        "/a/*",
        "/a*",
        "/a b",
        "/a//b",
        "/a/../b",
        "/..a",
        "/a?b",
        "/a#b",
        "//",
        "//*",
        "*",
        "*.x",
        "*.a.b",
        "a.*",
        "a..b",
        ".a",
        "a.",
        "a.b:80",
        "a:0",
        "a:65536",
        "*:80",
        "http",
        "tcp",
        "http://a",
        "64Mi",
        "64mi",
        "64MB",
        "64M",
        "64k",
        "64K",
        "64KiB",
        "5Gi",
        "4Gi",
        "12Mi",
        "11Mi",
        "0Mi",
        "1.5Mi",
        "-1",
        "+1",
        "007",
        "1s",
        "30s",
        "0s",
        "0",
        "25h",
        "1441m",
        "1440m",
        "86401",
        "86400s",
        "86400001ms",
        "1ms",
        "10m",
        "11m",
        "600000ms",
        "600001ms",
        "http://localhost",
        "HTTP://LocalHost:80/a",
        "https://127.0.0.1:99999/a",
        "http://localhost:/a",
        "http://localhost:+80/a",
        "http://[::1]:80/a?b",
        "http://[::1]80/a",
        "http://localhost/a#b",
        "http://localhost?a",
        "http://a/b",
        "ftp://localhost/a",
        "${A}",
        "${",
        "$${",
        "$$${A}",
        "${1}",
        "${A",
        "$",
        "$$",
        "$a{",
        "é",
        "a\nb",
        "\u{1b}[0m",
        "\u{0}",
        ".",
        "..",
        "./",
        "../",
        "./.",
        "./a",
        "/.",
        "/opt/..",
        "a/",
        "a.wasm",
        "ä.wasm",
        ".wasm",
        "ä",
        "a://b",
        "a=b",
        "=",
        "10.0.0.0/8",
        "10.0.0.1",
        "10.0.0.256",
        "10.0.0",
        "::1",
        "::/0",
        "[::1]",
        "[::1]:80",
        "[a]",
        "localhost",
        "interval=5s",
        "interval=5",
        "interval=50ms",
        "interval=61m",
        "interval=",
        "shop.*",
        "*a",
        "a*b",
        "X-Tenant",
        "X Tenant",
        "a_b",
        "-a",
        "1.5",
        "1e3",
        "18446744073709551615",
    ];
    let mut odd: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    odd.extend([62, 63, 64, 65, 254].map(|count| json!("x".repeat(count))));
    odd.extend([json!(null), json!(true), json!(false)]);
    odd.extend(
        [
            -1_i64, 0, 1, 2, 5, 10, 11, 12, 64, 65, 80, 99, 100, 101, 199, 200, 204, 599, 600, 601,
            1024, 1025, 65535, 65536,
        ]
        .map(Value::from),
    );
    odd.extend(
        [
            86400,
            86401,
            262_143,
            262_144,
            12_582_911,
            12_582_912,
            1_u64 << 20,
            (1 << 20) + 1,
            1 << 32,
            (1 << 32) + 1,
            1 << 63,
            u64::MAX,
        ]
        .map(Value::from),
    );
    odd.push(json!(1.5));
    odd.extend([
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!([{}]),
        json!(["a"]),
        json!(["a", "b"]),
        json!([1]),
    ]);
    odd.extend([
        json!({"a": 1}),
        json!({"a": null}),
        json!({"a": {}}),
        json!({"name": "a"}),
        json!({"name": "a", "value": "b"}),
    ]);
    odd.extend([
        json!([{"certificate": "/a"}]),
        json!([{"credential": "a"}]),
        json!([{"certificate": "a"}]),
        json!([{"key": "/a"}]),
        json!([{"certificate": "/a", "credential": "a"}]),
        json!([{"credential": "a", "key": "/a"}]),
        json!([{"certificate": "/a", "key": "/b"}]),
        json!([{"name": "a", "value": "b"}]),
        json!([{"name": "h", "port": 80}]),
    ]);
    odd
}

/// Adds the words that a schema has.
pub(super) fn words(schema: &Value, words_found: &mut Vec<Value>) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::Array(words)) = entries.get("enum") {
                words_found.extend(words.iter().cloned());
            }
            entries.values().for_each(|inner| words(inner, words_found));
        }
        Value::Array(items) => items.iter().for_each(|inner| words(inner, words_found)),
        _ => {}
    }
}

/// Everything of this shape in which one value is odd, by its path, and nothing is said but what has to be. `samples` are
/// such as the reader takes.
pub(super) fn variants(
    shape: &'static Shape,
    samples: &[&Value],
    odd: &[Value],
) -> Vec<(String, Value)> {
    let mut variants: Vec<(String, Value)> = odd
        .iter()
        .map(|value| (String::new(), value.clone()))
        .collect();
    match shape {
        Shape::Map(keys) | Shape::OneOf(keys, _) => {
            let least = required(keys, samples);
            let mut wrong = least.clone();
            wrong.insert("nowhere".to_owned(), json!("a"));
            variants.push((".nowhere".to_owned(), wrong.into()));
            for key in *keys {
                let inner = inner(samples, key.name);
                if key.is_required {
                    let mut without = least.clone();
                    without.remove(key.name);
                    variants.push((format!(".{}", key.name), without.into()));
                }
                for (path, value) in self::variants(&key.shape, &inner, odd) {
                    let mut with = least.clone();
                    with.insert(key.name.to_owned(), value);
                    variants.push((format!(".{}{path}", key.name), with.into()));
                }
            }
        }
        Shape::List(shape, ..) => {
            let items = samples.iter().filter_map(|sample| sample.as_array());
            let items: Vec<_> = items.flatten().collect();
            let inner = self::variants(shape, &items, odd).into_iter();
            variants.extend(inner.map(|(path, value)| (format!("[0]{path}"), json!([value]))));
        }
        Shape::Named(_, shape, ..) => {
            let entries = samples.iter().filter_map(|sample| sample.as_object());
            let entries: Vec<_> = entries.flat_map(Map::values).collect();
            for name in odd.iter().filter_map(Value::as_str) {
                let named = json!({ name: least(shape, &entries) });
                variants.push((".NAME".to_owned(), named));
            }
            let inner = self::variants(shape, &entries, odd).into_iter();
            variants
                .extend(inner.map(|(path, value)| (format!(".a{path}"), json!({ "a": value }))));
        }
        Shape::Either(shapes) => {
            let all = shapes.iter();
            let all = all.flat_map(|shape| self::variants(shape, samples, odd));
            variants.extend(all.filter(|(path, _)| !path.is_empty()));
        }
        _ => {}
    }
    variants
}

/// The keys that a mapping may not do without.
fn required(keys: &'static [Key], samples: &[&Value]) -> Map<String, Value> {
    let required = keys.iter().filter(|key| key.is_required);
    let with = |key: &'static Key| {
        (
            key.name.to_owned(),
            least(&key.shape, &inner(samples, key.name)),
        )
    };
    required.map(with).collect()
}

/// As little as may be.
fn least(shape: &'static Shape, samples: &[&Value]) -> Value {
    match shape {
        Shape::Map(keys) => required(keys, samples).into(),
        Shape::Named(_, shape, ..) => {
            let entries = samples.iter().filter_map(|sample| sample.as_object());
            let entries: Vec<_> = entries.flat_map(Map::values).collect();
            json!({ "a": least(shape, &entries) })
        }
        _ => (*samples.first().unwrap()).clone(),
    }
}

fn inner<'a>(samples: &[&'a Value], key: &str) -> Vec<&'a Value> {
    samples
        .iter()
        .filter_map(|sample| sample.get(key))
        .collect()
}
