//! What is told of a file: what is wrong with it, and what it says for nothing.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Place;
use crate::tree::At;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands.
    pub place: Place,
    /// The key's path, such as `services.auth.wasm.paths[0]`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what mends it.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.place, &self.path, &self.reason)
    }
}

/// Everything that is wrong with a file, in the order of the file: at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

impl fmt::Display for Refusals {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "\n" } else { "" })?;
            one.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}

/// Something in a file that is accepted and does nothing, or less than it seems to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// The key's path.
    pub path: String,
    /// What it does not do, and why.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.place, &self.path, &self.text)
    }
}

fn show(f: &mut fmt::Formatter<'_>, place: &Place, path: &str, text: &str) -> fmt::Result {
    match path.is_empty() {
        true => write!(f, "{place}: {text}"),
        false => write!(f, "{place}: {path}: {text}"),
    }
}

/// A text in which nothing moves a terminal's cursor, whoever put it there.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown
}

/// Where refusals and notes of one file are collected while it is read.
#[derive(Debug)]
pub(crate) struct Report {
    file: PathBuf,
    refusals: RefCell<Vec<Refusal>>,
    notes: RefCell<Vec<Note>>,
}

impl Report {
    pub(crate) fn new(file: &Path) -> Report {
        Report {
            file: file.to_owned(),
            refusals: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    pub(crate) fn place(&self, at: At) -> Place {
        Place {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
        }
    }

    pub(crate) fn refuse(&self, at: At, path: &str, reason: impl Into<String>) {
        self.refusals.borrow_mut().push(Refusal {
            place: self.place(at),
            path: path.to_owned(),
            reason: visible(&reason.into()),
        });
    }

    pub(crate) fn note(&self, at: At, path: &str, text: impl Into<String>) {
        self.notes.borrow_mut().push(Note {
            place: self.place(at),
            path: path.to_owned(),
            text: text.into(),
        });
    }

    /// The notes, or everything that is wrong.
    pub(crate) fn end(self) -> Result<Vec<Note>, Refusals> {
        let mut refusals = self.refusals.into_inner();
        if refusals.is_empty() {
            let mut notes = self.notes.into_inner();
            notes.sort_by_key(|one| (one.place.line, one.place.column));
            return Ok(notes);
        }
        refusals.sort_by_key(|one| (one.place.line, one.place.column));
        Err(Refusals(refusals))
    }
}
