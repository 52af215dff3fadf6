//! Bounds the memory and tables that an instance may allocate, and what the host keeps for it.
//!
//! The bounds are the same on every processor. Where instances are allocated in slots that are set
//! aside (`plugin/engine.rs`), the slots have these sizes; where they are allocated one by one, as on
//! 32 bits, nothing else bounds them.

use wasmtime::ResourceLimiter;
use zlayer_bundle::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

use super::held::{Charge, Held, NoMemory};
use crate::memory::Reservation;

/// Bytes of an element: a pointer. A table that grows is copied into one of up to twice the size.
const ELEMENT_BYTES: usize = 2 * size_of::<usize>();

/// A growth of memory that an instance was refused: the likely reason behind a later trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The size in bytes that the memory was to grow to.
    pub wanted: usize,
    /// Whether it would have been granted if others used no memory. Then the plugin is not at
    /// fault.
    pub is_busy: bool,
    /// Whether it is beyond what is said of this plugin: see [`Limiter::restrict_to`].
    pub is_beyond_own: bool,
}

/// Charges an instance's linear memories to the budget and bounds its tables.
pub struct Limiter {
    reservation: Reservation,
    /// Bytes of the reservation that the instance's memories have not taken yet.
    prepaid: usize,
    /// How many bytes the instance's memories could have if nobody else used any.
    memory_max: usize,
    /// How many bytes its memories may have together, however much there is.
    own_max: usize,
    /// How many bytes of the reservation are for what the instance's calls leave in the host.
    call_share: usize,
    /// The size of all the instance's memories in bytes.
    taken: usize,
    /// Bytes that the last granted growth took, to be given back if the engine then fails to grow.
    pending: usize,
    refused: Option<Refused>,
    /// What the host keeps for the instance.
    held: Held,
    /// What the elements of its tables are charged with.
    tables: Option<Charge>,
}

impl Limiter {
    /// Makes a limiter that charges an instance's memories to `reservation`, which already holds
    /// `prepaid` bytes for them, and `call_share` bytes for what its calls leave in the host.
    pub(super) fn new(
        reservation: Reservation,
        prepaid: usize,
        memory_max: usize,
        call_share: usize,
    ) -> Limiter {
        Limiter {
            reservation,
            prepaid,
            memory_max,
            own_max: usize::MAX,
            call_share,
            taken: 0,
            pending: 0,
            refused: None,
            held: Held::default(),
            tables: None,
        }
    }

    /// Lets the instance's memories have `bytes` together at most, however much there is.
    pub fn restrict_to(&mut self, bytes: usize) {
        self.own_max = bytes;
    }

    /// Charges the instance with `bytes` that the host keeps for it.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<Charge, NoMemory> {
        let missing = self.held.missing(bytes);
        if missing > 0 {
            let is_possible = self.total().saturating_add(missing) <= self.memory_max;
            if !is_possible || !self.reservation.grow(missing) {
                let wanted = self.held.bytes().saturating_add(bytes);
                self.refused = Some(Refused {
                    wanted,
                    is_busy: is_possible,
                    is_beyond_own: false,
                });
                return Err(NoMemory {
                    wanted,
                    is_busy: is_possible,
                });
            }
            self.held.add_paid(missing);
        }
        Ok(self.held.charge(bytes))
    }

    /// Raises `charge` to `bytes`, if it is less.
    pub(super) fn raise(
        &mut self,
        charge: &mut Option<Charge>,
        bytes: usize,
    ) -> Result<(), NoMemory> {
        let more = bytes.saturating_sub(charge.as_ref().map_or(0, Charge::bytes));
        if more > 0 {
            let more = self.hold(more)?;
            match charge {
                Some(charge) => charge.join(more),
                None => *charge = Some(more),
            }
        }
        Ok(())
    }

    /// Bytes that the host keeps for the instance.
    pub fn held(&self) -> usize {
        self.held.bytes()
    }

    /// Bytes that others could have if the instance ended.
    pub fn returns(&self) -> usize {
        self.reservation.returns()
    }

    /// Gives back what is paid for and kept no more.
    pub(super) fn give_back_unused(&mut self) {
        self.reservation.shrink(self.held.take_unused());
    }

    /// A separate reservation in the same budget, for what may be kept longer than the instance.
    pub(super) fn reserve_apart(&self, bytes: usize) -> Result<Reservation, NoMemory> {
        let reserved = self.reservation.reserve_another(bytes);
        reserved.ok_or(NoMemory {
            wanted: bytes,
            is_busy: bytes <= self.memory_max,
        })
    }

    /// Bytes of what it could have that are reserved for the instance.
    fn total(&self) -> usize {
        self.taken + self.prepaid + self.held.beyond_share()
    }

    /// Forgets the last refusal, which has nothing to do with the next request.
    pub(super) fn forget_refused(&mut self) {
        self.refused = None;
    }

    /// Whether the last refused growth might be granted at another time.
    pub fn is_busy(&self) -> bool {
        self.refused.is_some_and(|refused| refused.is_busy)
    }

    /// The last growth that was refused, if there was one.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Reserves memory for what a call holds in the host, as far as it goes beyond the instance's
    /// own share, until the result is dropped.
    pub fn charge_call(&self, bytes: usize) -> Option<Reservation> {
        self.reservation
            .reserve_another(bytes.saturating_sub(self.call_share))
    }

    /// How many bytes the instance's memory could grow by if others used none.
    pub(super) fn room_alone(&self) -> usize {
        let there_is = self.prepaid + self.memory_max.saturating_sub(self.total());
        there_is.min(self.own_max.saturating_sub(self.taken))
    }

    /// How many bytes the instance's memory could grow by at this moment.
    pub fn room(&self) -> usize {
        self.room_alone()
            .min(self.prepaid.saturating_add(self.reservation.free()))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let beyond = more.saturating_sub(self.prepaid);
        let is_beyond_own = self.taken.saturating_add(more) > self.own_max;
        let is_possible = !is_beyond_own
            && self.total().saturating_add(beyond) <= self.memory_max
            && maximum.is_none_or(|maximum| desired <= maximum);
        let allowed = is_possible && self.reservation.grow(beyond);
        if allowed {
            self.prepaid -= more - beyond;
            self.taken += more;
            self.pending = more;
        } else {
            self.pending = 0;
            self.refused = Some(Refused {
                wanted: desired,
                is_busy: is_possible,
                is_beyond_own,
            });
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The reservation is kept for the next growth; it ends with the instance.
        let failed = std::mem::take(&mut self.pending);
        self.prepaid += failed;
        self.taken = self.taken.saturating_sub(failed);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let is_possible =
            desired <= TABLE_ELEMENTS_MAX && maximum.is_none_or(|maximum| desired <= maximum);
        let more = desired
            .saturating_sub(current)
            .saturating_mul(ELEMENT_BYTES);
        if !is_possible {
            return Ok(false);
        }
        let mut tables = self.tables.take();
        let bytes = tables.as_ref().map_or(0, Charge::bytes) + more;
        let raised = self.raise(&mut tables, bytes);
        self.tables = tables;
        Ok(raised.is_ok())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::Arc;

    use super::super::held::HELD_SHARE;
    use super::*;
    use crate::memory::Budget;

    /// A limiter of an instance with a share of a mebibyte, in a budget of so many bytes.
    fn limiter(limit: usize, memory_max: usize) -> (Limiter, Arc<Budget>) {
        let budget = Budget::new(limit);
        let reservation = budget.reserve(1 << 20).unwrap();
        (Limiter::new(reservation, 0, memory_max, 0), budget)
    }

    #[test]
    fn what_the_host_keeps_is_charged_and_what_does_not_fit_is_refused() {
        let (mut limiter, budget) = limiter(3 << 20, 2 << 20);
        let small = limiter.hold(HELD_SHARE).unwrap();
        assert_eq!(budget.used(), 1 << 20, "a share is paid for");
        let large = limiter.hold(1 << 20).unwrap();
        assert_eq!(budget.used(), 2 << 20);
        // More than it may have.
        let refused = limiter.hold(2 << 20).unwrap_err();
        assert!(!refused.is_busy && refused.wanted == (3 << 20) + HELD_SHARE);
        // No more than it may have, but others have it.
        let others = budget.reserve(1 << 20).unwrap();
        assert!(limiter.hold(512 << 10).unwrap_err().is_busy);
        assert!(limiter.is_busy());
        drop((others, large));
        limiter.give_back_unused();
        assert!(budget.used() <= (1 << 20) + (64 << 10), "{budget:?}");
        drop((small, limiter));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn memories_have_together_what_is_said_of_the_plugin_however_much_there_is() {
        let (mut limiter, budget) = limiter(64 << 20, 64 << 20);
        limiter.restrict_to(192 << 10);
        let mut grow = |from: usize, to: usize| {
            let may = limiter.memory_growing(from << 10, to << 10, None).unwrap();
            (may, limiter.room() >> 10)
        };
        assert_eq!(grow(0, 64), (true, 128));
        // Of another memory.
        assert_eq!(grow(0, 64), (true, 64));
        assert_eq!(grow(64, 192), (false, 64));
        assert_eq!(grow(64, 128), (true, 0));
        assert_eq!(grow(64, 128), (false, 0));
        let refused = limiter.refused().unwrap();
        assert!(refused.is_beyond_own && !refused.is_busy);
        assert_eq!(
            budget.used(),
            (1 << 20) + (192 << 10),
            "it is charged as ever"
        );
    }

    #[test]
    fn tables_have_as_many_elements_as_is_said_and_each_is_charged() {
        let (mut limiter, budget) = limiter(64 << 20, 64 << 20);
        let mut grow = |from, to| limiter.table_growing(from, to, None).unwrap();
        assert!(!grow(0, TABLE_ELEMENTS_MAX + 1));
        for _ in 0..TABLES_MAX {
            assert!(grow(0, TABLE_ELEMENTS_MAX));
        }
        let elements = TABLES_MAX as usize * TABLE_ELEMENTS_MAX * size_of::<usize>();
        assert!(budget.used() >= (1 << 20) - HELD_SHARE + elements);
        assert!(!limiter.table_growing(0, 10, Some(5)).unwrap());
        assert_eq!(
            (limiter.instances(), limiter.tables(), limiter.memories()),
            (128, 16, 4)
        );
    }

    #[test]
    fn tables_for_which_there_is_no_memory_do_not_grow() {
        let (mut limiter, _budget) = limiter((1 << 20) + (64 << 10), 64 << 20);
        assert!(limiter.table_growing(0, 100, None).unwrap());
        assert!(
            !limiter
                .table_growing(100, TABLE_ELEMENTS_MAX, None)
                .unwrap()
        );
        assert!(limiter.is_busy());
    }
}
