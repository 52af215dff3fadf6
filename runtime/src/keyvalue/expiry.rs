//! Removes expired values from the disk whenever fjall compacts, and counts what that writes.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

use super::clock::StoreClock;
use super::entry::Entry;
use super::parts::part_expiry;

/// Makes a filter for each compaction. It only frees space: reads check the expiry themselves.
pub(super) struct Expiry {
    pub(super) clock: Arc<StoreClock>,
    /// Counts the bytes of keys and values that compactions write anew.
    pub(super) rewritten: Arc<AtomicU64>,
}

// All in it are atomic numbers, so a panic cannot leave it half changed.
impl UnwindSafe for Expiry {}
impl RefUnwindSafe for Expiry {}

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expiry"
    }

    fn make_filter(&self, _context: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Merge {
            now: self.clock.now(),
            rewritten: Arc::clone(&self.rewritten),
        })
    }
}

/// A filter that removes what has expired by `now`.
struct Merge {
    now: u64,
    rewritten: Arc<AtomicU64>,
}

impl CompactionFilter for Merge {
    fn filter_item(
        &mut self,
        item: ItemAccessor<'_>,
        _context: &Context,
    ) -> CompactionFilterResult {
        let key = item.key();
        let stored = item.value()?;
        let expires = match key.first() {
            // The store's own records; but for parts of values, they never expire.
            Some(0) => part_expiry(key),
            _ => Entry::expiry(&stored),
        };
        if expires.is_some_and(|at| at <= self.now) {
            return Ok(Verdict::Remove);
        }
        let bytes = (key.len() + stored.len()) as u64;
        self.rewritten.fetch_add(bytes, Ordering::Relaxed);
        Ok(Verdict::Keep)
    }
}
