//! How much of a long piece of work is done before others get their turn.

use std::time::{Duration, Instant};

/// How long a call may work on the store in one piece. Other requests wait for it, where the thread
/// that it holds is the only one.
/// Tests have the shortest pieces.
const PIECE: Duration = match cfg!(test) {
    true => Duration::ZERO,
    false => Duration::from_millis(1),
};
/// How much is done between two looks at the clock: so many keys, or so many bytes of values.
const KEYS: usize = 32;
const BYTES: usize = 64 << 10;

/// A piece of work that has begun.
pub(super) struct Piece {
    end: Instant,
    keys: usize,
    bytes: usize,
}

impl Piece {
    /// The most keys that are worth being prepared for a piece.
    pub(super) const MOST_KEYS: usize = 1024;

    pub(super) fn begin() -> Piece {
        Piece {
            end: Instant::now() + PIECE,
            keys: 0,
            bytes: 0,
        }
    }

    /// Counts a key with a value of `bytes`. Returns whether the piece is over.
    pub(super) fn is_over_with(&mut self, bytes: usize) -> bool {
        self.keys += 1;
        self.bytes += bytes;
        if self.keys < KEYS && self.bytes < BYTES {
            return false;
        }
        (self.keys, self.bytes) = (0, 0);
        Instant::now() >= self.end
    }
}
