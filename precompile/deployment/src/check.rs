//! Compares a tree with the table of keys.

use std::time::Duration;

use zlayer_bundle::{ByteSize, NotAValue, Value, nearest, parse_duration};

use crate::report::Report;
use crate::shape::{Key, Shape, Word};
use crate::tree::{At, Content, Entry, Node};

/// Tells every difference between `node`, which stands at `path`, and `shape`.
pub(crate) fn check(shape: &Shape, node: &Node, path: &str, report: &Report) {
    let refuse = |reason: String| report.refuse(node.at, path, reason);
    if matches!(node.content, Content::Null) {
        return refuse("has no value; give it one, or take the key out".to_owned());
    }
    match (shape, &node.content) {
        (Shape::Refused(reason), _) => refuse((*reason).to_owned()),
        (Shape::Ignored(reason), _) => report.note(node.at, path, *reason),
        (Shape::Denied(reason), _) => match is_nothing(node) {
            true => {}
            false => refuse((*reason).to_owned()),
        },
        (Shape::Either(shapes), _) => match shapes.iter().find(|shape| has_kind(shape, node)) {
            Some(shape) => check(shape, node, path, report),
            None => refuse(wants(shape, node)),
        },
        _ if !has_kind(shape, node) => refuse(wants(shape, node)),
        (Shape::List(shape, least, most), Content::List(items)) => {
            if items.len() < *least {
                refuse("is empty; name at least one, or take the key out".to_owned());
            }
            if items.len() > *most {
                refuse(format!("has {} items; at most {most}", items.len()));
            }
            for (index, item) in items.iter().enumerate() {
                check(shape, item, &format!("{path}[{index}]"), report);
            }
        }
        (Shape::Map(keys) | Shape::OneOf(keys, _), Content::Map(entries)) => {
            check_keys(keys, entries, node.at, path, report);
        }
        (Shape::Named(name, shape, least, most), Content::Map(entries)) => {
            if entries.len() < *least {
                refuse("is empty; name at least one".to_owned());
            }
            if entries.len() > *most {
                refuse(format!("has {} entries; at most {most}", entries.len()));
            }
            for Entry { key, key_at, value } in entries {
                let path = below(path, key);
                if let Err(reason) = (name.check)(key) {
                    report.refuse(*key_at, &path, reason);
                }
                check(shape, value, &path, report);
            }
        }
        (_, Content::Scalar { text, .. }) => {
            if let Err(reason) = check_scalar(shape, text, node) {
                refuse(reason);
            }
        }
        _ => {}
    }
}

/// The path of a key in what stands at `path`.
pub(crate) fn below(path: &str, key: &str) -> String {
    let key = key.escape_debug();
    match path.is_empty() {
        true => key.to_string(),
        false => format!("{path}.{key}"),
    }
}

fn check_keys(keys: &'static [Key], entries: &[Entry], at: At, path: &str, report: &Report) {
    for entry in entries {
        let inner = below(path, &entry.key);
        match keys.iter().find(|key| key.name == entry.key) {
            Some(key) => check(&key.shape, &entry.value, &inner, report),
            None => {
                let known = || {
                    let keys = keys.iter();
                    let keys = keys.filter(|key| !matches!(key.shape, Shape::Refused(_)));
                    keys.map(|key| key.name)
                };
                let mends = match nearest(&entry.key, known()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
                };
                let key = entry.key.escape_debug();
                report.refuse(
                    entry.key_at,
                    &inner,
                    format!("there is no key `{key}` here; {mends}"),
                );
            }
        }
    }
    let is_there = |key: &Key| entries.iter().any(|entry| entry.key == key.name);
    for key in keys.iter().filter(|key| key.is_required && !is_there(key)) {
        let Key { name, about, .. } = key;
        report.refuse(at, path, format!("the key `{name}` is missing: {about}"));
    }
}

/// Whether the value is of the kind that the shape wants, whatever is in it.
fn has_kind(shape: &Shape, node: &Node) -> bool {
    match (shape, &node.content) {
        (Shape::Either(shapes), _) => shapes.iter().any(|shape| has_kind(shape, node)),
        (Shape::List(..), content) => matches!(content, Content::List(_)),
        (Shape::Map(_) | Shape::OneOf(..) | Shape::Named(..), content) => {
            matches!(content, Content::Map(_))
        }
        (_, content) => matches!(content, Content::Scalar { .. }),
    }
}

fn wants(shape: &Shape, node: &Node) -> String {
    format!("wants {}; here is {}", wanted(shape), node.kind())
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Either(shapes) => {
            let wanted: Vec<_> = shapes.iter().map(wanted).collect();
            wanted.join(", or ")
        }
        Shape::List(..) => "a list, an item in each line after `- `".to_owned(),
        Shape::Map(_) | Shape::OneOf(..) | Shape::Named(..) => {
            "a mapping, `KEY: VALUE` in each line".to_owned()
        }
        shape => format!("a single value ({})", shape.what()),
    }
}

/// Whether it grants nothing.
fn is_nothing(node: &Node) -> bool {
    match &node.content {
        Content::Scalar { .. } => node.switch() == Some(false),
        Content::List(items) => items.is_empty(),
        Content::Null | Content::Map(_) => false,
    }
}

/// Checks a scalar with this text.
fn check_scalar(shape: &Shape, text: &str, node: &Node) -> Result<(), String> {
    let shown = text.escape_debug();
    match shape {
        Shape::Text(kind) => (kind.check)(text),
        Shape::Value => match text.parse::<Value>() {
            Ok(_) => Ok(()),
            Err(error @ NotAValue::Reference(_)) => Err(error.to_string()),
            // Bundle's own words repeat what stands in the braces.
            Err(_) => Err(
                "has a `${` that names no variable; write ${NAME}, with letters, digits and underscores, for what \
                 the device knows by that name, and $${ for the signs themselves"
                    .to_owned(),
            ),
        },
        Shape::Switch => match node.switch() {
            Some(_) => Ok(()),
            None => Err(format!("'{shown}' is not true or false; write one of them without quotes")),
        },
        Shape::Number(least, most) => {
            let number = node.plain().and_then(whole);
            match number.is_some_and(|number| (*least..=*most).contains(&number)) {
                true => Ok(()),
                false if *most == u64::MAX => Err(format!(
                    "'{shown}': wants a whole number from {least}, without quotes"
                )),
                false => Err(format!(
                    "'{shown}': wants a whole number from {least} to {most}, without quotes"
                )),
            }
        }
        Shape::Size(least, most) => {
            let ByteSize(bytes) = text
                .parse()
                .map_err(|error: zlayer_bundle::NotASize| error.to_string())?;
            let (least, most) = (*least, *most);
            match bytes {
                bytes if bytes < least => Err(format!(
                    "'{shown}' is too little; at least {} (without a unit it is bytes; units are Ki, Mi and Gi)",
                    ByteSize(least)
                )),
                bytes if bytes > most => {
                    Err(format!("'{shown}' is too much; at most {}", ByteSize(most)))
                }
                _ => Ok(()),
            }
        }
        Shape::Duration => parse_duration(text).map(drop),
        Shape::Minutes(most) => match parse_duration(text)? {
            duration if duration > Duration::from_secs(most * 60) => {
                Err(format!("'{shown}' is too long; at most {most}m"))
            }
            _ => Ok(()),
        },
        Shape::Word(words) => check_word(words, text),
        _ => Ok(()),
    }
}

fn check_word(words: &[Word], text: &str) -> Result<(), String> {
    match words.iter().find(|word| word.word == text) {
        Some(Word { refused: None, .. }) => Ok(()),
        Some(Word {
            refused: Some(reason),
            ..
        }) => Err((*reason).to_owned()),
        None => {
            let known = words.iter().filter(|word| word.refused.is_none());
            let known: Vec<_> = known.map(|word| word.word).collect();
            let are = if known.len() == 1 { "is" } else { "are" };
            Err(format!(
                "there is no '{}' here; there {are} {}",
                text.escape_debug(),
                known.join(", ")
            ))
        }
    }
}

/// A whole number in digits alone.
pub(crate) fn whole(text: &str) -> Option<u64> {
    // The parser would take a sign.
    let has_only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    has_only_digits.then(|| text.parse().ok())?
}
