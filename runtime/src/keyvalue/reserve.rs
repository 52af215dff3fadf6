//! Room on the disk that is set aside, so that a full one can be emptied.
//!
//! To remove a key takes room: the removal is written down, and what is left is written anew before
//! what held both goes. A file keeps that room, and is given up when the disk is full: it is cut to
//! nothing, so that the next process knows as well. From then on the store takes removals alone, until
//! there is room for the file again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statfs, statvfs};

/// Bytes that are set aside: enough for two tables, and for what waits to be written.
const BYTES: u64 = 4 << 20;
/// At first the disk has to have this many times as much room, so that a small one is not taken up.
const TIMES_FREE: u64 = 4;
/// The kinds of file systems that are kept in memory (`man 2 statfs`): what is set aside there would be
/// missing elsewhere.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The file that keeps room, in the store's folder.
pub(super) struct Reserve {
    folder: PathBuf,
    path: PathBuf,
}

impl Reserve {
    /// The one of the store in `folder`, whether or not it is there.
    pub(super) fn of(folder: &Path) -> Reserve {
        Reserve {
            folder: folder.to_owned(),
            path: folder.join("reserve"),
        }
    }

    /// Sets room aside where there is plenty, unless that was done before.
    pub(super) fn begin(&self) {
        if self.is_made() || is_in_memory(&self.folder) {
            return;
        }
        if free(&self.folder).is_some_and(|free| free >= TIMES_FREE * BYTES)
            && let Err(error) = self.make()
        {
            // Empty, it would say that it was given up.
            let _ = fs::remove_file(&self.path);
            log::info!(
                "key-value store: no room can be set aside in {}: {error}; should the disk be full, it may take no \
                 removals either until there is room",
                self.path.display()
            );
        }
    }

    /// Gives the room up, if there is any and the disk has less than `wanted` bytes left.
    pub(super) fn give_up(&self, wanted: u64) -> bool {
        let is_full = free(&self.folder).is_some_and(|free| free < wanted);
        is_full && self.has_room() && self.empty().is_ok()
    }

    /// Whether the room was given up and never taken back, be it by an earlier process.
    pub(super) fn is_given_up(&self) -> bool {
        // A folder that was copied into memory has lost nothing that could be taken back there.
        fs::metadata(&self.path).is_ok_and(|found| found.len() == 0) && !is_in_memory(&self.folder)
    }

    /// Sets room aside again, if `beside` bytes are left then. Returns whether the disk has room again.
    pub(super) fn take_back(&self, beside: u64) -> bool {
        if self.is_made() {
            return true;
        }
        if free(&self.folder).is_none_or(|free| free < wanted(beside)) {
            return false;
        }
        match self.make() {
            Ok(()) => true,
            // The folder was copied to a file system that sets nothing aside. There is room all the same.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                fs::remove_file(&self.path).is_ok()
            }
            Err(_) => false,
        }
    }

    fn has_room(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.len() > 0)
    }

    fn empty(&self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(0)?;
        // Some file systems have the room free for others only then. If it fails, the file is empty.
        let _ = file.sync_all();
        Ok(())
    }

    fn is_made(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.len() == BYTES)
    }

    fn make(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        // Most file systems only note which blocks are taken, so this costs the flash next to nothing. vfat
        // writes zeros; UBIFS and JFFS2 refuse. It need not survive a power cut.
        let made = fallocate(&file, FallocateFlags::empty(), 0, BYTES);
        if made.is_err() {
            // A part of it would be of no use.
            let _ = file.set_len(0);
        }
        Ok(made?)
    }
}

/// Bytes that have to be free for the room to be set aside again with `beside` bytes left.
pub(super) fn wanted(beside: u64) -> u64 {
    BYTES.saturating_add(beside)
}

/// Bytes that are free on the disk of `folder`; `None` where it does not say.
pub(super) fn free(folder: &Path) -> Option<u64> {
    let found = statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn is_in_memory(folder: &Path) -> bool {
    // Its type differs from one processor to another; the number fits into 32 bits.
    statfs(folder).is_ok_and(|found| IN_MEMORY.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn room_is_given_up_once_and_only_where_there_is_too_little() {
        let folder = temporary_folder().unwrap();
        let reserve = Reserve::of(&folder);
        assert!(!reserve.give_up(u64::MAX), "there is none yet");
        reserve.make().unwrap();
        assert!(reserve.is_made() && !reserve.give_up(1));
        assert!(!reserve.is_given_up());
        assert!(reserve.give_up(u64::MAX) && !reserve.give_up(u64::MAX));
        // Another process knows as well.
        let reserve = Reserve::of(&folder);
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), 0);
        assert_eq!(reserve.is_given_up(), !is_in_memory(&folder));
        assert!(
            !reserve.take_back(u64::MAX - BYTES),
            "no disk is that large"
        );
        assert!(reserve.take_back(1) && reserve.is_made() && !reserve.is_given_up());
        fs::remove_dir_all(&folder).unwrap();
    }
}
