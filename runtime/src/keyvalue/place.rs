//! Whether a folder is still where it was: somebody may remove it or put another in its place while the
//! daemon runs. What is written into its files then is on the disk, and nobody will find it there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder, and which one was there when it was looked at first.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// The folder that is there now.
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        let found = fs::metadata(path)?;
        Ok(Place {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Where it was.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that it is still there: one look at it, which is nothing beside a write that is synced.
    pub(super) fn check(&self) -> Result<(), String> {
        let gone = match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => return Ok(()),
            Ok(_) => "another folder is in its place".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(format!(
            "{} was removed or replaced while the daemon runs ({gone}): bring it back, or start the daemon anew",
            self.path.display()
        ))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_or_another_is_told() {
        let path = std::env::temp_dir().join(format!("zlayer-place-{}", std::process::id()));
        let aside = path.with_extension("aside");
        fs::create_dir_all(&path).unwrap();
        let place = Place::of(&path).unwrap();
        assert_eq!(place.check(), Ok(()));
        fs::rename(&path, &aside).unwrap();
        assert!(place.check().unwrap_err().contains("it is gone"));
        fs::create_dir(&path).unwrap();
        let told = place.check().unwrap_err();
        assert!(told.contains("another folder"), "{told}");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(place.check(), Ok(()));
        fs::remove_dir(&path).unwrap();
    }
}
