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
        let left = self.left_bytes().map_err(|error| reason(&error))?;
        let wanted = left + left / 8 + SLACK;
        let free = reserve::free(self.place.path()).unwrap_or(0);
        if free < wanted {
            log::info!(
                "key-value store: what was removed still takes room: {} KiB are left and {} KiB free",
                left >> 10,
                free >> 10
            );
            return Ok(false);
        }
        // fjall's own figure is behind for up to ten thousand reads, and what is newer stays. Nobody here
        // reads what was before: who reads at this moment keeps the tables that it has begun with.
        let tree = &self.keyspace.tree;
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

    /// Bytes of all keys and values.
    fn left_bytes(&self) -> fjall::Result<u64> {
        let mut bytes = 0;
        for item in self.keyspace.iter() {
            let (key, value) = item.into_inner()?;
            bytes += (key.len() + value.len()) as u64;
        }
        Ok(bytes)
    }
}
