//! Several threads and one heap. It is a process of its own, because another test looks how much memory its process has.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    reason = "an allocator has unsafe functions alone, and a failed test should panic"
)]

use std::alloc::{GlobalAlloc, Layout};

use zlayer_heap::Heap;

#[test]
fn what_other_threads_have_stays_as_it_is_while_memory_goes_back() {
    let heap = Heap::new();
    // Small ones, and some that are larger than a segment.
    let sizes = [100, 5_000, 90_000, 300_000];
    let use_some = |mark: u8| {
        let mut kept = Vec::new();
        for round in 0..400 {
            let layout = Layout::from_size_align(sizes[round % sizes.len()], 16).unwrap();
            // SAFETY: the layout is not empty, and what is allocated is freed once, with its layout.
            unsafe {
                let at = heap.alloc(layout);
                at.write_bytes(mark, layout.size());
                kept.push((at, layout));
                if round % 3 == 2 {
                    let (at, layout) = kept.swap_remove(round / 3 % kept.len());
                    for place in [0, layout.size() / 2, layout.size() - 1] {
                        assert_eq!(at.add(place).read(), mark);
                    }
                    heap.dealloc(at, layout);
                    heap.give_back();
                }
            }
        }
        for (at, layout) in kept {
            // SAFETY: as above.
            unsafe {
                assert_eq!(at.add(layout.size() - 1).read(), mark);
                heap.dealloc(at, layout);
            }
        }
    };
    std::thread::scope(|scope| {
        for mark in 1..5 {
            scope.spawn(move || use_some(mark));
        }
    });
}
