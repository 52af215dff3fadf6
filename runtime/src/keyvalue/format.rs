//! Which version of its format a database on the disk has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file of a database that tells, and what it begins with; behind that is the version, a byte.
const MARKER: &str = "version";
const MAGIC: [u8; 3] = *b"FJL";
/// The version that the fjall of this program writes, and the only one that it reads.
const OWN: u8 = 3;

/// The version of the database in the folder `path`, if it is another one than this program's. What
/// makes no sense, as after a power cut, is no version.
pub(super) fn other_version(path: &Path) -> io::Result<Option<u8>> {
    let mut head = [0; MAGIC.len() + 1];
    match File::open(path.join(MARKER)).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let [magic @ .., version] = head;
    // Versions begin with 1.
    Ok((magic == MAGIC && ![0, OWN].contains(&version)).then_some(version))
}
