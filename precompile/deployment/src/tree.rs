//! YAML as a tree in which everything knows its place.

mod parse;

use std::rc::Rc;

pub(crate) use parse::parse;

/// Most bytes of a file: the longest that anybody writes by hand is far below.
pub(crate) const FILE_MAX: u64 = 1 << 20;
/// A line and a column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value, and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) content: Content,
    /// Nodes in it, with itself.
    count: usize,
    /// How deep it is, with itself.
    depth: usize,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar. Whether a plain one is a number or text depends on who asks.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: At,
    pub(crate) value: Rc<Node>,
}

impl Node {
    fn new(at: At, content: Content) -> Node {
        let sum = |inner: &mut dyn Iterator<Item = &Rc<Node>>| {
            inner.fold((1, 1), |(count, depth): (usize, usize), node| {
                (count.saturating_add(node.count), depth.max(node.depth + 1))
            })
        };
        let (count, depth) = match &content {
            Content::Null | Content::Scalar { .. } => (1, 1),
            Content::List(items) => sum(&mut items.iter()),
            Content::Map(entries) => sum(&mut entries.iter().map(|entry| &entry.value)),
        };
        Node {
            at,
            content,
            count,
            depth,
        }
    }

    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Scalar { .. } => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar without quotes.
    pub(crate) fn plain(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar {
                text,
                is_plain: true,
            } => Some(text),
            _ => None,
        }
    }

    /// A switch, as YAML 1.2 has it in its core schema: editors read the same.
    pub(crate) fn switch(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Rc<Node>] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a mapping with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
}
