//! The daemon's own folder: the store, and the copy of the artifact that is mapped.
//!
//! Mapped code must not change under the process: overwriting the file that a mapping reads
//! rewrites running machine code, and shortening it kills the process. So the daemon maps a copy
//! that it alone owns (0400 in a 0700 folder), named by content, and the file that the user named
//! can be replaced at any moment.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Largest artifact that is copied: 256 MiB.
pub const ARTIFACT_BYTES: u64 = 256 << 20;

/// An open, locked data folder.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held, never read: the lock ends with the descriptor, however the process ends.
    _lock: File,
    temporary: bool,
}

impl DataDir {
    /// Opens `path`, making it if it is missing; without one, a temporary folder that
    /// [`DataDir::close`] removes. Fails when another process holds it or it cannot be written.
    pub fn open(path: Option<&Path>) -> Result<DataDir> {
        let (path, temporary) = match path {
            Some(path) => (path.to_owned(), false),
            None => {
                let made = temporary_folder();
                (
                    made.map_err(|e| {
                        Error::device(
                            "cannot make a temporary data folder; name one with --data-dir",
                            e,
                        )
                    })?,
                    true,
                )
            }
        };
        let refused = |what: &str, error: io::Error| {
            Error::device(format!("data folder {}: {what}", path.display()), error)
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| refused("cannot be made; name another with --data-dir", error))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| {
                refused(
                    "cannot be written; mend its permissions or name another with --data-dir",
                    error,
                )
            })?;
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
        Ok(DataDir {
            path,
            _lock: lock,
            temporary,
        })
    }

    /// Where the key-value store lives.
    pub fn store(&self) -> PathBuf {
        self.path.join("kv")
    }

    /// Whether the folder goes with the process.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the artifact at `source` into the folder, unless the very same bytes are there
    /// already, and opens the copy. What was copied is not trusted yet: the copy's descriptor is
    /// what must be verified and mapped.
    pub fn adopt(&self, mut source: File, digest: &[u8; 32]) -> Result<File> {
        let folder = self.path.join("artifacts");
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let kept = folder.join(format!("{name}.cwasm"));
        let copy = || -> io::Result<File> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            if let Ok(existing) = File::open(&kept)
                && same_bytes(&mut source, existing)?
            {
                return File::open(&kept);
            }
            let unfinished = folder.join("incoming");
            let _ = fs::remove_file(&unfinished);
            let mut target = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(&unfinished)?;
            io::Seek::rewind(&mut source)?;
            let copied = io::copy(&mut (&mut source).take(ARTIFACT_BYTES + 1), &mut target)?;
            if copied > ARTIFACT_BYTES {
                fs::remove_file(&unfinished)?;
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "the artifact is larger than 256 MiB",
                ));
            }
            target.flush()?;
            if !self.temporary {
                target.sync_all()?;
            }
            fs::set_permissions(&unfinished, Permissions::from_mode(0o400))?;
            // Older versions are only removed now that the new one is whole.
            for entry in fs::read_dir(&folder)? {
                let entry = entry?.path();
                if entry != unfinished {
                    fs::remove_file(entry)?;
                }
            }
            fs::rename(&unfinished, &kept)?;
            File::open(&kept)
        };
        let mut copy = copy;
        copy().map_err(|error| {
            Error::device(
                format!(
                    "data folder {}: cannot keep a copy of the plugin there",
                    self.path.display()
                ),
                error,
            )
        })
    }

    /// Removes a temporary folder; does nothing to a named one.
    pub fn close(self) {
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

/// Whether both files hold the same bytes from their starts to their ends.
fn same_bytes(left: &mut File, mut right: File) -> io::Result<bool> {
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    io::Seek::rewind(left)?;
    let (mut a, mut b) = ([0; 16 << 10], [0; 16 << 10]);
    loop {
        let count = left.read(&mut a)?;
        if count == 0 {
            return Ok(true);
        }
        match right.read_exact(&mut b[..count]) {
            Ok(()) if a[..count] == b[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Makes a new folder that only this user can enter.
pub fn temporary_folder() -> io::Result<PathBuf> {
    let base = std::env::temp_dir();
    for attempt in 0..100u32 {
        let mixed = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |now| now.subsec_nanos())
            ^ attempt;
        let path = base.join(format!("zlayer-{}-{mixed:08x}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_kept_once_and_replaced_when_the_bytes_differ() {
        let folder = temporary_folder().unwrap();
        let dir = DataDir::open(Some(&folder.join("data"))).unwrap();
        let source = folder.join("plugin");
        let read = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        };
        for (digest, content) in [(1, "first"), (1, "first"), (1, "other"), (2, "second")] {
            fs::write(&source, content).unwrap();
            let copy = dir
                .adopt(File::open(&source).unwrap(), &[digest; 32])
                .unwrap();
            fs::write(&source, "overwritten").unwrap();
            assert_eq!(read(copy), content);
        }
        let kept: Vec<_> = fs::read_dir(folder.join("data/artifacts"))
            .unwrap()
            .collect();
        assert_eq!(kept.len(), 1, "older artifacts are removed");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_afterwards() {
        let folder = temporary_folder().unwrap();
        let first = DataDir::open(Some(&folder)).unwrap();
        let message = DataDir::open(Some(&folder)).unwrap_err().to_string();
        assert!(message.contains("another zlayer uses it"), "{message}");
        drop(first);
        DataDir::open(Some(&folder)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_temporary_folder_is_private_and_goes() {
        let dir = DataDir::open(None).unwrap();
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
        let message = DataDir::open(Some(&folder.join("file")))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("file") && message.contains("--data-dir"),
            "{message}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
