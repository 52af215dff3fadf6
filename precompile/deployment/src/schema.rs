//! The table of keys as a JSON Schema.

use serde_json::{Map, Value, json};

use crate::keys::FILE;
use crate::patterns;
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
        Shape::Value => of_scalar(["string", "number", "boolean"], patterns::value()),
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::Number(least, u64::MAX) => json!({ "type": "integer", "minimum": least }),
        Shape::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Size(least, most) => of_scalar(["string", "integer"], patterns::size(*least, *most)),
        // From a millisecond to a day.
        Shape::Duration => of_scalar(["string", "integer"], patterns::duration(1, 86_400_000)),
        Shape::Minutes(most) => {
            of_scalar(["string", "integer"], patterns::duration(1, most * 60_000))
        }
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
        Shape::OneOf(keys, sets) => {
            let mut schema = of_keys(keys);
            let one = sets.iter().map(|set| of_set(keys, set));
            schema["anyOf"] = json!(one.collect::<Vec<_>>());
            schema
        }
        Shape::Named(name, shape, least, most) => {
            let mut schema = json!({
                "type": "object",
                "propertyNames": of_name(name),
                "additionalProperties": of(shape),
            });
            if *least > 0 {
                schema["minProperties"] = json!(least);
            }
            if *most < usize::MAX {
                schema["maxProperties"] = json!(most);
            }
            schema
        }
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(of).collect::<Vec<_>>() })
        }
        Shape::Denied(_) => json!({ "enum": [false, []] }),
        Shape::Ignored(_) => json!({ "not": { "type": "null" } }),
        Shape::Refused(_) => json!(false),
    }
}

/// A text, which without quotes may be a number or a switch for others: where that is a text that is taken.
fn of_text(text: &Text) -> Value {
    let is_taken = |one: &str| (text.check)(one).is_ok();
    let mut schema = match text.like {
        Some(like) => like(),
        None => json!({}),
    };
    let mut types = vec!["string"];
    if is_taken("1") {
        types.push("number");
        if !is_taken("-1") {
            schema["minimum"] = json!(0);
        }
    }
    if is_taken("true") {
        types.push("boolean");
    }
    match types.len() {
        1 => of_scalar("string", schema),
        _ => of_scalar(types, schema),
    }
}

fn of_name(text: &Text) -> Value {
    match text.like {
        Some(like) => like(),
        None => json!({ "minLength": 1 }),
    }
}

fn of_scalar(types: impl Into<Value>, more: Value) -> Value {
    let mut schema = json!({ "type": types.into() });
    merge(&mut schema, more);
    schema
}

/// What has the first key of a set, and none that is in another.
fn of_set(keys: &[Key], set: &[&str]) -> Value {
    let others = keys.iter().filter(|key| !set.contains(&key.name));
    let others: Map<String, Value> = others
        .map(|key| (key.name.to_owned(), json!(false)))
        .collect();
    json!({ "required": set.get(..1), "properties": others })
}

/// Adds the entries of `more` to `schema`.
fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
