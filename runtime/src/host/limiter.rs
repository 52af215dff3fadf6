//! Bounds what an instance may allocate.

use wasmtime::ResourceLimiter;

use crate::memory::Reservation;

/// Elements of an instance's tables, together.
const TABLE_ELEMENTS: usize = 20_000;

/// Memory that an instance asked for in vain: the likely reason behind a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The size in bytes that a memory was to have.
    pub wanted: usize,
    /// It could have had that if others used none: not the plugin is at fault.
    pub is_busy: bool,
}

/// Charges an instance's linear memories to the budget and bounds its tables.
pub struct Limiter {
    reservation: Reservation,
    /// Bytes of the reservation that no memory has taken yet.
    prepaid: usize,
    /// Bytes that its memories could have if nobody else used any.
    memory_max: usize,
    /// Bytes that the instance's reservation holds for what its calls leave in the host.
    call_share: usize,
    /// Bytes of all the instance's memories.
    taken: usize,
    /// What the last granted growth took, if the engine then fails it.
    pending: usize,
    refused: Option<Refused>,
}

impl Limiter {
    /// Charges what an instance takes to `reservation`, which holds `prepaid` bytes for its memories
    /// already, and `call_share` bytes for what its calls leave in the host.
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
            call_share,
            taken: 0,
            pending: 0,
            refused: None,
        }
    }

    /// What was refused so far has no part in what comes.
    pub(super) fn forget_refused(&mut self) {
        self.refused = None;
    }

    /// Whether what was last refused is there at another time.
    pub fn is_busy(&self) -> bool {
        self.refused.is_some_and(|refused| refused.is_busy)
    }

    /// What was last refused, if anything.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Charges what a call holds in the host to the budget, until it is dropped: what goes beyond the
    /// instance's own share.
    pub fn charge_call(&self, bytes: usize) -> Option<Reservation> {
        self.reservation
            .another(bytes.saturating_sub(self.call_share))
    }

    /// Bytes that the instance's memory could grow by at this moment.
    pub fn room(&self) -> usize {
        let own = self.memory_max.saturating_sub(self.taken);
        own.min(self.prepaid.saturating_add(self.reservation.free()))
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
        let is_possible = self.taken.saturating_add(more) <= self.memory_max
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
            });
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // What was taken is kept for the next growth; the instance gives it back as a whole.
        let failed = std::mem::take(&mut self.pending);
        self.prepaid += failed;
        self.taken = self.taken.saturating_sub(failed);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum))
    }
}
