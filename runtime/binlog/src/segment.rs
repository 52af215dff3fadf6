//! Segment files: their names, and how to find them in a folder.

use std::io;
use std::path::{Path, PathBuf};

/// The names of segments end with this.
const ENDING: &str = ".zlog";

/// One file of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The segment's number. A higher one is younger.
    pub number: u32,
    /// The path of the file.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// The file name of the segment with this number.
pub fn segment_name(number: u32) -> String {
    format!("{number:08}{ENDING}")
}

/// The segments in `folder`, oldest first. Other files are ignored.
///
/// # Errors
///
/// The folder cannot be read.
pub fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        // No ring gets to this number, so somebody else has put the file here. No number could
        // follow it.
        if number == u32::MAX {
            continue;
        }
        // The file may have been removed meanwhile.
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
