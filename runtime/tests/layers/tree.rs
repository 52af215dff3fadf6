//! All files of a crate, and who imports from whom.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source};

/// The files by their module paths: `pipeline/cache.rs` is `["pipeline", "cache"]`, the crate's root
/// is the empty path, and the program's `main.rs` is the module `main` above it.
pub(crate) struct Tree {
    files: BTreeMap<Path, Source>,
}

/// A file that imports from another, both as module paths.
pub(crate) type Import = (Path, Path);

impl Tree {
    /// From pairs of a file's name below `src` and its text. Files of tests are left out.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let files = files.into_iter().filter_map(|(name, text)| {
            let module = name.strip_suffix(".rs")?;
            let mut path: Path = module.split('/').map(str::to_owned).collect();
            if path.iter().any(|segment| segment == "tests") {
                return None;
            }
            if path == ["lib"] {
                path.clear();
            }
            Some((path, Source::new(&text)))
        });
        Tree {
            files: files.collect(),
        }
    }

    /// The names of the files' top modules.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        let first = self.files.keys().filter_map(|path| path.first());
        first.map(String::as_str).collect()
    }

    /// The files whose code holds `words`.
    pub(crate) fn holding(&self, words: &str) -> Vec<String> {
        let holding = self.files.iter().filter(|(_, file)| file.holds(words));
        holding.map(|(path, _)| shown(path)).collect()
    }

    /// Every import of a file from another one.
    pub(crate) fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for (module, file) in &self.files {
            for path in file.uses().into_iter().chain(file.inline_paths()) {
                let target = self
                    .absolute(module, &path)
                    .and_then(|path| self.resolve(&path, 0));
                if let Some(target) = target.filter(|target| target != module) {
                    found.insert((module.clone(), target));
                }
            }
        }
        found
    }

    /// A path as it is seen from the crate's root. None for those of other crates.
    fn absolute(&self, module: &Path, path: &Path) -> Option<Path> {
        let mut base = module.clone();
        let mut rest = path.as_slice();
        match rest.first()?.as_str() {
            "crate" | "zlayer_runtime" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", more)) = rest
                    .split_first()
                    .map(|(first, more)| (first.as_str(), more))
                {
                    base.pop()?;
                    rest = more;
                }
            }
            // A child module, or another crate.
            name => {
                base.push(name.to_owned());
                self.files.get(&base)?;
                rest = &rest[1..];
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file in which what a path names is defined: re-exports are followed.
    fn resolve(&self, path: &Path, depth: usize) -> Option<Path> {
        let known = (0..=path.len())
            .rev()
            .find(|&length| self.files.contains_key(&path[..length]))?;
        let (module, rest) = (path[..known].to_vec(), &path[known..]);
        let Some(name) = rest.first().filter(|_| depth < 8) else {
            return Some(module);
        };
        let uses = self.files[&module].uses();
        let again = uses.iter().find(|path| path.last() == Some(name));
        let again = again.and_then(|path| self.absolute(&module, path));
        match again {
            Some(path) if path[..] != [&module[..], rest].concat() => {
                self.resolve(&path, depth + 1)
            }
            _ => Some(module),
        }
    }

    /// Imports that run against the layers, of which each may only import from those behind it, and
    /// modules that are in no layer or in two.
    pub(crate) fn breaches(&self, layers: &[&[&str]]) -> Vec<String> {
        let mut found = Vec::new();
        let layer_of = |room: &str| layers.iter().position(|layer| layer.contains(&room));
        for room in self.rooms() {
            let times = layers.iter().flat_map(|layer| layer.iter());
            match times.filter(|name| **name == room).count() {
                1 => {}
                0 => found.push(format!(
                    "the module {room} is in no layer: give it its place"
                )),
                _ => found.push(format!("the module {room} is in the table twice")),
            }
        }
        for name in layers.iter().flat_map(|layer| layer.iter()) {
            if !self.rooms().contains(name) {
                found.push(format!(
                    "the table names {name}, and there is no such module"
                ));
            }
        }
        for (from, to) in self.imports() {
            let (Some(above), Some(below)) = (from.first(), to.first()) else {
                continue;
            };
            if above != below && layer_of(above) >= layer_of(below) {
                found.push(format!(
                    "{} imports from {}, which stands beside or above it",
                    shown(&from),
                    shown(&to)
                ));
            }
        }
        found
    }

    /// Files that import from each other in a circle. A module and those inside it belong together:
    /// that one names the other is no arrow.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let mut arrows: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
        for (from, to) in self.imports() {
            if !from.starts_with(&to) && !to.starts_with(&from) {
                arrows.entry(from).or_default().insert(to);
            }
        }
        let reached = |from: &Path| {
            let mut seen = BTreeSet::new();
            let mut left = vec![from];
            while let Some(next) = left.pop() {
                for to in arrows.get(next).into_iter().flatten() {
                    if seen.insert(to) {
                        left.push(to);
                    }
                }
            }
            seen
        };
        let mut circles = BTreeSet::new();
        for from in arrows.keys() {
            let ahead = reached(from);
            if ahead.contains(from) {
                let circle = ahead
                    .into_iter()
                    .filter(|other| reached(other).contains(from));
                circles.insert(circle.map(shown).collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }
}

/// A module's file.
fn shown(module: &Path) -> String {
    match module.is_empty() {
        true => "lib.rs".to_owned(),
        false => format!("{}.rs", module.join("/")),
    }
}
