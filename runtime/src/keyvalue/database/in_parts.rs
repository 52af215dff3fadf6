//! Writes large values in parts, and reads them.

use std::sync::atomic::Ordering;

use fjall::{OwnedWriteBatch, Readable, Slice};

use super::Database;
use crate::keyvalue::entry::Entry;
use crate::keyvalue::parts::{Head, PART_BYTES};

impl Database {
    /// What is stored under a full key, whole.
    pub(in crate::keyvalue) fn get(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        match self.keyspace.get(key)? {
            Some(stored) if head(key, &stored).is_some() => self.get_parts(key),
            stored => Ok(stored),
        }
    }

    /// What is stored under a full key, or its head if it is stored in parts.
    pub(in crate::keyvalue) fn get_head(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        self.keyspace.get(key)
    }

    /// Adds the change of a key to `batch`, with those of the parts that come and go.
    pub(super) fn add_change(
        &self,
        batch: &mut OwnedWriteBatch,
        key: &Slice,
        stored: Option<&Slice>,
    ) -> fjall::Result<()> {
        let new = stored.and_then(|stored| Entry::head(stored));
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
            for part in old.part_keys(key).skip(kept) {
                batch.remove(&self.keyspace, part);
            }
        }
        match (stored, new) {
            (Some(stored), Some(new)) => {
                self.has_parts.store(true, Ordering::Relaxed);
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

    /// What is stored under a full key, put together from its parts.
    fn get_parts(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        // Head and parts as they are at one moment: a commit may replace them meanwhile.
        let snapshot = self.inner.snapshot();
        let Some(found) = snapshot.get(&self.keyspace, key)? else {
            return Ok(None);
        };
        let Some(head) = head(key, &found) else {
            return Ok(Some(found));
        };
        let mut whole = Vec::with_capacity(head.bytes);
        for part in head.part_keys(key) {
            match snapshot.get(&self.keyspace, part)? {
                Some(part) => whole.extend_from_slice(&part),
                None => break,
            }
        }
        if whole.len() == head.bytes {
            return Ok(Some(Slice::from(whole)));
        }
        // What expires may have lost parts to a merge before a power cut took the store's time back by
        // some minutes. Others are damaged: a head is no value, as whoever decodes it will tell.
        Ok(Some(found).filter(|_| head.expires.is_none()))
    }
}

/// The head that is stored under a full key, if it is one. The store's own records are none, whatever
/// is in them.
fn head(key: &[u8], stored: &[u8]) -> Option<Head> {
    Head::decode(stored).filter(|_| key.first() != Some(&0))
}
