//! Reads YAML into a tree.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use super::{At, Content, Entry, Node};
use crate::check::below;
use crate::report::Report;

/// How deep lists and mappings may lie in each other. What is read lies seven deep.
const DEPTH_MAX: usize = 32;
/// Most nodes of a tree, where what an alias stands for counts each time: a few lines of aliases of aliases
/// would stand for more than any memory holds.
const NODES_MAX: usize = 100_000;
/// The key that stands for all those of another mapping, in older YAML.
const MERGE: &str = "<<";

/// Reads the one document of `text`. `None`: `report` says why there is none.
pub(crate) fn parse(text: &str, report: &Report) -> Option<Rc<Node>> {
    let mut builder = Builder::new(report);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mark = error.marker();
                let at = At {
                    line: mark.line(),
                    column: mark.col() + 1,
                };
                // The name may be a value that begins with an asterisk, and a secret.
                let said = match error.kind() {
                    ErrorKind::UnknownAnchor => {
                        "an alias (`*NAME`) stands for nothing; put a value that begins with an asterisk in \
                         quotes"
                            .to_owned()
                    }
                    _ => error.info(),
                };
                report.refuse(at, "", format!("this is not YAML: {said}"));
                return None;
            }
        };
        let at = At {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        if let Err(reason) = builder.take(event, at) {
            report.refuse(at, &builder.path(), reason);
            return None;
        }
    }
    if !builder.is_whole {
        return None;
    }
    let root = builder.root;
    if root.is_none() {
        report.refuse(
            At::default(),
            "",
            "the file is empty; it begins with `version: v1` and `deployment: NAME`",
        );
    }
    root
}

struct Builder<'r> {
    report: &'r Report,
    /// Lists and mappings that have not ended.
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    documents: usize,
    /// Whether nothing was left out that other keys stand for.
    is_whole: bool,
}

struct Open {
    at: At,
    anchor: usize,
    inner: Inner,
}

enum Inner {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        /// Where each key stands.
        known: BTreeMap<String, At>,
        /// A key whose value comes next.
        key: Option<(String, At)>,
    },
}

impl<'r> Builder<'r> {
    fn new(report: &'r Report) -> Builder<'r> {
        Builder {
            report,
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: 0,
            is_whole: true,
        }
    }

    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                match self.documents {
                    1 => Ok(()),
                    _ => Err("a second document begins here; a file has one".to_owned()),
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.untagged(tag.is_some(), at);
                let is_plain = style == ScalarStyle::Plain;
                let content = match (is_plain, &*text) {
                    (true, "" | "~" | "null" | "Null" | "NULL") => Content::Null,
                    _ => Content::Scalar {
                        text: text.into_owned(),
                        is_plain,
                    },
                };
                self.put(Rc::new(Node::new(at, content)), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.untagged(tag.is_some(), at);
                self.begin(at, anchor, Inner::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.untagged(tag.is_some(), at);
                let inner = Inner::Map {
                    entries: Vec::new(),
                    known: BTreeMap::new(),
                    key: None,
                };
                self.begin(at, anchor, inner)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, anchor, inner }) = self.open.pop() else {
                    return Err("a list or a mapping ends here that has not begun".to_owned());
                };
                let content = match inner {
                    Inner::List(items) => Content::List(items),
                    Inner::Map { entries, .. } => Content::Map(entries),
                };
                self.put(Rc::new(Node::new(at, content)), anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.put(Rc::clone(node), 0),
                None => Err("an alias stands for what it is a part of".to_owned()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: At, anchor: usize, inner: Inner) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep());
        }
        if self.awaits_key() {
            return Err("a key is plain text, and here is a list or a mapping".to_owned());
        }
        self.open.push(Open { at, anchor, inner });
        Ok(())
    }

    /// Refuses a tag; what it stands at is read as if there were none, for what else is wrong.
    fn untagged(&self, has_tag: bool, at: At) {
        if has_tag {
            let reason =
                "tags (`!NAME`) are not read here; put a value that begins with `!` in quotes";
            self.report.refuse(at, &self.path(), reason);
        }
    }

    /// The path of what comes next.
    fn path(&self) -> String {
        self.open
            .iter()
            .fold(String::new(), |path, open| match &open.inner {
                Inner::List(items) => format!("{path}[{}]", items.len()),
                Inner::Map {
                    key: Some((key, _)),
                    ..
                } => below(&path, key),
                Inner::Map { key: None, .. } => path,
            })
    }

    /// Whether the next node is the key of an entry.
    fn awaits_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.inner);
        matches!(last, Some(Inner::Map { key: None, .. }))
    }

    /// Puts a node that is complete where it belongs.
    fn put(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), String> {
        if node.depth + self.open.len() > DEPTH_MAX {
            return Err(too_deep());
        }
        if node.count > NODES_MAX {
            return Err(format!(
                "the file stands for more than {NODES_MAX} values, with those that its aliases repeat"
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let path = self.path();
        match self.open.last_mut().map(|open| &mut open.inner) {
            None => self.root = Some(node),
            Some(Inner::List(items)) => items.push(node),
            Some(Inner::Map {
                entries,
                known,
                key,
            }) => match key.take() {
                None => {
                    if node.plain() == Some(MERGE) {
                        self.is_whole = false;
                        let reason = "`<<` is not read here; write the keys that it stands for";
                        self.report.refuse(node.at, &path, reason);
                    }
                    *key = Some(as_key(&node)?);
                }
                Some((key, key_at)) => match known.get(&key) {
                    Some(first) => self.report.refuse(
                        key_at,
                        &path,
                        format!(
                            "the key `{}` stands here already, in line {}; take one of them out",
                            key.escape_debug(),
                            first.line
                        ),
                    ),
                    None => {
                        // A value that is not there has no place of its own.
                        let value = match node.content {
                            Content::Null => Rc::new(Node::new(key_at, Content::Null)),
                            _ => node,
                        };
                        known.insert(key.clone(), key_at);
                        entries.push(Entry { key, key_at, value });
                    }
                },
            },
        }
        Ok(())
    }
}

fn as_key(node: &Node) -> Result<(String, At), String> {
    match node.text() {
        Some(text) => Ok((text.to_owned(), node.at)),
        None => Err(format!("a key is plain text, and here is {}", node.kind())),
    }
}

fn too_deep() -> String {
    format!("lists and mappings lie more than {DEPTH_MAX} deep in each other")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::Path;

    use super::*;

    fn tree(text: &str) -> Result<Rc<Node>, String> {
        let report = Report::new(Path::new("f"));
        let root = parse(text, &report);
        match report.end() {
            Ok(_) => Ok(root.unwrap()),
            Err(refusals) => Err(refusals.to_string()),
        }
    }

    #[test]
    fn everything_knows_its_place() {
        let root = tree("a:\n  - 1\n  - ä: \"x\" # y\nb:\n").unwrap();
        let list = &root.entry("a").unwrap().value;
        let inner = list.items()[1].entry("ä").unwrap();
        assert_eq!((inner.key_at.line, inner.key_at.column), (3, 5));
        assert_eq!((inner.value.at.line, inner.value.at.column), (3, 8));
        assert_eq!((inner.value.text(), inner.value.plain()), (Some("x"), None));
        let nothing = root.entry("b").unwrap();
        assert!(matches!(nothing.value.content, Content::Null));
        assert_eq!((nothing.value.at.line, nothing.value.at.column), (4, 1));
    }

    #[test]
    fn an_alias_stands_for_its_value() {
        let root = tree("a: &x [1, 2]\nb: *x\n").unwrap();
        assert_eq!(root.entry("b").unwrap().value.items().len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, says) in [
            ("", "f: the file is empty"),
            ("# nothing\n", "f: the file is empty"),
            ("a: [1\n", "f:1:4: this is not YAML: unclosed bracket"),
            ("a: 1\n\tb: 2\n", "this is not YAML: "),
            ("a: 1\n---\nb: 2\n", "a second document begins here"),
            (
                "a: !!str 1\n",
                "f:1:10: a: tags (`!NAME`) are not read here",
            ),
            (
                "? [a]\n: 1\n",
                "a key is plain text, and here is a list or a mapping",
            ),
            ("~: 1\n", "f:1:1: a key is plain text, and here is nothing"),
            (
                "a: &x {b: 1}\nc:\n  <<: *x\n",
                "f:3:3: c: `<<` is not read here",
            ),
            ("a: &x [*x]\n", "stands for what it is a part of"),
            ("a: *hunter2\n", "an alias (`*NAME`) stands for nothing"),
            (
                "a: 1\nb: 2\na: 3\n",
                "f:3:1: a: the key `a` stands here already, in line 1",
            ),
            (
                "a:\n  - 1\n  - b: {c: 1, c: 2}\n",
                "f:3:15: a[1].b.c: the key `c` stands here already, in line 3",
            ),
        ] {
            let told = tree(text).unwrap_err();
            assert!(told.contains(says), "{text}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_has_a_tag_or_a_merge_key_is_read_on_for_what_else_is_wrong() {
        let told =
            tree("a: !x {b: 1, b: 2}\nc: !y 1\nd:\n  <<: {e: 1, e: 2}\n  <<: {}\n").unwrap_err();
        let places: Vec<_> = told
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let places: Vec<_> = places.iter().map(|(place, _)| *place).collect();
        assert_eq!(
            places,
            [
                "f:1:7", "f:1:14", "f:2:7", "f:4:3", "f:4:14", "f:5:3", "f:5:3"
            ],
            "{told}"
        );
    }

    #[test]
    fn few_lines_cannot_stand_for_more_than_memory_holds() {
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..20 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let told = tree(&bomb).unwrap_err();
        assert!(told.contains("more than 100000 values"), "{told}");
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(tree(&deep).unwrap_err().contains("more than 32 deep"));
        let mut chain = "a0: &a0 [[[[[1]]]]]\n".to_owned();
        for level in 1..20 {
            chain.push_str(&format!("a{level}: &a{level} [[[[[*a{}]]]]]\n", level - 1));
        }
        assert!(tree(&chain).unwrap_err().contains("more than 32 deep"));
    }
}
