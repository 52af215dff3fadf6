//! Memory that dlmalloc is done with, until the system takes it.

use std::ptr::null_mut;

use rustix::mm::{Advice, madvise, munmap};

/// Pieces of memory that nobody uses, and that are mapped still. They are a list, which takes no memory
/// of its own: each begins with where the next one is.
pub(crate) struct Unused(*mut Piece);

/// What a piece of memory begins with.
struct Piece {
    next: Unused,
    bytes: usize,
}

// SAFETY: nobody else has this memory, and mappings belong to the whole process: it is all the same which thread
// reads, writes and unmaps it.
unsafe impl Send for Unused {}

impl Unused {
    /// No memory.
    pub(crate) const NONE: Unused = Unused(null_mut());

    /// This and one more piece.
    ///
    /// # Safety
    ///
    /// The `bytes` bytes from `at` on are whole pages, at least one, that are mapped readable and writable,
    /// and from now on nobody else reads, writes or unmaps them.
    pub(crate) unsafe fn and(self, at: *mut u8, bytes: usize) -> Unused {
        let piece = at.cast::<Piece>();
        // SAFETY: the caller promises that they are writable and nobody else's; a page is large enough for
        // this, and aligned for it.
        unsafe { piece.write(Piece { next: self, bytes }) };
        Unused(piece)
    }

    /// Gives all of it back.
    pub(crate) fn unmap(mut self) {
        while !self.0.is_null() {
            let at = self.0;
            // SAFETY: `and` wrote it, and it is mapped until the next statement.
            let Piece { next, bytes } = unsafe { at.read() };
            // SAFETY: whole pages that nobody else has, as whoever called `and` promised, and what they began
            // with has been read.
            let unmapped = unsafe { munmap(at.cast(), bytes) };
            if unmapped.is_err() {
                // Unmapping a part splits a mapping, and the kernel has a limit for their number. The
                // memory goes back all the same; where this fails too, there is nothing left to do.
                // SAFETY: as above.
                let _ = unsafe { madvise(at.cast(), bytes, Advice::LinuxDontNeed) };
            }
            self = next;
        }
    }
}
