//! The allocator of device binaries: dlmalloc, with memory that goes back to the system.
//!
//! By itself dlmalloc joins each piece of memory that it gets from the system with the one that it got
//! before, since Linux places it right below. The whole is one segment then, which is never without
//! anything in use, and only its upper end is given back, where the oldest things lie: a daemon that an
//! attack made large stays large. Here each piece stays a [segment](SEGMENT) of its own, and goes back
//! as soon as nothing in it is used ([`Heap::give_back`]).

// An allocator has nothing but unsafe functions: what it hands out is memory that nobody else has.
#![expect(
    unsafe_code,
    reason = "the traits of allocators are unsafe, and so is mapping memory"
)]

mod unused;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use dlmalloc::{Allocator, Dlmalloc};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use unused::Unused;

/// Bytes of a segment, at least. One that is small is soon without anything in use; each costs a look
/// when memory is given back.
const SEGMENT: usize = 128 << 10;

/// The allocator.
pub struct Heap {
    dlmalloc: Mutex<Dlmalloc<Segments>>,
}

impl Heap {
    /// An empty heap.
    #[expect(
        clippy::new_without_default,
        reason = "a default cannot be made for a static"
    )]
    pub const fn new() -> Heap {
        Heap {
            dlmalloc: Mutex::new(Dlmalloc::new_with_allocator(Segments {
                made: Cell::new(0),
                unused: Cell::new(Unused::NONE),
            })),
        }
    }

    /// Gives the segments back in which nothing is used. It looks at each of them once.
    pub fn give_back(&self) {
        // SAFETY: dlmalloc's own state is all that it changes, and this holds its lock.
        let _was_any = self.locked(|dlmalloc| unsafe { dlmalloc.trim(0) });
    }

    /// Does `work` under the lock, and has the system take what dlmalloc is done with after it: unmapping
    /// takes long, and others need memory meanwhile.
    fn locked<T>(&self, work: impl FnOnce(&mut Dlmalloc<Segments>) -> T) -> T {
        // Nothing below panics.
        let mut dlmalloc = self.dlmalloc.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut dlmalloc);
        let unused = dlmalloc.allocator().unused.replace(Unused::NONE);
        drop(dlmalloc);
        unused.unmap();
        done
    }
}

// SAFETY: each function is dlmalloc's of the same meaning, whose contracts are those of `GlobalAlloc`
// by its documentation, called under a lock; none of them unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; what the caller promises is passed on.
        self.locked(|dlmalloc| unsafe { dlmalloc.malloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; what the caller promises is passed on.
        self.locked(|dlmalloc| unsafe { dlmalloc.free(at, layout.size(), layout.align()) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; what the caller promises is passed on.
        self.locked(|dlmalloc| unsafe { dlmalloc.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; what the caller promises is passed on.
        self.locked(|dlmalloc| unsafe { dlmalloc.realloc(at, layout.size(), layout.align(), size) })
    }
}

/// Where dlmalloc gets its memory: pieces that it does not join.
struct Segments {
    /// How many there were.
    made: Cell<u32>,
    /// What dlmalloc is done with since its lock was taken.
    unused: Cell<Unused>,
}

impl Segments {
    /// # Safety
    ///
    /// As for [`Unused::and`].
    unsafe fn is_done_with(&self, at: *mut u8, bytes: usize) {
        let before = self.unused.replace(Unused::NONE);
        // SAFETY: the caller promises it.
        self.unused.set(unsafe { before.and(at, bytes) });
    }
}

// SAFETY: `alloc` returns memory that the kernel has just mapped for this process, readable, writable
// and zeroed, or null. `free` and `free_part` take what dlmalloc says that it got from `alloc` and does
// not use any more, and once they have returned true it forgets it: it neither reads nor writes it again,
// and hands none of it out. So it may stay mapped until the lock is given back.
unsafe impl Allocator for Segments {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let Some(size) = size.checked_next_multiple_of(SEGMENT) else {
            return (null_mut(), 0, 0);
        };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let mapped = unsafe { mmap_anonymous(null_mut(), size, access, MapFlags::PRIVATE) };
        let Ok(at) = mapped else {
            return (null_mut(), 0, 0);
        };
        // Segments are joined where all but the lowest bit of this are the same. That bit would say
        // that the memory is not ours.
        let number = self.made.get().wrapping_add(2);
        self.made.set(number);
        (at.cast(), size, number)
    }

    /// Moving is left to dlmalloc, which copies.
    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, at: *mut u8, old: usize, new: usize) -> bool {
        // It asks for that too where there is no whole step to give back.
        if new >= old {
            return false;
        }
        // SAFETY: dlmalloc is done with the mapping from here on. It cuts where pages end: `old` is the size
        // of a segment, and it gives back whole steps of its granularity, which are whole pages.
        unsafe { self.is_done_with(at.wrapping_add(new), old - new) };
        true
    }

    fn free(&self, at: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc is done with the whole mapping.
        unsafe { self.is_done_with(at, size) };
        true
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// Bytes of this process that are in memory.
    fn resident() -> usize {
        let fields = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = fields.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    #[test]
    fn memory_goes_back_although_some_that_came_before_is_used() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(10_000, 8).unwrap();
        // SAFETY: the layout is not empty, and what is allocated is freed once, with its layout.
        unsafe {
            let kept = heap.alloc(layout);
            assert!(!kept.is_null());
            let before = resident();
            let pieces: Vec<_> = (0..4000).map(|_| heap.alloc_zeroed(layout)).collect();
            for piece in &pieces {
                assert_eq!(piece.cast::<u64>().read(), 0);
                piece.write_bytes(7, layout.size());
            }
            let peak = resident();
            assert!(peak - before >= 4000 * 10_000);
            kept.write_bytes(1, layout.size());
            for piece in pieces {
                heap.dealloc(piece, layout);
            }
            heap.give_back();
            // Other tests of this process may have taken some meanwhile.
            assert!(resident() < before + (peak - before) / 4);
            assert_eq!(kept.read(), 1);
            let kept = heap.realloc(kept, layout, 50_000);
            assert_eq!(kept.add(9_999).read(), 1);
            heap.dealloc(kept, Layout::from_size_align(50_000, 8).unwrap());
        }
    }

    #[test]
    fn what_cannot_be_had_is_null() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(isize::MAX as usize - 64, 8).unwrap();
        // SAFETY: the layout is not empty.
        assert!(unsafe { heap.alloc(layout) }.is_null());
    }
}
