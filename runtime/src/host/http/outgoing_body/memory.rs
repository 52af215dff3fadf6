//! What the pieces of one outgoing body are charged to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::memory::Reservation;
use crate::sync;

/// What the pieces of one body are charged to.
pub(super) struct Memory {
    taken: Mutex<(Reservation, usize)>,
    /// Bytes that are not charged, while this body is the one of its instance that has them.
    free: usize,
    free_is_taken: Arc<AtomicBool>,
}

/// A part of the body, which is charged until it is dropped, wherever that is.
pub(super) struct Piece {
    pub(super) data: Vec<u8>,
    pub(super) memory: Arc<Memory>,
    pub(super) charged: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.memory.give_back(self.charged);
    }
}

impl Memory {
    /// Charges to `reservation`, which is empty, but for `free` bytes that one body of an instance
    /// has: the one that finds `free_is_taken` not set.
    pub(super) fn new(
        reservation: Reservation,
        free: usize,
        free_is_taken: &Arc<AtomicBool>,
    ) -> Arc<Memory> {
        let is_first = !free_is_taken.swap(true, Ordering::Relaxed);
        Arc::new(Memory {
            taken: Mutex::new((reservation, 0)),
            free: if is_first { free } else { 0 },
            free_is_taken: Arc::clone(free_is_taken),
        })
    }

    /// Takes so many bytes; false if there are none.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let mut taken = sync::lock(&self.taken);
        let (reservation, sum) = &mut *taken;
        let needed = (*sum + bytes).saturating_sub(self.free);
        let granted = reservation.grow(needed.saturating_sub(reservation.bytes()));
        if granted {
            *sum += bytes;
        }
        granted
    }

    fn give_back(&self, bytes: usize) {
        let mut taken = sync::lock(&self.taken);
        let (reservation, sum) = &mut *taken;
        *sum -= bytes;
        let needed = sum.saturating_sub(self.free);
        reservation.shrink(reservation.bytes().saturating_sub(needed));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.free > 0 {
            self.free_is_taken.store(false, Ordering::Relaxed);
        }
    }
}
