//! Making room on a full disk.

use std::thread::sleep;
use std::time::Duration;

use fjall::{AbstractTree, PersistMode};

use super::{Database, TABLE_BYTES, reason};
use crate::keyvalue::reserve;

/// Bytes that a compaction takes beside what it writes: indexes, filters, and what others write
/// meanwhile.
const SLACK: u64 = 256 << 10;

impl Database {
    /// Has what was removed leave the disk: removals are written as a table, and then all that is left
    /// is written anew, if there is room for that. Returns whether it was: the old tables go when the
    /// database is opened anew, since readers may have begun with them.
    pub(in crate::keyvalue) fn shrink(&self) -> Result<bool, String> {
        self.flush().map_err(|error| reason(&error))?;
        let free = reserve::free(self.place.path()).unwrap_or(0);
        let fits = |bytes: u64| bytes + bytes / 8 + SLACK <= free;
        let tree = &self.keyspace.tree;
        // What is written anew takes no more than the tables do of which it is made. Only where that is
        // too much, what is left is counted.
        if !fits(tree.disk_space()) && !self.left_fits(fits).map_err(|error| reason(&error))? {
            return Ok(false);
        }
        // A compaction drops the old versions of a key, and its removal, below a watermark. fjall moves its
        // own up only once in ten thousand reads, and all versions above it would stay, so one above the
        // newest change is given here. Nobody needs an older version: who reads at this moment keeps the
        // tables that it has begun with.
        let upto = tree.get_highest_seqno().map_or(0, |newest| newest + 1);
        let compacted = tree.major_compact(TABLE_BYTES, upto);
        compacted.map_err(|error| reason(&error.into()))?;
        Ok(true)
    }

    /// Writes the memtable as a table, and waits for it.
    fn flush(&self) -> fjall::Result<()> {
        self.keyspace.rotate_memtable()?;
        while self.keyspace.sealed_memtable_count() > 0 {
            // This fails when fjall's worker has ended.
            self.inner.persist(PersistMode::Buffer)?;
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether the bytes of all keys and values fit. Reads no more than that takes to tell.
    fn left_fits(&self, fits: impl Fn(u64) -> bool) -> fjall::Result<bool> {
        let mut bytes = 0;
        for item in self.keyspace.iter() {
            let (key, value) = item.into_inner()?;
            bytes += (key.len() + value.len()) as u64;
            if !fits(bytes) {
                return Ok(false);
            }
        }
        Ok(fits(bytes))
    }
}
