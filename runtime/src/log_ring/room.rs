//! Room in the ring: the older segments take less, or fewer files, whenever a new one has begun.

use std::fs;
use std::io;
use std::path::PathBuf;

use zlayer_binlog::{Segment, segments};

use super::rewriting::{self, WRITTEN_ANEW, gone};
use super::thinning::thin_out;

/// How often is reckoned anew what has to go, before whole segments do.
const ROUNDS: usize = 3;

/// What older segments may take. Nobody else touches them, so that room is made without the ring's
/// lock.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) folder: PathBuf,
    /// They have lower numbers than this.
    pub(super) before: u32,
    /// Bytes of all of them.
    pub(super) most: u64,
    /// How many files they may be.
    pub(super) count: usize,
    /// Bytes that one of them may have.
    pub(super) segment_bytes: u64,
    /// For how many new segments this is.
    pub(super) begun: u32,
}

impl Room {
    /// Has the older segments take no more than they may. It waits for the disk.
    pub(super) fn make(&self) -> io::Result<()> {
        // What an end of the process or of the power has left of such work.
        gone(fs::remove_file(self.folder.join(WRITTEN_ANEW)))?;
        for _ in 0..ROUNDS {
            let older = self.older()?;
            if bytes(&older) <= self.most {
                break;
            }
            // A full disk has no room for what would be written anew, and a broken one takes nothing.
            // Whole segments can go all the same.
            if thin_out(&self.folder, older, self.most).is_err() {
                break;
            }
        }
        // Sizes were reckoned, so there may be a little too much left.
        let mut older = self.older()?;
        while bytes(&older) > self.most {
            self.drop_oldest(&mut older)?;
        }
        while older.len() > self.count {
            match self.join_smallest(&mut older) {
                Ok(true) => {}
                Ok(false) | Err(_) => self.drop_oldest(&mut older)?,
            }
        }
        Ok(())
    }

    fn older(&self) -> io::Result<Vec<Segment>> {
        let mut found = match segments(&self.folder) {
            // Somebody has removed the folder; the next segment makes it anew.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        found.retain(|segment| segment.number < self.before);
        Ok(found)
    }

    fn drop_oldest(&self, older: &mut Vec<Segment>) -> io::Result<()> {
        if older.is_empty() {
            return Ok(());
        }
        gone(fs::remove_file(older.remove(0).path))
    }

    /// Makes one segment of the two neighbours that take least. Returns whether there were such that
    /// one segment may take as much.
    fn join_smallest(&self, older: &mut Vec<Segment>) -> io::Result<bool> {
        let pairs = older.windows(2).enumerate();
        let smallest = pairs.min_by_key(|(_, pair)| bytes(pair));
        let Some((index, pair)) = smallest else {
            return Ok(false);
        };
        if bytes(pair) > self.segment_bytes {
            return Ok(false);
        }
        older[index + 1].bytes = rewriting::join(&self.folder, &pair[0], &pair[1])?;
        older.remove(index);
        Ok(true)
    }
}

fn bytes(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.bytes).sum()
}
