//! Takes until it is refused.

use core::arch::wasm32::{memory_grow, memory_size};
use std::hint::black_box;

use crate::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::wasi::http::types::Fields;

const PAGE: usize = 64 << 10;
const BLOCK: usize = 1 << 20;

/// Fills memory until there is no more and answers its size in bytes.
pub fn memory() -> usize {
    // As many blocks as 32 bits can address, so that the list itself never grows.
    let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(4096);
    while hoard.len() < hoard.capacity() {
        let mut block = Vec::new();
        if block.try_reserve_exact(BLOCK).is_err() {
            break;
        }
        // Written to, so that the host has to find real memory for it.
        block.resize(BLOCK, 0xa5);
        hoard.push(black_box(block));
    }
    // What is left is less than a block.
    while memory_grow::<0>(1) != usize::MAX {}
    memory_size::<0>() * PAGE
}

/// One block of this size, or a trap.
pub fn block(bytes: usize) -> Vec<u8> {
    vec![0xa5; black_box(bytes)]
}

/// Makes resources until the host refuses, which it can only do by a trap, or
/// until there are ten million. Answers how many there were.
pub fn resources() -> usize {
    let mut hoard = Vec::new();
    while hoard.len() < 10_000_000 {
        hoard.push(Fields::new());
    }
    hoard.len()
}

/// Makes so many resources, drops them, and answers how many there were: what an interpreter does
/// that collects its garbage late.
pub fn pollables(count: usize) -> usize {
    let made: Vec<_> = (0..count).map(|_| subscribe_duration(0)).collect();
    made.len()
}
