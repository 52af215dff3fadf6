//! Where the plugins of a daemon come from.

use std::fs::File;
use std::path::PathBuf;

use zlayer_bundle::VerifiedBundle;

/// Where the plugins of a daemon come from.
#[derive(Debug)]
pub enum Source {
    /// Their files, in the order in which they take part.
    Files(Vec<PathBuf>),
    /// A bundle that is not installed.
    Bundle {
        /// What it is called, for people.
        path: PathBuf,
        /// The open file, whose cursor may stand anywhere.
        file: File,
        /// What stands before its blobs.
        head: Box<VerifiedBundle>,
    },
    /// What is installed in the data folder.
    Generation {
        /// Its number.
        number: u64,
        /// What stood before the blobs of its bundle.
        head: Box<VerifiedBundle>,
    },
    /// There are none.
    Nothing {
        /// Why: whoever asks the daemon is told of it.
        why: String,
        /// Whether something is installed all the same, which cannot be served.
        is_installed: bool,
        /// What stood before the blobs of its bundle, where that can be read.
        unserved: Option<Box<VerifiedBundle>>,
    },
}

impl Source {
    /// How many plugins there are.
    pub fn len(&self) -> usize {
        match self {
            Source::Files(files) => files.len(),
            Source::Nothing { .. } => 0,
            Source::Bundle { head, .. } | Source::Generation { head, .. } => {
                head.manifest().deployment.services.len()
            }
        }
    }

    /// Whether there is no plugin.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The head of the bundle that they come from, where they do.
    pub fn head(&self) -> Option<&VerifiedBundle> {
        match self {
            Source::Files(_) | Source::Nothing { .. } => None,
            Source::Bundle { head, .. } | Source::Generation { head, .. } => Some(head),
        }
    }

    /// The head of a bundle that cannot be served, and whose ports are to tell of that.
    pub fn unserved(&self) -> Option<&VerifiedBundle> {
        match self {
            Source::Nothing { unserved, .. } => unserved.as_deref(),
            _ => None,
        }
    }
}
