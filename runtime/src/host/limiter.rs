//! Bounds the memory and tables that an instance may allocate.

use wasmtime::ResourceLimiter;

use crate::memory::Reservation;

/// How many elements each of an instance's tables may have.
const TABLE_ELEMENTS: usize = 20_000;

/// A growth of memory that an instance was refused: the likely reason behind a later trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The size in bytes that the memory was to grow to.
    pub wanted: usize,
    /// Whether it would have been granted if others used no memory. Then the plugin is not at
    /// fault.
    pub is_busy: bool,
}

/// Charges an instance's linear memories to the budget and bounds its tables.
pub struct Limiter {
    reservation: Reservation,
    /// Bytes of the reservation that the instance's memories have not taken yet.
    prepaid: usize,
    /// How many bytes the instance's memories could have if nobody else used any.
    memory_max: usize,
    /// How many bytes of the reservation are for what the instance's calls leave in the host.
    call_share: usize,
    /// The size of all the instance's memories in bytes.
    taken: usize,
    /// Bytes that the last granted growth took, to be given back if the engine then fails to grow.
    pending: usize,
    refused: Option<Refused>,
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
            call_share,
            taken: 0,
            pending: 0,
            refused: None,
        }
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

    /// How many bytes the instance's memory could grow by at this moment.
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
        // The reservation is kept for the next growth; it ends with the instance.
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
