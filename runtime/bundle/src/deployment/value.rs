//! Configuration values, some of which only the device knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::as_text::as_text;

/// One entry of a service's `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// The key that the plugin asks for.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Whether it is a secret alone, and no configuration.
    pub secret: bool,
}

/// A value in which `${NAME}` stands for what the device knows by that name; `$${` stands for `${`. Names are
/// those of the shell: letters, digits and underscores, with no digit first.
///
/// What begins with `$E:` or `$S:` is a reference in ZLayer, and refused here: that a plugin had these signs for its
/// secret would be noticed late. `$$E:` at the beginning stands for `$E:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Value {
    /// A value that stands for itself, whatever signs are in it.
    pub fn literal(text: impl Into<String>) -> Value {
        Value(vec![Part::Text(text.into())])
    }

    /// The names of the variables in it, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether the device has to know something to tell it.
    pub fn has_variables(&self) -> bool {
        self.variables().next().is_some()
    }

    /// The value, with what `known` has by the names of its variables.
    ///
    /// # Errors
    ///
    /// The names that are not known.
    pub fn resolve(&self, known: impl Fn(&str) -> Option<String>) -> Result<String, Vec<&str>> {
        let (mut text, mut missing) = (String::new(), Vec::new());
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => match known(name) {
                    Some(value) => text.push_str(&value),
                    None => missing.push(name.as_str()),
                },
            }
        }
        match missing.is_empty() {
            true => Ok(text),
            false => Err(missing),
        }
    }
}

impl FromStr for Value {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Value, NotAValue> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        rest = match dollars_of_reference(text) {
            0 => rest,
            1 => return Err(NotAValue::Reference(text[..3].to_owned())),
            _ => &rest[1..],
        };
        while let Some(at) = rest.find("${") {
            // Of `$${` the first sign says that the others are meant as they are.
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let (name, behind) = rest[at + 2..].split_once('}').ok_or(NotAValue::Open)?;
            let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
            let goes_on = |c: char| begins(c) || c.is_ascii_digit();
            if !name.starts_with(begins) || !name.chars().all(goes_on) {
                return Err(NotAValue::Name(name.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Value(parts))
    }
}

impl fmt::Display for Value {
    /// As it is written in a `deployment.yaml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Part::Text(text)) = self.0.first()
            && dollars_of_reference(text) > 0
        {
            f.write_str("$")?;
        }
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(&text.replace("${", "$${"))?,
                Part::Variable(name) => write!(f, "${{{name}}}")?,
            }
        }
        Ok(())
    }
}

as_text!(Value);

/// How many `$` stand before `E:` or `S:` at a text's beginning.
fn dollars_of_reference(text: &str) -> usize {
    let behind = text.trim_start_matches('$');
    match behind.starts_with("E:") || behind.starts_with("S:") {
        true => text.len() - behind.len(),
        false => 0,
    }
}

/// Text that is no [`Value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAValue {
    /// A `${` has no `}`.
    Open,
    /// What stands in `${…}` is no name.
    Name(String),
    /// It begins like a reference of ZLayer, with these signs.
    Reference(String),
}

impl fmt::Display for NotAValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAValue::Open => f.write_str(
                "a `${` has no `}` behind it; write ${NAME} for what the device knows by that name, and $${ for \
                 the signs themselves",
            ),
            NotAValue::Name(name) => write!(
                f,
                "`${{{}}}` names no variable: a name has letters, digits and underscores, and no digit first; \
                 write $${{ for the signs themselves",
                name.escape_debug()
            ),
            NotAValue::Reference(signs) => write!(
                f,
                "begins with `{signs}`, ZLayer's reference to what it knows, which is not looked up here; write ${{NAME}} \
                 for what the device knows by that name, and `${signs}` for the signs themselves"
            ),
        }
    }
}

impl std::error::Error for NotAValue {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_and_all_that_are_missing_named() {
        let value: Value = "Bearer ${A}-${B_2}$x $${A} ${A}".parse().unwrap();
        assert_eq!(value.variables().collect::<Vec<_>>(), ["A", "B_2", "A"]);
        let known = |name: &str| Some(format!("<{name}>"));
        let told = value.resolve(known).unwrap();
        assert_eq!(told, "Bearer <A>-<B_2>$x ${A} <A>");
        assert_eq!(value.resolve(|_| None).unwrap_err(), ["A", "B_2", "A"]);
        assert!(!"plain $HOME".parse::<Value>().unwrap().has_variables());
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for text in [
            "",
            "a",
            "${A}",
            "$",
            "$${A}",
            "$$${A}",
            "a${B}c$$d",
            "}{",
            "$$E:a",
            "$$$S:${B}",
            "a$E:b",
            "E:",
        ] {
            let value: Value = text.parse().unwrap();
            assert_eq!(value.to_string().parse(), Ok(value), "{text}");
        }
        let literal = Value::literal("${A}");
        assert!(!literal.has_variables());
        assert_eq!(literal.to_string(), "$${A}");
        for text in ["$E:a", "$$S:a", "$E:${A}"] {
            let value = Value::literal(text);
            let read: Value = value.to_string().parse().unwrap();
            assert_eq!(read.resolve(|_| None).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        assert_eq!("${A".parse::<Value>(), Err(NotAValue::Open));
        for text in ["$E:HOME", "$S:jwt", "$S:"] {
            let error = NotAValue::Reference(text[..3].to_owned());
            assert_eq!(text.parse::<Value>(), Err(error));
        }
        for name in ["", "1a", "a-b", "a:-b", "ä", "$"] {
            let error = format!("${{{name}}}").parse::<Value>().unwrap_err();
            assert_eq!(error, NotAValue::Name(name.to_owned()));
        }
    }
}
