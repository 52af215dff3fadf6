//! What a device keeps of the bundles that it was given, and which of them it serves.
//!
//! ```text
//! DATA-DIR/deployment/blobs/SHA256     a file of a bundle, once for all bundles that hold it
//! DATA-DIR/deployment/generations/N    the head of the bundle that was installed as number N, as it was signed
//! DATA-DIR/deployment/active           the number of the generation that is served, then of those before it
//! DATA-DIR/deployment/trial        how often the active generation was started without proving itself
//! DATA-DIR/deployment/confirmed    the numbers of those that have proved themselves
//! DATA-DIR/deployment/failed       those that failed, and why
//! DATA-DIR/deployment/last             the highest number that was given
//! DATA-DIR/deployment/releases         the highest release of each deployment that was installed
//! ```
//!
//! Every file is replaced as a whole, and in this order: whoever finds a generation named in `active` finds
//! its head, and whoever finds a head finds its blobs, however a process or a device ended in between. What
//! is in a file counts once its signature or its digest was checked, which is for whoever uses it.
//!
//! Whoever changes something holds the data folder's lock.

mod activation;
mod blobs;
mod choice;
mod confirmed;
mod failed;
mod folder;
mod history;
mod install;
mod known;
mod outcome;
mod releases;
#[cfg(test)]
mod tests;
mod trial;

pub use blobs::Blobs;
pub use choice::{Choice, WentBack};
pub use history::KEPT_BEFORE;
pub use install::{Incoming, Staged};
pub use known::{STARTS, Standing, TRIAL_STARTS};

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use zlayer_bundle::{Blob, BundleError, BundleHead, MAX_BUNDLE_MANIFEST, SignatureState};

use crate::error::{Error, Result};
pub(crate) use folder::Folder;
use folder::is_damage;
use history::History;
use releases::Releases;

/// The folder of all this in a data folder.
const DEPLOYMENT: &str = "deployment";
const BLOBS: &str = "blobs";
const GENERATIONS: &str = "generations";
const ACTIVE: &str = "active";
const TRIAL: &str = "trial";
const CONFIRMED: &str = "confirmed";
const FAILED: &str = "failed";
const LAST: &str = "last";
const RELEASES: &str = "releases";
/// Bytes of a head that are read: more than any has, since its signature and lengths take some 100 bytes.
const HEAD_BYTES: u64 = MAX_BUNDLE_MANIFEST as u64 + 4096;
/// Bytes of each of the other files that are read, more than is ever written.
const FILE_BYTES: u64 = 1 << 20;

/// The generations of a data folder: the bundles that were installed in it, each with a number that no other
/// ever has.
#[derive(Debug, Clone)]
pub struct Generations {
    data: PathBuf,
}

/// The folders, open to be written to.
struct Kept {
    deployment: Folder,
    generations: Folder,
    blobs: Blobs,
}

impl Generations {
    /// Those of a data folder. Nothing is read or made yet.
    pub fn of(data_dir: &Path) -> Generations {
        Generations {
            data: data_dir.to_owned(),
        }
    }

    /// The generation that is served. None: nothing is installed.
    ///
    /// # Errors
    ///
    /// The file that says so is damaged or cannot be read.
    pub fn active(&self) -> Result<Option<u64>> {
        Ok(self.history()?.active())
    }

    /// The generation that was served before the active one, and did not fail.
    ///
    /// # Errors
    ///
    /// As of [`Generations::active`].
    pub fn previous(&self) -> Result<Option<u64>> {
        let known = self.surely_known()?;
        let mut before = known.history.before().iter().copied();
        Ok(before.find(|one| known.failed.reason(*one).is_none()))
    }

    /// The numbers of all that are kept, in their order.
    ///
    /// # Errors
    ///
    /// Their folder cannot be read.
    pub fn list(&self) -> Result<Vec<u64>> {
        let names = match self.folder(GENERATIONS) {
            Ok(folder) => folder.names(),
            Err(error) => Err(error),
        };
        let names = missing_as(Vec::new(), names);
        let names = names.map_err(|error| self.unreadable(Path::new(GENERATIONS), error))?;
        let numbers = names.iter().filter_map(|name| {
            let number: u64 = name.parse().ok()?;
            (number.to_string() == *name).then_some(number)
        });
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// What a generation's bundle says about itself. Nobody's signature was asked for yet.
    ///
    /// # Errors
    ///
    /// There is no such generation, or its file is damaged or cannot be read.
    pub fn head(&self, number: u64) -> Result<BundleHead> {
        let bytes = self.head_bytes(number)?;
        let mut rest = bytes.as_slice();
        let head = BundleHead::read(&mut rest).and_then(|head| match rest {
            [] => Ok(head),
            _ => Err(BundleError::TooLong),
        });
        head.map_err(|source| {
            let path = self.path(&generation(number));
            Error::Bundle { path, source }.kept()
        })
    }

    /// The files of the bundles. None: nothing was ever installed.
    ///
    /// # Errors
    ///
    /// Their folder cannot be opened.
    pub fn blobs(&self) -> Result<Option<Blobs>> {
        let folder = self.folder(BLOBS).map(|folder| Some(Blobs::new(folder)));
        missing_as(None, folder).map_err(|error| self.unreadable(Path::new(BLOBS), error))
    }

    /// Removes all generations but the active one, the [`KEPT_BEFORE`] before it, and the last good one if it is none
    /// of these; and then whatever none of them needs.
    ///
    /// # Errors
    ///
    /// What is active is not known, what one of them needs is not known, or something cannot be removed.
    pub fn forget(&self) -> Result<()> {
        let known = self.surely_known()?;
        let needed = known.kept();
        let kept = self.make()?;
        let mut all = self.list()?;
        self.keep_last(&kept, &known.history)?;
        let removed = all.extract_if(.., |one| !needed.contains(one));
        let unwritable = |error| self.unwritable(error);
        for number in removed {
            let name = number.to_string();
            kept.generations.remove(&name).map_err(unwritable)?;
        }
        // Before the blobs, so that after a power cut none is there that lacks one.
        kept.generations.sync().map_err(unwritable)?;
        let confirmed = known.confirmed.of(&needed);
        self.write_or_remove(&kept, CONFIRMED, &confirmed.to_string())?;
        let failed = known.failed.of(&needed);
        self.write_or_remove(&kept, FAILED, &failed.to_string())?;
        if needed.is_empty() {
            self.write_or_remove(&kept, TRIAL, "")?;
        }
        self.forget_blobs_but(&[])
    }

    /// Removes the blobs that neither a kept generation names nor `these`, and what was not finished.
    ///
    /// # Errors
    ///
    /// What a generation needs is not known, or something cannot be removed.
    pub fn forget_blobs_but(&self, these: &[Blob]) -> Result<()> {
        let kept = self.make()?;
        let unwritable = |error| self.unwritable(error);
        kept.remove_unfinished().map_err(unwritable)?;
        let mut named: BTreeSet<String> = these.iter().map(Blob::name).collect();
        for number in self.list()? {
            let head = self.head(number)?;
            named.extend(head.manifest.blobs.iter().map(Blob::name));
        }
        let folder = kept.blobs.folder();
        for name in folder.names().map_err(unwritable)? {
            if !named.contains(&name) {
                folder.remove(&name).map_err(unwritable)?;
            }
        }
        folder.sync().map_err(unwritable)
    }

    /// Removes everything but the memory of what was installed: which numbers were given, and which releases
    /// came. Answers which generation was active.
    ///
    /// # Errors
    ///
    /// Something cannot be written, or what says that something is installed cannot be removed.
    pub fn uninstall(&self) -> Result<Option<u64>> {
        let known = self.known();
        let kept = self.make()?;
        self.keep_last(&kept, &known.history)?;
        let releases = self.releases(&known.history)?;
        self.write(&kept, RELEASES, &releases.text())?;
        let unwritable = |error| self.unwritable(error);
        kept.deployment.remove(ACTIVE).map_err(unwritable)?;
        // Nothing is installed any more, whatever is left of it: the next install removes that.
        let rest = { kept.deployment.sync() }.map_err(unwritable);
        if let Err(error) = rest.and_then(|()| self.forget()) {
            log::warn!("what was uninstalled is not removed from the disk as a whole: {error}");
        }
        Ok(known.active())
    }

    /// The releases that were installed: those in the file, and those of the generations that were active, for
    /// whoever installed the last one may have been stopped before it was in the file.
    fn releases(&self, history: &History) -> Result<Releases> {
        let (mut releases, damaged) = Releases::read(&self.read(RELEASES)?.unwrap_or_default());
        if damaged > 0 {
            let path = self.path(Path::new(RELEASES));
            log::warn!("{}: lines that make no sense are left out", path.display());
        }
        for number in history.numbers() {
            // One that is damaged says nothing.
            if let Ok(head) = self.head(*number)
                && matches!(head.signature, SignatureState::Valid(_))
            {
                releases.note(&head.manifest.deployment, head.bytes());
            }
        }
        Ok(releases)
    }

    /// Keeps the highest number that was given, for when its generation is gone.
    fn keep_last(&self, kept: &Kept, history: &History) -> Result<()> {
        self.write(kept, LAST, &format!("{}\n", self.last(history)?))
    }

    /// The highest number that was given: the file says it, and if it is damaged, what is there does.
    fn last(&self, history: &History) -> Result<u64> {
        let file = self.small(LAST, |bytes| {
            let text = std::str::from_utf8(bytes).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        });
        let file: Option<u64> = file.unwrap_or_else(|error| {
            log::warn!("{error}: numbers go on from those that are here");
            None
        });
        let all = self.list()?;
        let known = file.iter().chain(&all).chain(history.numbers());
        Ok(known.copied().max().unwrap_or(0))
    }

    /// The history. One that is missing is none: who uninstalls removes it first.
    fn history(&self) -> Result<History> {
        const MEND: &str = "nobody knows which generation is active: name one with `zlayer rollback --to N` \
                            (`zlayer generations` shows them), or install a bundle";
        let history = self.small(ACTIVE, History::read);
        let history = history.map_err(|error| match error {
            Error::Refused(damaged) => Error::Refused(format!("{damaged}; {MEND}")),
            Error::Device { what, source } => Error::Device {
                what: format!("{what}; {MEND}"),
                source,
            },
            other => other,
        })?;
        Ok(history.unwrap_or_default())
    }

    /// What a small file says. None: it is not there.
    ///
    /// # Errors
    ///
    /// It makes no sense, or is no file of the daemon's: [`Error::Refused`]. It cannot be read, which may pass:
    /// another error.
    fn small<T>(&self, name: &str, read: fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let damaged = match self.read(name) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => match read(&bytes) {
                Some(said) => return Ok(Some(said)),
                None => "is damaged".to_owned(),
            },
            Err(Error::Device { source, .. }) if is_damage(&source) => {
                format!("is damaged: {source}")
            }
            Err(error) => return Err(error),
        };
        let path = self.path(name.as_ref());
        Err(Error::Refused(format!("{} {damaged}", path.display())))
    }

    fn head_bytes(&self, number: u64) -> Result<Vec<u8>> {
        let read = |folder: Folder| folder.read(&number.to_string(), HEAD_BYTES);
        match self.folder(GENERATIONS).and_then(read) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let all: Vec<String> = self.list()?.iter().map(u64::to_string).collect();
                Err(Error::Refused(format!(
                    "there is no generation {number} in {}; there is {}",
                    self.data.display(),
                    match all.as_slice() {
                        [] => "none".to_owned(),
                        all => all.join(", "),
                    }
                )))
            }
            Err(error) => Err(self.unreadable(&generation(number), error)),
        }
    }

    /// A file beside the folders. None: it is not there.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let read = Folder::open(&self.data)
            .and_then(|data| data.below(DEPLOYMENT))
            .and_then(|folder| folder.read(name, FILE_BYTES).map(Some));
        missing_as(None, read).map_err(|error| self.unreadable(Path::new(name), error))
    }

    /// Replaces a file beside the folders, if it says something else.
    fn write(&self, kept: &Kept, name: &str, text: &str) -> Result<()> {
        let is_there = self.read(name).is_ok_and(|found| {
            let found = found.unwrap_or_default();
            found == text.as_bytes()
        });
        if is_there {
            return Ok(());
        }
        let written = kept.deployment.replace_text(name, text.as_bytes());
        written.map_err(|error| self.unwritable(error))
    }

    /// As [`Generations::write`]; a file that would say nothing is removed.
    fn write_or_remove(&self, kept: &Kept, name: &str, text: &str) -> Result<()> {
        if !text.is_empty() {
            return self.write(kept, name, text);
        }
        if matches!(self.read(name), Ok(None)) {
            return Ok(());
        }
        let removed = { kept.deployment.remove(name) }.and_then(|()| kept.deployment.sync());
        removed.map_err(|error| self.unwritable(error))
    }

    /// One of the two folders, if it is there.
    fn folder(&self, name: &str) -> io::Result<Folder> {
        let folder = Folder::open(&self.data)?;
        folder.below(DEPLOYMENT)?.below(name)
    }

    fn make(&self) -> Result<Kept> {
        let make = || {
            let deployment = Folder::open(&self.data)?.make_below(DEPLOYMENT)?;
            Ok(Kept {
                generations: deployment.make_below(GENERATIONS)?,
                blobs: Blobs::new(deployment.make_below(BLOBS)?),
                deployment,
            })
        };
        make().map_err(|error| self.unwritable(error))
    }

    fn path(&self, name: &Path) -> PathBuf {
        self.data.join(DEPLOYMENT).join(name)
    }

    fn unreadable(&self, name: &Path, error: io::Error) -> Error {
        let what = format!("cannot read {}", self.path(name).display());
        Error::device(what, error)
    }

    fn unwritable(&self, error: io::Error) -> Error {
        let path = self.path(Path::new(""));
        let what = format!(
            "cannot write to {}: see that it is on a file system with room that is mounted for writing, and \
             this account's",
            path.display()
        );
        Error::device(what, error)
    }
}

/// The name of a generation's file beside the other files.
fn generation(number: u64) -> PathBuf {
    Path::new(GENERATIONS).join(number.to_string())
}

/// `default` for what is not there.
fn missing_as<T>(default: T, found: io::Result<T>) -> io::Result<T> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(default),
        other => other,
    }
}
