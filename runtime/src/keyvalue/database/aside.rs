//! What could not be read, kept for people under numbered names in the folder `aside`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many torn ends of journals, and how many databases, are kept in `aside`. When there are
/// more, the oldest of its kind is removed, so that they cannot fill the disk.
const TAILS_KEPT: usize = 8;
const DATABASES_KEPT: usize = 2;
/// The name of a torn end ends with this.
pub(super) const TAIL: &str = ".tail";

/// Moves a damaged database into `aside`.
pub(super) fn put_aside(folder: &Path, database: &Path, why: &str) -> io::Result<()> {
    let aside = new_aside(folder, &file_name(database))?;
    fs::rename(database, &aside)?;
    sync_folder(folder)?;
    log::error!(
        "key-value store: the database cannot be opened ({why}): it is put aside as {}, and an EMPTY one takes its place",
        aside.display()
    );
    Ok(())
}

/// Returns a path in `aside` that is not taken, after it has removed the oldest if there are too
/// many.
pub(super) fn new_aside(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let aside = folder.join("aside");
    if !aside.exists() {
        fs::create_dir_all(&aside)?;
        sync_folder(folder)?;
    }
    let mut kept = asides(folder)?;
    // The names are numbers and not times, because a board may not know the time.
    let number = kept.last().and_then(|last| number(last)).unwrap_or(0) + 1;
    // Databases and torn ends are counted apart, so that torn ends never push out a database.
    let is_tail = |name: &str| name.ends_with(TAIL);
    kept.retain(|path| is_tail(&file_name(path)) == is_tail(name));
    let most = if is_tail(name) {
        TAILS_KEPT
    } else {
        DATABASES_KEPT
    };
    while kept.len() >= most {
        let oldest = kept.remove(0);
        log::warn!("key-value store: {} makes room for newer", oldest.display());
        if oldest.is_dir() {
            fs::remove_dir_all(&oldest)?;
        } else {
            fs::remove_file(&oldest)?;
        }
    }
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    Ok(aside.join(format!("{number:06}-{seconds}-{name}")))
}

/// The paths in `aside`, oldest first.
pub(in crate::keyvalue) fn asides(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = match fs::read_dir(folder.join("aside")) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    found.retain(|path| number(path).is_some());
    found.sort();
    Ok(found)
}

fn number(path: &Path) -> Option<u64> {
    file_name(path).split('-').next()?.parse().ok()
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
