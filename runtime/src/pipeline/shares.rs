//! What a pipeline has of the memory budget beside its plugins: the shares of whole bodies and of the cache.

use std::sync::Arc;

use super::Pipeline;
use super::bodies::WholeBodies;
use crate::cache::{Cache, Clock};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::plugin::Common;

impl Pipeline {
    /// Bytes of the budget that one takes at the least which follows `after`, beside its plugins. They take whole
    /// bodies, or cache, where that is said.
    pub fn needed(takes_bodies: bool, caches: bool, limits: &Limits, after: &Pipeline) -> usize {
        let bodies = match takes_bodies && after.bodies.share() == 0 {
            true => zlayer_bundle::bodies_least(limits.body),
            false => 0,
        };
        let cache = match caches && after.cache.is_none() {
            true => cache_bytes(limits, &after.budget),
            false => 0,
        };
        bodies.saturating_add(cache)
    }
}

/// Bodies get a quarter of what is left, and at least room for one body each way. Where others have that quarter at
/// the moment, they do with the least.
pub(super) fn new_bodies(takes_bodies: bool, common: &Common<'_>) -> Result<Arc<WholeBodies>> {
    let (most, room) = (common.limits.body, common.room());
    let least = match takes_bodies {
        true => zlayer_bundle::bodies_least(most),
        false => 0,
    };
    let share = match takes_bodies {
        true => (room / 4).max(least),
        false => 0,
    };
    let reserved = common.reserve(share).or_else(|| common.reserve(least));
    let reserved = reserved.ok_or_else(|| {
        Error::Usage(format!(
            "bodies need {} KiB, and --memory-max {} KiB leaves {} KiB for them; raise it, or lower --max-body",
            least >> 10,
            common.budget.limit() >> 10,
            room >> 10
        ))
    })?;
    Ok(Arc::new(WholeBodies::new(reserved, most)))
}

fn cache_bytes(limits: &Limits, budget: &Budget) -> usize {
    { limits.cache }.unwrap_or_else(|| Cache::share_of(budget.limit()))
}

/// A cache of as many bytes as the flags say.
pub(super) fn new_cache(common: &Common<'_>) -> Result<Arc<Cache>> {
    let bytes = cache_bytes(common.limits, common.budget);
    let share = common.reserve(bytes).ok_or_else(|| {
        Error::Usage(format!(
            "the cache needs {} KiB, and --memory-max {} KiB leaves less; raise it, or lower --cache-max",
            bytes >> 10,
            common.budget.limit() >> 10
        ))
    })?;
    Ok(Cache::new(share, Clock::default()))
}
