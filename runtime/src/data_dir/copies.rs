//! The copies of the artifacts that are mapped.
//!
//! Mapped code must not change while the process runs: overwriting the file behind a mapping
//! rewrites running machine code, and shortening it kills the process. So the daemon maps a copy
//! that it alone owns (mode 0400), and the file that the user named can be replaced at any moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::OFlags;
use zlayer_bundle::own_account;

use super::DataDir;
use crate::error::{Error, Result};

/// Largest artifact that is copied: 256 MiB.
const ARTIFACT_BYTES: u64 = 256 << 20;

/// The mode of a copy: only its owner may read it, and nobody may write to it.
const COPY_MODE: u32 = 0o400;

impl DataDir {
    /// The copy that an earlier run made of the plugin at this place, if only this user can have
    /// made it and its trailer is that of `source`: its signature and digest. Whether the copy
    /// holds what its trailer says is checked before it is mapped, so the rest of `source` need not
    /// be read.
    pub fn kept_copy(&self, place: usize, source: &File) -> Option<File> {
        // A copy that cannot be read or trusted counts as missing and is made anew.
        let copy = self.open_copy(place).ok()?;
        zlayer_bundle::have_same_trailer(source, &copy)
            .ok()?
            .then_some(copy)
    }

    /// Opens the copy. Others may be able to write to the folder, but a file that belongs to this
    /// user and that nobody may write to was made by this user, and only this user can change it.
    fn open_copy(&self, place: usize) -> io::Result<File> {
        // Opening a named pipe would wait for its other end, and a link lead elsewhere.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let copy = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.copy(place))?;
        let found = copy.metadata()?;
        let ours = found.uid() == own_account();
        if found.is_file() && ours && found.mode() & 0o7777 == COPY_MODE {
            Ok(copy)
        } else {
            Err(io::Error::other(
                "it is not this user's own file with mode 0400; does this file system keep modes?",
            ))
        }
    }

    /// Copies `source` into the folder, in place of an earlier copy, and opens the copy. It is not
    /// trusted yet: the caller must verify and map the returned file, not the original.
    pub fn keep_copy(&self, place: usize, source: &mut File) -> Result<File> {
        let unfinished = self.path.join("artifact.incoming");
        let copied = (|| {
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut target = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(COPY_MODE)
                .open(&unfinished)?;
            source.rewind()?;
            if io::copy(&mut source.take(ARTIFACT_BYTES + 1), &mut target)? > ARTIFACT_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it is larger than 256 MiB",
                ));
            }
            if !self.temporary {
                target.sync_all()?;
            }
            fs::rename(&unfinished, self.copy(place))?;
            self.open_copy(place)
        })();
        copied.map_err(|error| {
            // A half-written file is of no use.
            let _ = fs::remove_file(&unfinished);
            let what = format!(
                "data folder {}: cannot keep a copy of the plugin there",
                self.path.display()
            );
            Error::device(what, error)
        })
    }

    /// Removes copies that earlier runs with more plugins than `count` have left.
    pub fn remove_copies_from(&self, count: usize) {
        // Copies are made in order, so the first missing one ends the search.
        let left = (count..).map(|place| self.copy(place));
        for path in left.take_while(|path| path.exists()) {
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("cannot remove {}: {error}", path.display());
                return;
            }
        }
    }

    fn copy(&self, place: usize) -> PathBuf {
        match place {
            0 => self.path.join("artifact.cwasm"),
            _ => self.path.join(format!("artifact-{}.cwasm", place + 1)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use zlayer_bundle::{Manifest, Profile, Target, seal};

    use super::super::temporary_folder;
    use super::*;

    fn artifact(code: &str) -> Vec<u8> {
        let manifest = Manifest::new("p", "1", Target::X86_64, Profile::Compact);
        seal(code.into(), manifest, None).unwrap()
    }

    #[test]
    fn a_copy_is_kept_and_replaced_when_the_bytes_differ() {
        let folder = temporary_folder().unwrap();
        let dir = DataDir::open(Some(&folder.join("data")), None).unwrap();
        let path = folder.join("plugin");
        let read = |mut file: File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        for content in ["first", "other", "longer than before"].map(artifact) {
            fs::write(&path, &content).unwrap();
            let mut source = File::open(&path).unwrap();
            assert!(dir.kept_copy(0, &source).is_none());
            let copy = dir.keep_copy(0, &mut source).unwrap();
            let again = dir.kept_copy(0, &source).unwrap();
            fs::write(&path, "overwritten").unwrap();
            assert!(read(copy) == content && read(again) == content);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_copy_that_others_could_write_to_is_made_anew() {
        let folder = temporary_folder().unwrap();
        let dir = DataDir::open(Some(&folder.join("data")), None).unwrap();
        fs::write(folder.join("plugin"), artifact("code")).unwrap();
        let mut source = File::open(folder.join("plugin")).unwrap();
        dir.keep_copy(0, &mut source).unwrap();
        fs::set_permissions(dir.copy(0), PermissionsExt::from_mode(0o606)).unwrap();
        assert!(dir.kept_copy(0, &source).is_none());
        dir.keep_copy(0, &mut source).unwrap();
        assert!(dir.kept_copy(0, &source).is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
