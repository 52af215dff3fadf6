//! What the host keeps for one instance beside its linear memory: handles, fields, requests, lines.
//!
//! Each piece has a [`Charge`] for as long as it is kept. What they come to is paid for by the
//! instance's reservation: a share of it in any case, and more in steps as it is needed
//! ([`super::Limiter`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are paid for when the instance is made, as a part of what it takes beside its linear
/// memory.
pub(super) const HELD_SHARE: usize = 128 << 10;
/// Bytes by which an instance pays for more.
const STEP: usize = 32 << 10;

/// Counts what the host keeps for an instance, and what is paid for that.
pub(super) struct Held {
    bytes: Arc<AtomicUsize>,
    /// Never less than [`HELD_SHARE`].
    paid: usize,
}

/// Bytes that the host keeps for an instance. They are given back when this is dropped, which may
/// be after the instance.
#[derive(Debug)]
pub(super) struct Charge {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Default for Held {
    fn default() -> Held {
        Held {
            bytes: Arc::default(),
            paid: HELD_SHARE,
        }
    }
}

impl Held {
    /// Bytes that are kept at this moment.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are paid for beside the instance's share.
    pub(super) fn beyond_share(&self) -> usize {
        self.paid - HELD_SHARE
    }

    /// How many bytes have to be paid for before `more` can be kept.
    pub(super) fn missing(&self, more: usize) -> usize {
        let missing = self.bytes().saturating_add(more).saturating_sub(self.paid);
        missing.checked_next_multiple_of(STEP).unwrap_or(usize::MAX)
    }

    /// Records that so many more bytes are paid for.
    pub(super) fn add_paid(&mut self, bytes: usize) {
        self.paid += bytes;
    }

    /// Takes back what was paid for and is not needed, but for a step. Returns how much.
    pub(super) fn take_unused(&mut self) -> usize {
        let needed = self.bytes().next_multiple_of(STEP) + STEP;
        let unused = self.paid.saturating_sub(needed.max(HELD_SHARE));
        self.paid -= unused;
        unused
    }

    /// Counts `bytes`, which are paid for.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            held: Arc::clone(&self.bytes),
            bytes,
        }
    }
}

impl Charge {
    /// Bytes that it stands for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes one charge of two.
    pub(super) fn join(&mut self, mut other: Charge) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// There is no memory for what a plugin would have the host keep. As the error of a host function
/// it ends the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory {
    /// The bytes that the host would have kept for the instance.
    pub wanted: usize,
    /// Whether they would have been granted if others used no memory. Then the plugin is not at
    /// fault.
    pub is_busy: bool,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the host would keep {} KiB for it (handles, header fields, bodies, lists), for which there is no memory; \
             --memory-max rules how much there is",
            self.wanted >> 10
        )
    }
}

impl std::error::Error for NoMemory {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_paid_for_in_steps_and_given_back() {
        let mut held = Held::default();
        assert_eq!(held.missing(HELD_SHARE), 0);
        assert_eq!(held.missing(HELD_SHARE + 1), STEP);
        assert!(held.missing(usize::MAX) > usize::MAX - 2 * HELD_SHARE);
        let mut first = held.charge(HELD_SHARE);
        held.add_paid(held.missing(STEP * 3));
        first.join(held.charge(STEP * 3));
        assert_eq!(
            (first.bytes(), held.bytes()),
            (HELD_SHARE + STEP * 3, HELD_SHARE + STEP * 3)
        );
        assert_eq!((held.take_unused(), held.beyond_share()), (0, STEP * 3));
        drop(first);
        assert_eq!(held.bytes(), 0);
        assert_eq!((held.take_unused(), held.beyond_share()), (STEP * 3, 0));
    }
}
