//! A validator for as much of JSON Schema as ours has.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// Validates with the words of JSON Schema that ours has.
pub(super) fn is_valid(schema: &Value, value: &Value) -> bool {
    let Value::Object(words) = schema else {
        return schema != &Value::Bool(false);
    };
    let object = value.as_object();
    let items = value.as_array();
    let has_type = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        name => panic!("no type {name}"),
    };
    words.iter().all(|(word, said)| match word.as_str() {
        "$schema" | "title" | "description" => true,
        "pattern" => value
            .as_str()
            .is_none_or(|text| pattern(said.as_str().unwrap()).is_match(text)),
        "minLength" => value
            .as_str()
            .is_none_or(|text| text.chars().count() as u64 >= said.as_u64().unwrap()),
        "propertyNames" => object.is_none_or(|object| {
            { object.keys() }.all(|name| is_valid(said, &Value::from(name.as_str())))
        }),
        "minProperties" => {
            object.is_none_or(|object| object.len() as u64 >= said.as_u64().unwrap())
        }
        "maxProperties" => {
            object.is_none_or(|object| object.len() as u64 <= said.as_u64().unwrap())
        }
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
            .as_f64()
            .is_none_or(|number| number >= said.as_f64().unwrap()),
        "maximum" => value
            .as_f64()
            .is_none_or(|number| number <= said.as_f64().unwrap()),
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

/// A regular expression, which is made once.
fn pattern(text: &str) -> Regex {
    thread_local! {
        static MADE: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| {
        let known = made.entry(text.to_owned());
        let known = known.or_insert_with(|| Regex::new(text).unwrap());
        known.clone()
    })
}
