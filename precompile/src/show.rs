//! Figures and lists as people read them.

use std::fmt::Write as _;

use serde_json::Value;

/// A size in bytes, as kilobytes or megabytes of a thousand.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..10_000_000 => format!("{} KB", (bytes + 500) / 1_000),
        _ => format!("{} MB", (bytes + 500_000) / 1_000_000),
    }
}

/// A size of memory in bytes, as wasm counts it: in KiB and MiB.
pub(crate) fn memory(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

/// Lines of `label  value`, with the values in one column. A value of several lines, or
/// none, keeps its column.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (label, value) in rows {
        let mut label = *label;
        for line in if value.is_empty() {
            vec!["none"]
        } else {
            value.lines().collect()
        } {
            // As above.
            let _ = writeln!(text, "{label:width$}{line}");
            label = "";
        }
    }
    text
}

/// A value of a setting: text as it is, lists with commas, the rest as JSON has it.
pub(crate) fn value(value: &Value) -> String {
    match value {
        // Of a bundle that nobody has vouched for, a value must not look like more lines than one.
        Value::String(text) => text.escape_debug().to_string().replace("\\\"", "\""),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(self::value).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

/// What is said in an object, a line for each setting: `keyvalue.quota 1024`.
pub(crate) fn settings(said: &Value) -> String {
    fn add(text: &mut String, path: &str, said: &Value) {
        match said {
            Value::Object(fields) => {
                for (key, said) in fields {
                    let path = match path.is_empty() {
                        true => key.clone(),
                        false => format!("{path}.{key}"),
                    };
                    add(text, &path, said);
                }
            }
            other => {
                // Writing to a string never fails.
                let _ = writeln!(text, "{path} {}", value(other));
            }
        }
    }
    let mut text = String::new();
    add(&mut text, "", said);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_lines() {
        let said = serde_json::json!({ "a": { "b": ["x", "y"], "c": 1 }, "d": true });
        assert_eq!(settings(&said), "a.b x, y\na.c 1\nd true\n");
        assert_eq!(settings(&serde_json::json!({})), "");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(349_400), "349 KB");
        assert_eq!(size(25_000_000), "25 MB");
        assert_eq!(memory(65_536), "64 KiB");
        assert_eq!(memory(17 << 20), "17 MiB");
        assert_eq!(memory((1 << 20) + 65_536), "1088 KiB");
    }

    #[test]
    fn tables_line_up() {
        let rows = [("a", "1\n2".to_owned()), ("long", String::new())];
        assert_eq!(table(&rows), "a     1\n      2\nlong  none\n");
    }
}
