//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use zlayer_bundle::check_regular;

/// What the names of files end with that are being written: `.NAME.PROCESS.COUNT.tmp`, beside `NAME`.
const STAGED: &str = ".tmp";

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
        // A device would go: the file comes into its place, and is not written into it.
        if let Ok(found) = fs::metadata(beside) {
            check_regular(&found)?;
        }
        let name = beside
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_string_lossy();
        let start = format!(".{name}.");
        remove_left(beside, &start);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path =
                beside.with_file_name(format!("{start}{}.{count}{STAGED}", std::process::id()));
            let file = create(&path, mode)?;
            // Whoever looks for what was left may just have taken it for that. File systems without locks have nobody
            // who does.
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            let staged = Staged { path };
            if !is_taken && staged.path.exists() {
                return Ok((staged, file));
            }
        }
    }
}

/// Removes what was left beside a file by processes that were killed while they wrote it: its lock goes with the process
/// that has it, and nobody has theirs.
fn remove_left(beside: &Path, start: &str) {
    let folder = beside.parent().unwrap_or(Path::new(""));
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix(start);
        let number = number.and_then(|rest| rest.strip_suffix(STAGED));
        let is_staged = number.is_some_and(|number| {
            let mut parts = number.split('.');
            let mut is_number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
            is_number() && is_number() && parts.next().is_none()
        });
        // No link is followed: it is no file.
        if is_staged
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_that_writes_the_file() {
        let folder = std::env::temp_dir().join(format!("zlayer-output-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        for name in [
            ".a.zlb.7.0.tmp",
            ".a.zlb.7.1.tmp",
            ".a.zlb.x.0.tmp",
            ".a.zlb.7.tmp",
            ".b.zlb.7.0.tmp",
            "a.zlb.7.0.tmp",
        ] {
            fs::write(at(name), "half").unwrap();
        }
        fs::create_dir(at(".a.zlb.8.0.tmp")).unwrap();
        // Somebody is at work on this one.
        let working = File::open(at(".a.zlb.7.1.tmp")).unwrap();
        working.try_lock().unwrap();
        write_atomically(&at("a.zlb"), b"whole", 0o600).unwrap();
        let names = || {
            let entries = fs::read_dir(&folder).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let mut left = vec![
            ".a.zlb.7.1.tmp",
            ".a.zlb.7.tmp",
            ".a.zlb.8.0.tmp",
            ".a.zlb.x.0.tmp",
            ".b.zlb.7.0.tmp",
            "a.zlb",
            "a.zlb.7.0.tmp",
        ];
        assert_eq!(names(), left);
        drop(working);
        write_atomically(&at("a.zlb"), b"again", 0o600).unwrap();
        left.remove(0);
        assert_eq!(names(), left);
        fs::remove_dir_all(&folder).unwrap();
    }
}
