//! The table of keys as a JSON Schema.

use serde_json::{Map, Value, json};

use crate::keys::FILE;
use crate::shape::{Key, Shape, Text};

/// The JSON Schema (draft 2020-12) of a `deployment.yaml`, for editors. It is made of the table that files are
/// checked with. What depends on several keys it does not know.
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "deployment.yaml of ZLayer Edge",
    });
    merge(&mut schema, of_keys(FILE));
    schema
}

fn of_keys(keys: &'static [Key]) -> Value {
    let known = keys
        .iter()
        .filter(|key| !matches!(key.shape, Shape::Refused(_)));
    let properties: Map<String, Value> = known
        .map(|key| {
            let description = match key.default {
                "" => key.about.to_owned(),
                default => format!("{} (default: {default})", key.about),
            };
            let mut schema = json!({ "description": description });
            merge(&mut schema, of(&key.shape));
            (key.name.to_owned(), schema)
        })
        .collect();
    let required = keys.iter().filter(|key| key.is_required);
    let required: Vec<_> = required.map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of(shape: &'static Shape) -> Value {
    match shape {
        Shape::Text(text) => of_text(text),
        Shape::Value => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::Number(least, u64::MAX) => json!({ "type": "integer", "minimum": least }),
        Shape::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Size(..) => json!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": "^[0-9]+([KMG]i|[kKMG])?B?$",
        }),
        Shape::Duration => json!({
            "type": ["string", "integer"],
            "minimum": 1,
            "pattern": "^[0-9]+(ms|s|m)?$",
        }),
        Shape::Word(words) => {
            let words = words.iter().filter(|word| word.refused.is_none());
            json!({ "enum": words.map(|word| word.word).collect::<Vec<_>>() })
        }
        Shape::List(shape, least, most) => {
            let mut schema = json!({ "type": "array", "items": of(shape) });
            if *least > 0 {
                schema["minItems"] = json!(least);
            }
            if *most < usize::MAX {
                schema["maxItems"] = json!(most);
            }
            schema
        }
        Shape::Map(keys) => of_keys(keys),
        Shape::Named(name, shape) => json!({
            "type": "object",
            "propertyNames": of_name(name),
            "additionalProperties": of(shape),
        }),
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(of).collect::<Vec<_>>() })
        }
        Shape::Denied(_) => json!({ "enum": [null, false, [], {}] }),
        Shape::Ignored(_) => json!({ "not": { "type": "null" } }),
        Shape::Refused(_) => json!(false),
    }
}

fn of_text(text: &Text) -> Value {
    let mut schema = json!({ "type": ["string", "number", "boolean"] });
    if let Some(pattern) = text.pattern {
        schema["pattern"] = json!(pattern);
    }
    schema
}

fn of_name(text: &Text) -> Value {
    match text.pattern {
        Some(pattern) => json!({ "pattern": pattern }),
        None => json!({ "minLength": 1 }),
    }
}

/// Adds the entries of `more` to `schema`.
fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
