//! What a value in a file may be.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

/// One key of a mapping.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) is_required: bool,
    /// What holds where the key is left out, in words.
    pub(crate) default: &'static str,
    /// What it does, in words.
    pub(crate) about: &'static str,
}

/// A key that may be left out.
pub(crate) const fn key(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        shape,
        is_required: false,
        default,
        about,
    }
}

impl Key {
    /// The key, which may not be left out.
    pub(crate) const fn required(self) -> Key {
        Key {
            is_required: true,
            ..self
        }
    }
}

/// What a value may be. A key without a value is always refused: whether that is nothing or the default, nobody
/// could tell.
pub(crate) enum Shape {
    /// Text that a function accepts; what is a number or a switch for others is text here.
    Text(Text),
    /// A value of `env`: text that is never repeated.
    Value,
    /// `true` or `false`.
    Switch,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// A number of bytes from the first to the second, with or without a unit.
    Size(u64, u64),
    /// A duration, with or without a unit.
    Duration,
    /// A duration of at most so many minutes.
    Minutes(u64),
    /// One of several words.
    Word(&'static [Word]),
    /// So many items, at least and at most.
    List(&'static Shape, usize, usize),
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping with the keys of one of these sets, of which the first is there.
    OneOf(&'static [Key], &'static [&'static [&'static str]]),
    /// A mapping of names that its user chooses, with so many entries, at least and at most.
    Named(Text, &'static Shape, usize, usize),
    /// One of several shapes that are told apart by their kind.
    Either(&'static [Shape]),
    /// `false` or an empty list: more is denied, and this says why.
    Denied(&'static str),
    /// Anything: it does nothing here, and this says why.
    Ignored(&'static str),
    /// Nothing at all: this says why. Such a key is known so that it can be explained.
    Refused(&'static str),
}

/// How a text is checked, and what it is for people.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    /// A word or two for a table.
    pub(crate) what: &'static str,
    /// What a JSON Schema says of it, for editors.
    pub(crate) like: Option<fn() -> Value>,
    /// Tells what is wrong with it.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// A word, and why it is refused if it is.
pub(crate) struct Word {
    pub(crate) word: &'static str,
    pub(crate) refused: Option<&'static str>,
}

/// A word that is accepted.
pub(crate) const fn word(word: &'static str) -> Word {
    Word {
        word,
        refused: None,
    }
}

/// A word that others know, and why it is refused here.
pub(crate) const fn refused(word: &'static str, reason: &'static str) -> Word {
    Word {
        word,
        refused: Some(reason),
    }
}

/// A text that a type reads.
pub(crate) const fn parsed<T: FromStr<Err: Display>>(what: &'static str) -> Shape {
    Shape::Text(Text {
        what,
        like: None,
        check: parses::<T>,
    })
}

/// A text that a function accepts.
pub(crate) const fn text(what: &'static str, check: fn(&str) -> Result<(), String>) -> Shape {
    Shape::Text(Text {
        what,
        like: None,
        check,
    })
}

fn parses<T: FromStr<Err: Display>>(text: &str) -> Result<(), String> {
    let read = text.parse::<T>();
    read.map(drop).map_err(|error| error.to_string())
}

/// Accepts any text on one line.
pub(crate) fn is_line(text: &str) -> Result<(), String> {
    match (text.is_empty(), text.chars().any(char::is_control)) {
        (true, _) => Err("is empty; write something, or take the key out".to_owned()),
        (_, true) => Err(format!(
            "'{}' has control characters; write it in one line",
            text.escape_debug()
        )),
        _ => Ok(()),
    }
}

impl Shape {
    /// The shape, with what a JSON Schema says of its text.
    pub(crate) const fn like(self, like: fn() -> Value) -> Shape {
        match self {
            Shape::Text(Text { what, check, .. }) => Shape::Text(Text {
                what,
                like: Some(like),
                check,
            }),
            other => other,
        }
    }

    /// The keys of a mapping, also of one that may be written shorter.
    pub(crate) fn keys(&self) -> Option<&'static [Key]> {
        match self {
            Shape::Map(keys) | Shape::OneOf(keys, _) => Some(keys),
            Shape::List(shape, ..) | Shape::Named(_, shape, ..) => shape.keys(),
            Shape::Either(shapes) => shapes.iter().find_map(Shape::keys),
            _ => None,
        }
    }

    /// What it is, for people.
    pub(crate) fn what(&self) -> String {
        match self {
            Shape::Text(text) => text.what.to_owned(),
            Shape::Value => "text".to_owned(),
            Shape::Switch => "true or false".to_owned(),
            // Nobody has use for a bound that only the type has.
            Shape::Number(least, most) if *most >= u32::MAX.into() => {
                format!("number, from {least}")
            }
            Shape::Number(least, most) => format!("number, {least} to {most}"),
            Shape::Size(..) => "size".to_owned(),
            Shape::Duration => "duration".to_owned(),
            Shape::Minutes(most) => format!("duration, at most {most}m"),
            Shape::Word(words) => {
                let words = words.iter().filter(|word| word.refused.is_none());
                let words: Vec<_> = words.map(|word| format!("`{}`", word.word)).collect();
                words.join(", ")
            }
            Shape::List(shape, ..) => match shape.keys() {
                Some(_) => "list of mappings".to_owned(),
                None => format!("list: {}", shape.what()),
            },
            Shape::Map(_) | Shape::OneOf(..) => "mapping".to_owned(),
            Shape::Named(name, shape, ..) => {
                format!("mapping: {} to {}", name.what, shape.what())
            }
            Shape::Either(shapes) => {
                let shapes: Vec<_> = shapes.iter().map(Shape::what).collect();
                shapes.join("; or ")
            }
            Shape::Denied(_) => "`false` or `[]`".to_owned(),
            Shape::Ignored(_) => "anything".to_owned(),
            Shape::Refused(_) => "nothing".to_owned(),
        }
    }
}
