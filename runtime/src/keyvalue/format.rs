//! Which version of its format a database on the disk has, and what becomes of one that this program
//! cannot read.
//!
//! Such a database is whole for the program that wrote it. So nothing takes its place unless somebody
//! says so, and then it is kept until somebody removes it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The folder of the database in that of the store.
const DATABASE: &str = "db";
/// The file of a database that tells, and what it begins with; behind that is the version, a byte.
const MARKER: &str = "version";
const MAGIC: [u8; 3] = *b"FJL";
/// The version that the fjall of this program writes, and the only one that it reads.
const OWN: u8 = 3;

/// A database in another version of its format than this program's.
#[derive(Debug)]
pub struct Foreign {
    version: u8,
    /// The folder of the store.
    folder: PathBuf,
}

impl Foreign {
    /// Looks whether the database of the store in `folder` is one. A disk that cannot say so now may
    /// say it later: that is for who opens the database.
    pub fn find(folder: &Path) -> Option<Foreign> {
        let version = other_version(&folder.join(DATABASE)).ok()??;
        Some(Foreign {
            version,
            folder: folder.to_owned(),
        })
    }

    /// Takes it out of the way, and returns where it is kept. It never takes the place of one that was
    /// taken out of the way before.
    ///
    /// # Errors
    ///
    /// The folder cannot be changed.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let mut aside = self.aside(1);
        // A folder is no more than a name here, and no two of them are made at a time.
        for number in 2.. {
            if !aside.try_exists()? {
                break;
            }
            aside = self.aside(number);
        }
        fs::rename(self.folder.join(DATABASE), &aside)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(aside)
    }

    /// The name that it is kept under, as the so many-th of its version.
    fn aside(&self, number: usize) -> PathBuf {
        let name = format!("{DATABASE}.version-{}", self.version);
        self.folder.join(match number {
            1 => name,
            _ => format!("{name}.{number}"),
        })
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the database in {} is of version {} of its format, and this program reads version {OWN}",
            self.folder.join(DATABASE).display(),
            self.version
        )
    }
}

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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn what_was_set_aside_is_never_overwritten() {
        let folder = temporary_folder().unwrap();
        assert!(Foreign::find(&folder).is_none());
        for (version, name) in [
            (2, "db.version-2"),
            (2, "db.version-2.2"),
            (4, "db.version-4"),
            (2, "db.version-2.3"),
        ] {
            let database = folder.join("db");
            fs::create_dir(&database).unwrap();
            fs::write(database.join("version"), [b'F', b'J', b'L', version]).unwrap();
            fs::write(database.join("data"), name).unwrap();
            let foreign = Foreign::find(&folder).unwrap();
            let told = foreign.to_string();
            assert!(told.contains(&format!("version {version}")), "{told}");
            assert_eq!(foreign.set_aside().unwrap(), folder.join(name));
            assert!(!database.exists() && Foreign::find(&folder).is_none());
        }
        for name in [
            "db.version-2",
            "db.version-2.2",
            "db.version-4",
            "db.version-2.3",
        ] {
            let kept = fs::read_to_string(folder.join(name).join("data")).unwrap();
            assert_eq!(kept, name);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn this_programs_own_and_what_makes_no_sense_is_not_foreign() {
        let folder = temporary_folder().unwrap();
        fs::create_dir(folder.join("db")).unwrap();
        for marker in [&b"FJL\x03"[..], b"FJL", b"nonsense", b"FJL\x00", b""] {
            fs::write(folder.join("db/version"), marker).unwrap();
            assert!(Foreign::find(&folder).is_none(), "{marker:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
