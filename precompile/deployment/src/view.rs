//! A mapping that was checked, read by its keys.

use std::str::FromStr;
use std::time::Duration;

use zlayer_bundle::{ByteSize, parse_duration};

use crate::check::{below, whole};
use crate::report::Report;
use crate::shape::Key;
use crate::tree::{At, Entry, Node};

/// A mapping of which the [check](crate::check) has told what is wrong. What it did tell of is read as if it
/// were not there: the file is refused in any case, and the rest is looked at all the same.
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    keys: &'static [Key],
    pub(crate) path: String,
    pub(crate) report: &'a Report,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        node: &'a Node,
        keys: &'static [Key],
        path: String,
        report: &'a Report,
    ) -> View<'a> {
        View {
            node,
            keys,
            path,
            report,
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        debug_assert!(
            self.keys.iter().any(|key| key.name == name),
            "no key {name} in the table of {}",
            self.path
        );
        self.node.entry(name).map(|entry| &*entry.value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.text()
    }

    /// A text that a type reads.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.get(name)?.switch()
    }

    /// A number of whatever type; it was checked to be in its range.
    pub(crate) fn number<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        T::try_from(whole(self.get(name)?.plain()?)?).ok()
    }

    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.parsed(name).map(|ByteSize(bytes)| bytes)
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        parse_duration(self.text(name)?).ok()
    }

    /// A list of texts that a type reads.
    pub(crate) fn list<T: FromStr>(&self, name: &str) -> Option<Vec<T>> {
        let items = self.get(name)?.items().iter();
        Some(items.filter_map(|item| item.text()?.parse().ok()).collect())
    }

    /// A mapping below this one.
    pub(crate) fn map(&self, name: &str) -> Option<View<'a>> {
        let node = self.get(name)?;
        Some(self.inner(name, node, self.path_of(name)))
    }

    /// The mappings of a list below this one.
    pub(crate) fn maps(&self, name: &str) -> Vec<View<'a>> {
        let items = self.get(name).map_or(&[][..], |node| node.items());
        let path = |index| format!("{}[{index}]", self.path_of(name));
        let views = items.iter().enumerate();
        views
            .map(|(index, item)| self.inner(name, item, path(index)))
            .collect()
    }

    /// The mapping of an entry of a mapping of names below this one.
    pub(crate) fn named(&self, name: &str, entry: &'a Entry) -> View<'a> {
        self.inner(name, &entry.value, below(&self.path_of(name), &entry.key))
    }

    fn inner(&self, name: &str, node: &'a Node, path: String) -> View<'a> {
        let key = self.keys.iter().find(|key| key.name == name);
        let keys = key.and_then(|key| key.shape.keys()).unwrap_or(&[]);
        View::new(node, keys, path, self.report)
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        below(&self.path, name)
    }

    /// Where the value of a key stands, or the mapping where there is none.
    pub(crate) fn at(&self, name: &str) -> At {
        self.get(name).map_or(self.node.at, |node| node.at)
    }

    /// Refuses the value of a key.
    pub(crate) fn refuse(&self, name: &str, reason: impl Into<String>) {
        let at = self.at(name);
        self.report.refuse(at, &self.path_of(name), reason);
    }

    /// Says what the value of a key does not do.
    pub(crate) fn note(&self, name: &str, text: impl Into<String>) {
        self.report.note(self.at(name), &self.path_of(name), text);
    }
}
