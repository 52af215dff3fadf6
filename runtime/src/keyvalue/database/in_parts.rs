//! Writes large values in parts, and reads them.

use std::array;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{OwnedWriteBatch, Slice};

use super::Database;
use crate::keyvalue::entry::Entry;
use crate::keyvalue::parts::{Head, PART_BYTES};

/// How often values in parts were changed since the database was opened.
///
/// A value is read part by part while others may be committed. A snapshot of fjall would not keep them
/// apart: a flush in the background lets new snapshots see the items of a batch that is still being
/// written (lsm-tree 3.1.10, `upgrade_version`). So whoever reads asks here before and after.
pub(super) struct PartChanges {
    /// Several keys have a counter in common. Nobody can choose keys for it, since the hash has a
    /// secret.
    counters: [AtomicU64; 256],
    hash: RandomState,
}

impl Default for PartChanges {
    fn default() -> PartChanges {
        PartChanges {
            counters: array::from_fn(|_| AtomicU64::new(0)),
            hash: RandomState::new(),
        }
    }
}

impl PartChanges {
    fn of(&self, key: &[u8]) -> &AtomicU64 {
        let at = self.hash.hash_one(key) as usize % self.counters.len();
        &self.counters[at]
    }
}

impl Database {
    /// What is stored under a full key, or its head if it is stored in parts.
    pub(in crate::keyvalue) fn get(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        self.keyspace.get(key)
    }

    /// A number that changes before the parts of a value of `key` do.
    pub(in crate::keyvalue) fn part_changes(&self, key: &[u8]) -> u64 {
        self.part_changes.of(key).load(Ordering::SeqCst)
    }

    /// Adds the change of a key to `batch`, with those of the parts that come and go.
    pub(super) fn add_change(
        &self,
        batch: &mut OwnedWriteBatch,
        key: &Slice,
        stored: Option<&Slice>,
    ) -> fjall::Result<()> {
        let new = stored.and_then(|stored| Entry::head(stored));
        let changes = self.part_changes.of(key);
        if self.has_parts.load(Ordering::Relaxed)
            && let Some(found) = self.keyspace.get(key)?
            && let Some(old) = head(key, &found)
        {
            // What a batch both writes and removes would be in no order. Parts of the same number and
            // expiry have the same key.
            let end = |head: &Head| head.expires.unwrap_or(u64::MAX);
            let is_kept = |new: &Head| end(new) == end(&old);
            let kept = new.as_ref().filter(|new| is_kept(new));
            let kept = kept.map_or(0, |new| new.part_keys(key).count());
            changes.fetch_add(1, Ordering::SeqCst);
            for part in old.part_keys(key).skip(kept) {
                batch.remove(&self.keyspace, part);
            }
        }
        match (stored, new) {
            (Some(stored), Some(new)) => {
                self.has_parts.store(true, Ordering::Relaxed);
                changes.fetch_add(1, Ordering::SeqCst);
                for (part, bytes) in new.part_keys(key).zip(stored.chunks(PART_BYTES)) {
                    batch.insert(&self.keyspace, part, bytes);
                }
                batch.insert(&self.keyspace, key.clone(), new.encode());
            }
            (Some(stored), None) => batch.insert(&self.keyspace, key.clone(), stored.clone()),
            (None, _) => batch.remove(&self.keyspace, key.clone()),
        }
        Ok(())
    }

    /// What is stored under a full key, put together from the parts that `found`, which [`Database::get`]
    /// returned, stands for; `None` if it is no head. This is of use only if
    /// [`Database::part_changes`] says the same as before `found` was read, and no change of the key is on
    /// its way.
    pub(in crate::keyvalue) fn get_parts(
        &self,
        key: &[u8],
        found: &Slice,
    ) -> Option<fjall::Result<Option<Slice>>> {
        let head = head(key, found)?;
        Some(self.put_together(key, found, &head))
    }

    fn put_together(&self, key: &[u8], found: &Slice, head: &Head) -> fjall::Result<Option<Slice>> {
        let mut whole = Vec::with_capacity(head.bytes);
        for part in head.part_keys(key) {
            match self.keyspace.get(part)? {
                Some(part) => whole.extend_from_slice(&part),
                None => break,
            }
        }
        if whole.len() == head.bytes {
            return Ok(Some(Slice::from(whole)));
        }
        // What expires may have lost parts to a merge before a power cut took the store's time back by
        // some minutes. Others are damaged: a head is no value, as whoever decodes it will tell.
        Ok(Some(found.clone()).filter(|_| head.expires.is_none()))
    }
}

/// The head that is stored under a full key, if it is one. The store's own records are none, whatever
/// is in them.
fn head(key: &[u8], stored: &[u8]) -> Option<Head> {
    Head::decode(stored).filter(|_| key.first() != Some(&0))
}
