//! Room on the disk that is set aside, so that a full one can be emptied.
//!
//! To remove a key takes room: the removal is written down, and what is left is written anew before
//! what held both goes. A file keeps that room, and is given up when the disk is full. From then on
//! the store takes removals alone, until there is room for the file again.

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
            log::debug!(
                "key-value store: no room can be set aside in {}: {error}",
                self.path.display()
            );
        }
    }

    /// Gives the room up, if there is any and the disk has less than `wanted` bytes left.
    pub(super) fn give_up(&self, wanted: u64) -> bool {
        let is_full = free(&self.folder).is_some_and(|free| free < wanted);
        let is_given = is_full && fs::remove_file(&self.path).is_ok();
        if is_given {
            // Some file systems have it free for others only then.
            let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        }
        is_given
    }

    /// Sets room aside again, if more than `beside` bytes are left then. Returns whether there is some.
    pub(super) fn take_back(&self, beside: u64) -> bool {
        let is_roomy = || free(&self.folder).is_some_and(|free| free >= BYTES + beside);
        self.is_made() || (is_roomy() && self.make().is_ok())
    }

    fn is_made(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.len() == BYTES)
    }

    fn make(&self) -> io::Result<()> {
        let made = File::create(&self.path).and_then(|file| {
            // Nothing is written, so this costs the flash nothing; and it need not survive a power cut.
            Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?)
        });
        if made.is_err() {
            // A part of it would be of no use.
            let _ = fs::remove_file(&self.path);
        }
        made
    }
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
        assert!(reserve.give_up(u64::MAX) && !reserve.give_up(u64::MAX));
        assert!(
            !reserve.take_back(u64::MAX - BYTES),
            "no disk is that large"
        );
        assert!(reserve.take_back(1) && reserve.is_made());
        fs::remove_dir_all(&folder).unwrap();
    }
}
