//! Folders that go with the process that made them; where that was killed, with the next one that makes one.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use zlayer_bundle::own_account;

/// What the names of such folders begin with.
const HELD: &str = "zlayer-held-";
/// Names that are tried.
const ATTEMPTS: u32 = 100;

/// A new folder that only this user can enter. It is removed with this value. As long as the process lives, it shares the
/// folder's lock, which ends with it however it ends: a folder that nobody locks was left behind, whatever numbers
/// processes have in whichever container.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
    /// None: somebody else removes it.
    held: Option<File>,
}

impl TemporaryFolder {
    /// Makes one, and removes those that were left behind.
    ///
    /// # Errors
    ///
    /// There is no place for it, or no locks there.
    pub fn make() -> io::Result<TemporaryFolder> {
        let base = std::env::temp_dir();
        remove_left(&base);
        TemporaryFolder::make_in(&base, File::try_lock_shared)
    }

    fn make_in(base: &Path, share: Lock) -> io::Result<TemporaryFolder> {
        for attempt in 0..ATTEMPTS {
            let path = base.join(format!("{HELD}{}", mixed(attempt)));
            match make(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let held = hold(&path, share).map_err(|error| {
                // It is empty, and nobody else's.
                let _ = fs::remove_dir(&path);
                let what = format!(
                    "a folder in {} cannot be locked ({error}), where the environment variable TMPDIR may name another",
                    base.display()
                );
                io::Error::new(error.kind(), what)
            })?;
            // Whoever looks for what was left may just have taken it for that, and removes it.
            if held.is_some() {
                return Ok(TemporaryFolder { path, held });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path, and its lock: whoever has them removes it.
    pub(super) fn into_parts(mut self) -> (PathBuf, Option<File>) {
        (self.path.clone(), self.held.take())
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.held.is_none() {
            return;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Removes the folders of this account's that nobody holds any more. Who cannot look leaves them to the next one.
fn remove_left(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(HELD) {
            continue;
        }
        if let Ok(Some(_held)) = lock(&path, File::try_lock) {
            match fs::remove_dir_all(&path) {
                Ok(()) => log::debug!("{}: left by a process that was killed", path.display()),
                Err(error) => log::debug!("cannot remove {}: {error}", path.display()),
            }
        }
    }
}

/// Holds a folder of this account's as long as the answer is kept. None: it is being removed, or gone, or cannot be
/// locked.
pub(super) fn share(path: &Path) -> Option<File> {
    hold(path, File::try_lock_shared).ok().flatten()
}

fn hold(path: &Path, share: Lock) -> io::Result<Option<File>> {
    match lock(path, share) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        held => held,
    }
}

/// How a folder is locked.
type Lock = fn(&File) -> Result<(), TryLockError>;

/// Locks a folder of this account's. None: another has the lock, or the folder is gone.
fn lock(path: &Path, how: Lock) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(open(path, flags, Mode::empty())?);
    let opened = folder.metadata()?;
    if opened.uid() != own_account() {
        return Ok(None);
    }
    match how(&folder) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let is_there = fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
    Ok(is_there.then_some(folder))
}

/// Makes a new folder that only this user can enter, which stays until somebody removes it; returns its path.
#[cfg(test)]
pub fn temporary_folder() -> io::Result<PathBuf> {
    for attempt in 0..ATTEMPTS {
        let path = std::env::temp_dir().join(format!("zlayer-{}", mixed(attempt)));
        match make(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// A name that hardly anybody else chooses at the same time.
fn mixed(attempt: u32) -> String {
    let now = std::time::UNIX_EPOCH.elapsed();
    let mixed = now.map_or(0, |now| now.subsec_nanos()) ^ attempt;
    format!("{}-{mixed:08x}", std::process::id())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_is_private_and_goes_with_its_value() {
        let folder = TemporaryFolder::make().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::write(path.join("file"), "text").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn where_there_are_no_locks_that_is_said_and_nothing_is_left() {
        let base = temporary_folder().unwrap();
        let no_locks = |_: &File| Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        let told = TemporaryFolder::make_in(&base, no_locks).unwrap_err();
        let told = told.to_string();
        assert!(
            told.contains("cannot be locked") && told.contains("TMPDIR"),
            "{told}"
        );
        assert!(fs::read_dir(&base).unwrap().next().is_none());
        // Whoever has the lock of one removes it.
        let taken = |_: &File| Err(TryLockError::WouldBlock);
        let told = TemporaryFolder::make_in(&base, taken).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn what_nobody_holds_any_more_goes_with_the_next_one() {
        let base = temporary_folder().unwrap();
        let left = |name: &str| base.join(name);
        for name in ["zlayer-held-1", "zlayer-held-2", "zlayer-1", "other"] {
            make(&left(name)).unwrap();
            fs::write(left(name).join("file"), "text").unwrap();
        }
        symlink(left("other"), left("zlayer-held-3")).unwrap();
        // The process that made it may end before the one that it gave it to.
        let [maker, user] = [(); 2].map(|()| share(&left("zlayer-held-2")));
        assert!(maker.is_some() && user.is_some());
        drop(maker);
        remove_left(&base);
        let there = |name: &str| left(name).join("file").exists();
        assert!(!left("zlayer-held-1").exists());
        assert!(there("zlayer-held-2") && there("zlayer-1") && there("other"));
        drop(user);
        remove_left(&base);
        assert!(!left("zlayer-held-2").exists());
        remove_left(&left("missing"));
        fs::remove_dir_all(&base).unwrap();
    }
}
