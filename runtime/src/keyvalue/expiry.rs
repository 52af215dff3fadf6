//! Expired values leave the disk when fjall compacts.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

use super::clock::StoreClock;
use super::entry::Entry;

/// Makes a filter for each compaction. Reads check the expiry themselves: this only gives space back.
pub(super) struct Expiry {
    pub(super) clock: Arc<StoreClock>,
}

// A panic cannot leave the clock half changed: it is made of atomic numbers.
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

/// Removes what expired before a time.
struct Before(u64);

impl CompactionFilter for Before {
    fn filter_item(
        &mut self,
        item: ItemAccessor<'_>,
        _context: &Context,
    ) -> CompactionFilterResult {
        // The store's own record (the clock's anchor) starts with a zero byte and never expires.
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
