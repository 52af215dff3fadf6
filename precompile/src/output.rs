//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

/// Writes a file with permissions `mode`, replacing any older one in a single step. A
/// reader sees the old file or the new one, and a crash leaves no half of either.
///
/// # Errors
///
/// When the folder cannot be written to.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_pieces_atomically(path, &[bytes], mode)
}

/// Which of these inputs a file would be written over: one that is the same file, by whatever name. What is not there,
/// and what is no path at all, is none.
pub fn overwritten<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Option<&'a Path> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let output = identity(output)?;
    let mut inputs = inputs.into_iter();
    inputs.find(|input| identity(input) == Some(output))
}

/// As [`write_atomically`], for a file that is made of these pieces, one behind the other.
///
/// # Errors
///
/// When the folder cannot be written to.
pub fn write_pieces_atomically(path: &Path, pieces: &[&[u8]], mode: u32) -> Result<()> {
    write_atomically_with(path, mode, |file| {
        let mut pieces = pieces.iter();
        let written = pieces.try_for_each(|piece| file.write_all(piece));
        written.with_context(|| format!("cannot write {}", path.display()))
    })
}

/// As [`write_atomically`], for a file that is filled piece by piece. What `fill` wrote before it failed is
/// gone.
///
/// # Errors
///
/// Those of `fill`, and when the folder cannot be written to.
pub fn write_atomically_with(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let (staged, mut file) = Staged::begin(path, mode).with_context(failed)?;
    fill(&mut file)?;
    finish(&file, mode).with_context(failed)?;
    fs::rename(&staged.path, path).with_context(failed)
}

/// Writes a file with permissions `mode`, unless there is one already. Of several
/// processes that try at once, one wins and the others see its whole file.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] when there is one, and whatever else the system says.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (staged, mut file) = Staged::begin(path, mode)?;
    file.write_all(bytes)?;
    finish(&file, mode)?;
    // Unlike a rename, a link never replaces anything.
    match fs::hard_link(&staged.path, path) {
        // A file system without permissions has no second names, either.
        Err(error) if mode & 0o044 != 0 && has_no_modes(&error) => {
            let mut file = create(path, mode)?;
            file.write_all(bytes)?;
            file.sync_all()
        }
        linked => linked,
    }
}

/// Whether an error says that the file system has no permissions, or no second names.
fn has_no_modes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

/// A file beside its final place. It is removed when it is dropped, if it is still there.
struct Staged {
    path: PathBuf,
}

impl Staged {
    fn begin(beside: &Path, mode: u32) -> io::Result<(Staged, File)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = beside
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_string_lossy();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}.{}.{count}.tmp", std::process::id());
        let path = beside.with_file_name(temporary);
        let file = create(&path, mode)?;
        Ok((Staged { path }, file))
    }
}

/// Gives a file that was written its permissions, and waits until it is stored.
fn finish(file: &File, mode: u32) -> io::Result<()> {
    // The umask may have taken permissions away that the caller asked for.
    match set_mode(file, mode) {
        // Sticks have file systems without permissions, and take whatever others may read.
        Err(error) if mode & 0o044 != 0 && has_no_modes(&error) => {}
        Err(error) if has_no_modes(&error) => {
            return Err(io::Error::new(
                error.kind(),
                "this file system keeps no permissions (FAT and exFAT do not), so every account could \
                 read the secret key; choose a folder on another one, and copy only the .pub here",
            ));
        }
        set => set?,
    }
    file.sync_all()
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename it is gone already, which is the usual case.
        let _ = fs::remove_file(&self.path);
    }
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(mode))
}
