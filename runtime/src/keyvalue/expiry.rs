//! Removes expired values from the disk whenever fjall compacts.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

use super::clock::StoreClock;
use super::entry::Entry;

/// Makes a filter for each compaction. It only frees space: reads check the expiry themselves.
pub(super) struct Expiry {
    pub(super) clock: Arc<StoreClock>,
}

// The clock consists of atomic numbers, so a panic cannot leave it half changed.
impl UnwindSafe for Expiry {}
impl RefUnwindSafe for Expiry {}

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expiry"
    }

    fn make_filter(&self, _context: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Before(self.clock.now()))
    }
}

/// A filter that removes what expired before this time.
struct Before(u64);

impl CompactionFilter for Before {
    fn filter_item(
        &mut self,
        item: ItemAccessor<'_>,
        _context: &Context,
    ) -> CompactionFilterResult {
        // The store's own records (the clock's anchor among them) start with a zero byte and never
        // expire.
        if item.key().first() == Some(&0) {
            return Ok(Verdict::Keep);
        }
        let stored = item.value()?;
        let expired = Entry::decode(&stored).is_some_and(|entry| entry.is_expired(self.0));
        Ok(if expired {
            Verdict::Remove
        } else {
            Verdict::Keep
        })
    }
}
