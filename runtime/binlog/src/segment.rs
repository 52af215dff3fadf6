//! Segment files: their names and their folder.

use std::io;
use std::path::{Path, PathBuf};

/// What segments' names end with.
const ENDING: &str = ".zlog";

/// One file of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number: a higher one is younger.
    pub number: u32,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The name of the segment with this number.
pub fn segment_name(number: u32) -> String {
    format!("{number:08}{ENDING}")
}

/// The segments in `folder`, oldest first. Other files are not looked at.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        // No ring gets there: somebody else put it here, and no number would be left behind it.
        if number == u32::MAX {
            continue;
        }
        // It may have gone while we looked.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_file() && *segment_name(number) == *name {
            let (path, bytes) = (entry.path(), about.len());
            found.push(Segment {
                number,
                path,
                bytes,
            });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}
