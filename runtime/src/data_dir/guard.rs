//! Keeps other accounts out of the data folder: who owns what in it, who may use it, and that
//! nothing in it leads elsewhere.
//!
//! Whoever may write to the folder could put a link where a file is to be, and have the daemon write
//! to what it stands for, or a named pipe, which would be waited for. Whoever may read it has every
//! value and every log line of the plugins. So all that is in it belongs to the daemon's account and
//! is closed to all others; what is found open is closed. Names that are not the daemon's are left
//! alone: somebody may have named a folder that is used for more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, open, openat,
    stat, statat,
};
use rustix::io::Errno;

/// The folders of the daemon's in the data folder.
const FOLDERS: &[&str] = &["kv", "log", "deployment", ".admin"];
/// The one of them of which each file is opened through [`Folder`](crate::generations::Folder) alone, which follows
/// no link, waits for no pipe, and takes only what is the daemon's own: damage there is told by whoever reads it, and
/// keeps no daemon from starting.
const READ_WITH_CARE: &str = "deployment";
/// Its files there, beside copies of plugins.
const FILES: &[&str] = &["lock", "clock", "versions", "trust"];
/// Ends of the names of files that are being written, to take another one's place.
const UNFINISHED: [&str; 2] = [".incoming", ".new"];
/// What names of copies begin and end with.
const COPY: (&str, &str) = ("artifact", ".cwasm");
/// What else may lie there without making it somebody else's folder: the admin socket, which has
/// checks of its own, and what file systems put into their roots.
const HARMLESS: &[&str] = &["admin.sock", "lost+found"];
/// Folders that every account of the machine uses.
const EVERYBODYS: &[&str] = &["/", "/tmp", "/var/tmp", "/dev/shm"];
/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// The same, where they let somebody change a folder.
const OTHERS_WRITE: u32 = 0o022;
/// How deep folders lie in each other in the store: five, by far less than this.
const DEEPEST: usize = 16;

/// A data folder that is open, seen from one account.
pub(super) struct Guard {
    path: PathBuf,
    folder: OwnedFd,
    uid: u32,
    /// To whom what is root's is given, if the daemon is about to become that account.
    heir: Option<(Uid, Gid)>,
}

impl Guard {
    /// Opens the folder for the account `uid`, which this process has.
    pub(super) fn open(path: &Path, uid: u32) -> io::Result<Guard> {
        Guard::new(path, uid, None)
    }

    /// Opens it to hand it over: all that is root's in it will be the heir's.
    pub(super) fn open_for(path: &Path, heir: (Uid, Gid)) -> io::Result<Guard> {
        Guard::new(path, heir.0.as_raw(), Some(heir))
    }

    fn new(path: &Path, uid: u32, heir: Option<(Uid, Gid)>) -> io::Result<Guard> {
        let link = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_link = FileType::from_raw_mode(link.st_mode) == FileType::Symlink;
        if is_link && ![0, uid].contains(&link.st_uid) {
            return Err(refused(format!(
                "it is a symbolic link of account {}, who chooses where it leads",
                link.st_uid
            )));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        Ok(Guard {
            path: path.to_owned(),
            folder,
            uid,
            heir,
        })
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Checks the folder itself, and closes it to others where nothing but the daemon's is in it.
    pub(super) fn close_folder(&self) -> io::Result<()> {
        let found = fstat(&self.folder)?;
        if ![0, self.uid].contains(&found.st_uid) {
            return Err(refused(format!(
                "it belongs to account {}, who could exchange what is in it; run `chown {} {}`",
                found.st_uid,
                self.uid,
                self.path.display()
            )));
        }
        let others = found.st_mode & OTHERS;
        let handed = self.heir.filter(|(uid, _)| uid.as_raw() != found.st_uid);
        if others == 0 && handed.is_none() {
            return Ok(());
        }
        if is_everybodys(&found) {
            return Err(refused(
                "every account uses it; name a folder of the daemon's own below it".to_owned(),
            ));
        }
        let stranger = self.stranger()?;
        match stranger {
            None => {
                if let Some((uid, gid)) = handed {
                    fchown(&self.folder, Some(uid), Some(gid))?;
                } else if found.st_uid != self.uid {
                    // Root's, which nobody else may close.
                    return self.refuse_if_writable(&found);
                }
                self.tighten(&self.folder, &found, &self.path)
            }
            Some(name) if handed.is_some() => Err(refused(format!(
                "it holds {name}, which is not the daemon's, so it is not handed over; \
                 name a folder that is the daemon's alone"
            ))),
            Some(_) => self.refuse_if_writable(&found),
        }
    }

    /// Checks all that is the daemon's in the folder, and closes it to others. The caller holds the
    /// lock, so that no other daemon is at work in it.
    pub(super) fn close_contents(&self) -> io::Result<()> {
        for entry in Dir::read_from(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let shown = Path::new(&name);
            if FOLDERS.contains(&&*name) {
                // A file in the place of one is no way out: whoever wants the folder says what is wrong.
                self.close(self.folder(), &name, shown, None, 0)?;
            } else if is_a_file(&name) {
                self.close(self.folder(), &name, shown, Some(FileType::RegularFile), 0)?;
            }
        }
        Ok(())
    }

    /// Opens a file of the daemon's for reading and writing, and makes it if it is missing.
    pub(super) fn open_file(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        // A link would be followed to a file that others chose, and a named pipe waited for.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(&self.folder, name, flags, mode).map_err(|errno| match errno {
            Errno::LOOP => is_a_link(Path::new(name)),
            other => other.into(),
        })?;
        self.check(&fstat(&file)?, Path::new(name), Some(FileType::RegularFile))?;
        Ok(file)
    }

    /// Checks one thing and closes it to others, with all that is in it if it is a folder.
    /// `wanted` is what it has to be; otherwise a file or a folder.
    fn close(
        &self,
        folder: BorrowedFd<'_>,
        name: &str,
        shown: &Path,
        wanted: Option<FileType>,
        depth: usize,
    ) -> io::Result<()> {
        let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            // It went meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        match self.check(&found, shown, wanted) {
            Err(error) if !is_folder && shown.starts_with(READ_WITH_CARE) => {
                log::error!("data folder {}: {error}", self.path.display());
                return Ok(());
            }
            checked => checked?,
        }
        let handed = self.heir.filter(|(uid, _)| uid.as_raw() != found.st_uid);
        let is_open = found.st_mode & OTHERS != 0;
        if !is_folder && !is_open && handed.is_none() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(folder, name, flags, Mode::empty())?;
        // What was opened may be something else than what was looked at.
        let found = fstat(&opened)?;
        self.check(&found, shown, wanted)?;
        if let Some((uid, gid)) = handed {
            fchown(&opened, Some(uid), Some(gid))?;
        }
        self.tighten(&opened, &found, shown)?;
        if !is_folder {
            return Ok(());
        }
        if depth == DEEPEST {
            return Err(refused(format!("{} lies too deep", shown.display())));
        }
        for entry in Dir::read_from(&opened)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                let shown = shown.join(&name);
                self.close(opened.as_fd(), &name, &shown, None, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Whether it is what it has to be, and the daemon's.
    fn check(&self, found: &Stat, shown: &Path, wanted: Option<FileType>) -> io::Result<()> {
        let name = shown.display();
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_wanted = match wanted {
            Some(wanted) => kind == wanted,
            None => matches!(kind, FileType::RegularFile | FileType::Directory),
        };
        if kind == FileType::Symlink {
            return Err(is_a_link(shown));
        }
        if !is_wanted {
            let found = match kind {
                FileType::RegularFile => "a file",
                FileType::Directory => "a folder",
                FileType::Fifo => "a named pipe",
                FileType::Socket => "a socket",
                _ => "a device",
            };
            return Err(refused(format!(
                "{name} in it is {found}, which no daemon made; remove it"
            )));
        }
        let is_own = found.st_uid == self.uid || (self.heir.is_some() && found.st_uid == 0);
        if !is_own {
            return Err(refused(format!(
                "{name} in it belongs to account {}, and this daemon is account {}; \
                 run `chown -R {} {}`, or start it as root with --user",
                found.st_uid,
                self.uid,
                self.uid,
                self.path.display()
            )));
        }
        // A second name elsewhere: a file of root's that somebody else would be given.
        let is_linked = kind == FileType::RegularFile && found.st_nlink > 1;
        if is_linked && self.heir.is_some() {
            return Err(refused(format!(
                "{name} in it has another name elsewhere (a hard link); copy it, and remove the link"
            )));
        }
        Ok(())
    }

    /// Takes from others what they may do with it.
    fn tighten(&self, opened: &OwnedFd, found: &Stat, shown: &Path) -> io::Result<()> {
        if found.st_mode & OTHERS == 0 {
            return Ok(());
        }
        let mode = found.st_mode & 0o700;
        fchmod(opened, Mode::from_raw_mode(mode)).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(
                error.kind(),
                format!(
                    "the mode of {} cannot be changed, and others may use it; \
                     does this file system keep modes? {error}",
                    shown.display()
                ),
            )
        })?;
        log::debug!("{}: closed to other accounts", shown.display());
        Ok(())
    }

    fn refuse_if_writable(&self, found: &Stat) -> io::Result<()> {
        match found.st_mode & OTHERS_WRITE {
            0 => Ok(()),
            _ => Err(refused(format!(
                "its mode is {:04o}, so that other accounts may put things into it; \
                 run `chmod go-w {}`, or name a folder of the daemon's own",
                found.st_mode & 0o7777,
                self.path.display()
            ))),
        }
    }

    /// A name in the folder that is not the daemon's.
    fn stranger(&self) -> io::Result<Option<String>> {
        for entry in Dir::read_from(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let mut known = [".", ".."].iter().chain(FOLDERS).chain(HARMLESS);
            if !is_a_file(&name) && !known.any(|known| *known == name) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Whether it is the name of a file that the daemon makes.
fn is_a_file(name: &str) -> bool {
    let is_copy = name.starts_with(COPY.0) && name.ends_with(COPY.1);
    let mut finished = UNFINISHED.iter().filter_map(|end| name.strip_suffix(end));
    let finished = finished.next().unwrap_or(name);
    is_copy || finished == COPY.0 || FILES.contains(&finished)
}

fn is_everybodys(found: &Stat) -> bool {
    EVERYBODYS.iter().any(|path| {
        stat(*path).is_ok_and(|one| (one.st_dev, one.st_ino) == (found.st_dev, found.st_ino))
    })
}

fn is_a_link(shown: &Path) -> io::Error {
    refused(format!(
        "{} in it is a symbolic link, which may lead anywhere; remove it",
        shown.display()
    ))
}

fn refused(why: String) -> io::Error {
    io::Error::other(why)
}
