//! The files of bundles, each once, by their content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zlayer_bundle::{Blob, BundleError, copy_blob};

use super::folder::Folder;
use super::{BLOBS, DEPLOYMENT};
use crate::error::{Error, Result};

/// The files of the bundles that a device keeps, in `DATA-DIR/deployment/blobs`. Each has its SHA-256 for its
/// name, in lower-case hexadecimal digits, and mode 0400.
pub struct Blobs {
    folder: Folder,
}

impl Blobs {
    /// Those of a data folder; their folder is made if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn make(data_dir: &Path) -> Result<Blobs> {
        let made = Folder::open(data_dir)
            .and_then(|data| data.make_below(DEPLOYMENT))
            .and_then(|folder| folder.make_below(BLOBS));
        let what = || {
            let path = data_dir.join(DEPLOYMENT).join(BLOBS);
            format!("cannot make the folder {}", path.display())
        };
        let folder = made.map_err(|error| Error::device(what(), error))?;
        Ok(Blobs { folder })
    }

    pub(super) fn new(folder: Folder) -> Blobs {
        Blobs { folder }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Opens one. Only the daemon's account or root can have written it. An artifact is checked before it is
    /// mapped by its own signature and digest, which say whose code it is; that it is the very file that the
    /// bundle named is checked when it is taken in.
    ///
    /// # Errors
    ///
    /// It is missing, or it is none of the daemon's own, or it has another length.
    pub fn open(&self, blob: &Blob) -> Result<File> {
        self.try_open(blob)
            .map_err(|error| self.unusable(blob, error))
    }

    /// Takes in all of a bundle's that are not here; `from` stands before the first of them, and `bundle` names it
    /// for people.
    ///
    /// # Errors
    ///
    /// The bundle is damaged, or they cannot be written.
    pub fn take_all(&self, blobs: &[Blob], mut from: impl Read, bundle: &Path) -> Result<()> {
        let needed = self.missing(blobs);
        let mut taken = blobs.iter().map(|blob| self.stage(blob, &mut from));
        let taken = taken.try_for_each(|staged| staged.map(drop));
        taken.map_err(|error| self.refused(error, bundle, needed))
    }

    /// Takes one in from a bundle, unless it is here; answers whether it was missing. One that is here
    /// is read, and written anew if it is damaged.
    ///
    /// # Errors
    ///
    /// The bundle ends early or holds something else, or it cannot be written.
    pub(super) fn stage(
        &self,
        blob: &Blob,
        from: &mut impl Read,
    ) -> std::result::Result<bool, BundleError> {
        let kept = self.try_open(blob);
        let is_missing = matches!(&kept, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if kept.is_ok_and(|mut file| copy_blob(blob, &mut file, &mut io::sink()).is_ok()) {
            return pass(blob.len, from).map(|()| false);
        }
        if !is_missing {
            log::warn!(
                "{} is damaged: it is written anew",
                self.folder.path(&blob.name()).display()
            );
        }
        let written = self.folder.replace(&blob.name(), |file| {
            copy_blob(blob, from, file).map_err(Staging)
        });
        written.map_err(|staging| staging.0)?;
        Ok(is_missing)
    }

    /// Why a bundle could not be taken in: the bundle at `bundle` is at fault, or this file system, where `needed`
    /// bytes were to be written.
    pub(super) fn refused(&self, error: BundleError, bundle: &Path, needed: u64) -> Error {
        let BundleError::Write(source) = error else {
            return Error::Bundle {
                path: bundle.to_owned(),
                source: error,
            };
        };
        let path = self.folder.path("");
        let path = path.display();
        let is_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let free = self.folder.free().ok().filter(|_| is_full);
        let what = match free {
            Some(free) => format!(
                "{path}: there is no room for the bundle, which needs {needed} bytes there, and {free} are free: \
                 free some more"
            ),
            None if source.kind() == io::ErrorKind::FileTooLarge => format!(
                "{path}: this process may not write files as large as the bundle's: raise `ulimit -f` (systemd: LimitFSIZE=)"
            ),
            None => format!("{path}: cannot write what the bundle holds"),
        };
        Error::device(what, source)
    }

    /// Bytes of those that are not here.
    pub(super) fn missing(&self, blobs: &[Blob]) -> u64 {
        let missing = blobs.iter().filter(|blob| self.try_open(blob).is_err());
        missing.fold(0, |sum, blob| sum.saturating_add(blob.len))
    }

    fn try_open(&self, blob: &Blob) -> io::Result<File> {
        let file = self.folder.file(&blob.name())?;
        match file.metadata()?.len() {
            len if len == blob.len => Ok(file),
            len => Err(io::Error::other(format!(
                "it has {len} bytes and should have {}",
                blob.len
            ))),
        }
    }

    fn unusable(&self, blob: &Blob, error: io::Error) -> Error {
        let path = self.folder.path(&blob.name());
        let what = format!("{}: install its bundle again", path.display());
        Error::device(what, error)
    }
}

/// Passes over what a bundle has of a blob that is here.
fn pass(len: u64, from: &mut impl Read) -> std::result::Result<(), BundleError> {
    match io::copy(&mut from.take(len), &mut io::sink())? {
        passed if passed == len => Ok(()),
        _ => Err(BundleError::Truncated),
    }
}

/// Why a blob is not here: whatever the folder says is about writing.
struct Staging(BundleError);

impl From<io::Error> for Staging {
    fn from(error: io::Error) -> Staging {
        Staging(BundleError::Write(error))
    }
}
