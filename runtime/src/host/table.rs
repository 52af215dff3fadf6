//! The table of an instance's resources, and what each is charged with.

use std::collections::BTreeMap;

use wasmtime::component::{Resource, ResourceTable};

use super::HostState;
use super::held::{Charge, NoMemory};
use super::http::HandOver;
use super::limiter::Limiter;

/// Bytes of memory of a resource: its place in the table, which doubles as it grows, its value and
/// the guest's handle, a place among its parent's children and in a poll. What resources hold beside
/// that is charged where they are made.
pub(super) const HANDLE_BYTES: usize = 512;
/// For how many resources an instance pays at a time.
const STEP: usize = 64;
/// How many resources one call may add: an alarm and its pollable, a response, its fields.
const ADDED: usize = 3;

/// An instance's resources.
#[derive(Default)]
pub(super) struct Table {
    resources: ResourceTable,
    /// For all resources that the table has room for.
    handles: Option<Charge>,
    /// How many there may be.
    max: usize,
    /// Why there was no room for more.
    refused: Option<NoMemory>,
    /// What single resources are charged with beside that, by their place in the table.
    kept: BTreeMap<u32, Kept>,
}

/// What the host keeps for one resource beside its place in the table.
#[derive(Default)]
pub(super) struct Kept {
    /// For header fields. It grows with them and shrinks no more: neither does what they are kept
    /// in.
    pub(super) fields: Option<Charge>,
    /// For anything else.
    pub(super) other: Option<Charge>,
    /// The body of a message that was not handed over yet.
    pub(super) body: Option<HandOver>,
}

impl Table {
    /// An empty table for at most `max` resources.
    pub(super) fn new(max: usize) -> Table {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(0);
        Table {
            resources,
            max,
            ..Table::default()
        }
    }

    /// The table, with room for what one call may add, as far as there can be.
    pub(super) fn with_room(&mut self, limiter: &mut Limiter) -> &mut ResourceTable {
        // The table does not tell how many places are free, so some are taken and given back. A value
        // without a size takes no memory.
        let mut taken = [None, None, None];
        const { assert!(ADDED == 3) };
        for place in &mut taken {
            *place = self.resources.push(()).ok();
            if place.is_none() && self.grow(limiter) {
                *place = self.resources.push(()).ok();
            }
        }
        for place in taken.into_iter().flatten() {
            // It was put there just now.
            let _ = self.resources.delete(place);
        }
        &mut self.resources
    }

    /// Pays for more places. Returns whether there are more now.
    fn grow(&mut self, limiter: &mut Limiter) -> bool {
        let places = self.places();
        let step = STEP.min(self.max.saturating_sub(places));
        if step == 0 {
            return false;
        }
        let bytes = (places + step) * HANDLE_BYTES;
        self.refused = limiter.raise(&mut self.handles, bytes).err();
        if self.refused.is_none() {
            self.resources.set_max_capacity(places + step);
        }
        self.refused.is_none()
    }

    /// Why there was no room for a resource: memory, or else there are as many as there may be.
    pub(super) fn refused(&self) -> Option<NoMemory> {
        self.refused
    }

    /// How many resources there is room for without more being paid for.
    pub(super) fn places(&self) -> usize {
        self.resources.max_capacity()
    }

    /// The most resources that there may be.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// What is kept for the resource at `place`, to be changed.
    pub(super) fn kept(&mut self, place: u32) -> &mut Kept {
        self.kept.entry(place).or_default()
    }

    /// Forgets what is kept for the resource at `place`, which is there no more, and returns it.
    pub(super) fn forget(&mut self, place: u32) -> Kept {
        self.kept.remove(&place).unwrap_or_default()
    }

    /// Keeps for the resource at `place` what was kept for another.
    pub(super) fn keep(&mut self, place: u32, kept: Kept) {
        self.kept.insert(place, kept);
    }
}

impl std::ops::Deref for Table {
    type Target = ResourceTable;

    fn deref(&self) -> &ResourceTable {
        &self.resources
    }
}

impl std::ops::DerefMut for Table {
    fn deref_mut(&mut self) -> &mut ResourceTable {
        &mut self.resources
    }
}

impl HostState {
    /// The table of resources, with room for what one call may add. Every interface gets it here, so
    /// that every resource is paid for before it is made.
    pub(super) fn table(&mut self) -> &mut ResourceTable {
        self.table.with_room(&mut self.limiter)
    }

    /// Charges a resource with `bytes` beside its place in the table and its header fields, unless it
    /// is charged with as much.
    pub(super) fn charge<T: 'static>(
        &mut self,
        resource: &Resource<T>,
        bytes: usize,
    ) -> Result<(), NoMemory> {
        let kept = self.table.kept.entry(resource.rep()).or_default();
        self.limiter.raise(&mut kept.other, bytes)
    }

    /// Charges a resource's header fields with `bytes`, unless they are charged with as much.
    pub(super) fn charge_fields<T: 'static>(
        &mut self,
        resource: &Resource<T>,
        bytes: usize,
    ) -> Result<(), NoMemory> {
        let kept = self.table.kept.entry(resource.rep()).or_default();
        self.limiter.raise(&mut kept.fields, bytes)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::memory::Budget;

    #[test]
    fn there_are_as_many_resources_as_are_paid_for_and_no_more_than_may_be() {
        let budget = Budget::new(8 << 20);
        let mut limiter = Limiter::new(budget.reserve(1 << 20).unwrap(), 0, 8 << 20, 0);
        let mut table = Table::new(4000);
        let mut made = Vec::new();
        while let Ok(resource) = table.with_room(&mut limiter).push(1u8) {
            made.push(resource);
        }
        assert_eq!((made.len(), table.refused()), (4000, None));
        assert!(limiter.held() >= 4000 * HANDLE_BYTES);
        assert!(budget.used() >= 4000 * HANDLE_BYTES);
        // A place that is free again is taken again.
        table.delete(made.pop().unwrap()).unwrap();
        made.push(table.with_room(&mut limiter).push(1u8).unwrap());
        // Where memory ends first, that is known.
        let others = budget.reserve(budget.limit() - budget.used());
        assert!(others.is_some());
        let mut limiter = Limiter::new(budget.reserve(0).unwrap(), 0, 8 << 20, 0);
        let mut table = Table::new(4000);
        let mut made = 0;
        while table.with_room(&mut limiter).push(1u8).is_ok() {
            made += 1;
        }
        assert!(
            (200..=256).contains(&made),
            "{made}: the share of an instance"
        );
        assert!(table.refused().unwrap().is_busy);
    }
}
