//! A folder of the daemon's, and files in it that are there whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, fstatvfs, fsync,
    mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use zlayer_bundle::own_account;

/// The mode of a file: its owner may read it, and nobody may write to it.
const MODE: u32 = 0o400;
/// What the name of a file ends with that is being written, to take another one's place.
const UNFINISHED: &str = ".incoming";

/// An open folder. All that is in it is reached through it and never by a path, and links in it are not
/// followed: where root works in the folder of another account, that account cannot lead it elsewhere.
pub(crate) struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    owner: Uid,
    /// To whom what is made is given, where this process is root and the data folder is not.
    heir: Option<(Uid, Gid)>,
}

impl Folder {
    /// Opens a data folder.
    pub(crate) fn open(data: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, data, flags, Mode::empty())?;
        let found = fstat(&folder)?;
        let own = Uid::from_raw(own_account());
        let theirs = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
        let heir = (own.is_root() && !theirs.0.is_root()).then_some(theirs);
        Ok(Folder {
            path: data.to_owned(),
            folder,
            owner: heir.map_or(own, |(owner, _)| owner),
            heir,
        })
    }

    /// The folder of this name in it.
    pub(super) fn below(&self, name: &str) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Folder {
            path: self.path.join(name),
            folder: openat(&self.folder, name, flags, Mode::empty())?,
            owner: self.owner,
            heir: self.heir,
        })
    }

    /// The folder of this name in it, which is made if it is missing.
    pub(super) fn make_below(&self, name: &str) -> io::Result<Folder> {
        match mkdirat(&self.folder, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let made = self.below(name)?;
        if let Some((uid, gid)) = self.heir {
            fchown(&made.folder, Some(uid), Some(gid))?;
        }
        // Always: who made it may have been stopped before this.
        fsync(&self.folder)?;
        Ok(made)
    }

    /// Opens a file that only the daemon's account, or root for it, can have made, and that nobody may
    /// write to.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        // A link would be followed to what others chose, and a named pipe waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(Errno::NOENT.into()),
            Err(errno) => {
                // What it is says more than that it cannot be opened: a link, a socket, a file without a mode.
                let found = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
                found.map_or(Ok(()), |found| self.check(&found, name))?;
                return Err(errno.into());
            }
        };
        self.check(&fstat(&file)?, name)?;
        Ok(File::from(file))
    }

    /// Whether it is a file of the daemon's that nobody else can have changed.
    fn check(&self, found: &Stat, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let path = path.display();
        let damage = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return damage(format!(
                "it is no file, and no daemon made it: remove {path}"
            ));
        }
        let owner = self.owner.as_raw();
        match found.st_uid == owner && found.st_mode & 0o7777 == MODE {
            true => Ok(()),
            false => damage(format!(
                "it is not account {owner}'s own file with mode 0400, so others may have changed it, or this file system \
                 keeps no modes: if nobody did, run `chown {owner} {path} && chmod 400 {path}`"
            )),
        }
    }

    /// What is in such a file, of which no more than `most` bytes are read.
    pub(crate) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Replaces a file as a whole with what `write` writes: a power cut leaves the old one or the new one. Where
    /// it fails, the old one is there still, and nothing else is.
    pub(super) fn replace<E: From<io::Error>>(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(), E> {
        let unfinished = format!("{name}{UNFINISHED}");
        let written = (|| {
            self.remove(&unfinished)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(MODE);
            let file = openat(&self.folder, &*unfinished, flags, mode);
            let mut file = File::from(file.map_err(io::Error::from)?);
            // Whatever this process takes from the modes of its files.
            file.set_permissions(Permissions::from_mode(MODE))?;
            if let Some((uid, gid)) = self.heir {
                fchown(&file, Some(uid), Some(gid)).map_err(io::Error::from)?;
            }
            write(&mut file)?;
            file.sync_all()?;
            let rename = || renameat(&self.folder, &*unfinished, &self.folder, name);
            let renamed = match rename() {
                // No file takes the place of a folder.
                Err(Errno::ISDIR) => self.remove(name).and_then(|()| Ok(rename()?)),
                other => other.map_err(io::Error::from),
            };
            renamed?;
            self.sync().map_err(E::from)
        })();
        if written.is_err() {
            // A half-written file is of no use.
            let _ = self.remove(&unfinished);
        }
        written
    }

    /// Replaces a file with a text.
    pub(crate) fn replace_text(&self, name: &str, text: &[u8]) -> io::Result<()> {
        self.replace(name, |file| file.write_all(text))
    }

    /// Removes a file; one that is missing is removed already. A folder that stands in its place goes with all that
    /// is in it: no daemon made it, and it would be in the way of each that writes the file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                // Each level has a descriptor open, of which a process has fewer than would fill its stack.
                let inner = self.below(name)?;
                for name in inner.names()? {
                    inner.remove(&name)?;
                }
                Ok(unlinkat(&self.folder, name, AtFlags::REMOVEDIR)?)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what a writer left that was stopped in the middle.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.ends_with(UNFINISHED) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The names in it, in no order.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Has what was removed and renamed survive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.folder)?)
    }

    /// Bytes that its file system has left for this process.
    pub(super) fn free(&self) -> io::Result<u64> {
        let found = fstatvfs(&self.folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// The path of what has this name in it, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Whether that is what [`Folder::file`] says of what is no file of the daemon's, and not of a call that failed.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}
