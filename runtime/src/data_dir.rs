//! The daemon's own folder: the store, the log, and the copies of the artifacts that are mapped.

mod copies;
mod guard;
mod temporary;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use zlayer_bundle::{Exposure, own_account};

use crate::error::{Error, Result};
use guard::Guard;
pub use temporary::TemporaryFolder;
#[cfg(test)]
pub use temporary::temporary_folder;

/// The name of the file that a daemon locks while it uses the folder.
const LOCK: &str = "lock";
/// The name of the file with the last time that was known to be right.
const TIME: &str = "clock";

/// An open, locked data folder.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock. The lock ends with the descriptor, however the process ends.
    _lock: File,
    temporary: bool,
    /// Of a temporary one: without it others would take it for left behind.
    _held: Option<File>,
}

impl DataDir {
    /// Opens `path`, and makes it if it is missing. Without a path, makes a temporary folder that
    /// [`DataDir::close`] removes. Whatever others could use in it is closed to them ([`guard`]); if
    /// this process is about to become another account, the `heir`, all will be that account's.
    ///
    /// # Errors
    ///
    /// Another process holds the folder, it cannot be written to, or others could change or exchange
    /// what is in it.
    pub fn open(path: Option<&Path>, heir: Option<(Uid, Gid)>) -> Result<DataDir> {
        let (path, held) = match path {
            Some(path) => (path.to_owned(), None),
            None => {
                let made = TemporaryFolder::make();
                made.map(TemporaryFolder::into_parts).map_err(|error| {
                    Error::device(
                        "cannot make a temporary data folder; name one with --data-dir",
                        error,
                    )
                })?
            }
        };
        let refused = |what: &str, error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => {
                    "its file system is mounted read-only; mount it for writing, or name another with --data-dir"
                }
                _ => what,
            };
            Error::device(format!("data folder {}: {hint}", path.display()), error)
        };
        let untrusted = |error| {
            refused(
                "it is not safe to use; mend it or name another with --data-dir",
                error,
            )
        };
        make_folder(&path)
            .map_err(|error| refused("cannot be made; name another with --data-dir", error))?;
        let guard = match heir {
            Some(heir) => Guard::open_for(&path, heir),
            None => Guard::open(&path, own_account()),
        };
        let guard = guard.map_err(untrusted)?;
        guard.close_folder().map_err(untrusted)?;
        let lock = guard.open_file(LOCK).map_err(|error| {
            refused(
                "cannot be written; mend its permissions or name another with --data-dir",
                error,
            )
        })?;
        let lock = File::from(lock);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let busy = io::Error::from(io::ErrorKind::ResourceBusy);
                return Err(refused(
                    "another zlayer uses it; stop that one or name another with --data-dir",
                    busy,
                ));
            }
            Err(TryLockError::Error(error)) => return Err(refused("cannot be locked", error)),
        }
        guard.close_contents().map_err(untrusted)?;
        if let Some((folder, exposure)) = Exposure::above(&path) {
            log::warn!(
                "data folder {}: others could put another in its place, for {} lies above it and {exposure}; run `{}`",
                path.display(),
                folder.display(),
                exposure.mend(&folder)
            );
        }
        Ok(DataDir {
            path,
            _lock: lock,
            temporary: held.is_some(),
            _held: held,
        })
    }

    /// Whether the account that this process has by now can get to the folder.
    ///
    /// # Errors
    ///
    /// A folder above it does not let that account through.
    pub fn reach(&self) -> Result<()> {
        match fs::symlink_metadata(self.path.join(LOCK)) {
            Ok(_) => Ok(()),
            Err(error) => Err(unreachable_for(&self.path, own_account(), error)),
        }
    }

    /// The time that an earlier run kept with [`DataDir::keep_time`].
    pub fn kept_time(&self) -> Option<u64> {
        // A number and the end of its line.
        let mut text = String::new();
        let file = File::open(self.path.join(TIME)).ok()?;
        file.take(32).read_to_string(&mut text).ok()?;
        text.trim_end().parse().ok()
    }

    /// Keeps a time in a data `folder` for the next start, in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn keep_time(folder: &Path, seconds: u64) -> io::Result<()> {
        let unfinished = folder.join(format!("{TIME}.incoming"));
        let mut file = File::create(&unfinished)?;
        file.write_all(format!("{seconds}\n").as_bytes())?;
        // Whole or not at all, also after a power cut.
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(TIME))
    }

    /// The path of the key-value store.
    pub fn store(&self) -> PathBuf {
        self.path.join("kv")
    }

    /// Whether the folder is removed when the process ends.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same folder, which is to be removed when the process ends, though it was named.
    pub fn temporary(self) -> DataDir {
        DataDir {
            _held: temporary::share(&self.path),
            temporary: true,
            ..self
        }
    }

    /// Removes a temporary folder; does nothing to a named one.
    pub fn close(&self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::warn!(
                "cannot remove the temporary folder {}: {error}",
                self.path.display()
            );
        }
    }
}

/// The account `uid` cannot get to the data folder `path`.
pub fn unreachable_for(path: &Path, uid: u32, error: io::Error) -> Error {
    let told = format!(
        "data folder {}: account {uid} of --user cannot get to it; \
         let all pass the folders above it (chmod o+x), or name another with --data-dir",
        path.display()
    );
    Error::device(told, error)
}

/// Makes a folder that only this user can enter, if it is missing. Those above it that are missing
/// too are made as a shell does it, since nobody but the daemon's account may have to pass them.
fn make_folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.exists()) {
        let own = rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let made = DirBuilder::new().recursive(true).create(above);
        rustix::process::umask(own);
        made?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_afterwards() {
        let folder = temporary_folder().unwrap();
        let first = DataDir::open(Some(&folder), None).unwrap();
        let message = DataDir::open(Some(&folder), None).unwrap_err().to_string();
        assert!(message.contains("another zlayer uses it"), "{message}");
        drop(first);
        DataDir::open(Some(&folder), None).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_temporary_folder_is_private_and_goes() {
        let dir = DataDir::open(None, None).unwrap();
        let path = dir.path().to_owned();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        dir.close();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_where_the_folder_should_be_is_named() {
        let folder = temporary_folder().unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let message = DataDir::open(Some(&folder.join("file")), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("file") && message.contains("--data-dir"),
            "{message}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
