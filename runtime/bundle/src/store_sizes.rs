//! How large the key-value store is on a device.

/// What the store may take of a device's memory, and of its open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSizes {
    /// Bytes of blocks that are kept in memory for reads.
    pub cache: u64,
    /// Bytes that gather in memory before they are written as a table. Twice as many may be in
    /// memory: one part that fills and one that is being written.
    pub memtable: u64,
    /// Bytes of changes that gather before writers have to wait for a commit. Twice as many may be
    /// in memory, and one change more that went beyond.
    pub pending: usize,
    /// Files that fjall keeps open. Each takes a descriptor, and its index takes memory.
    pub files: usize,
}

/// What else fjall takes: indexes and filters of tables, journal buffers, the working set of a
/// compaction.
const OVERHEAD: usize = 3 << 19;

impl StoreSizes {
    /// The sizes for a device whose budget is `memory` bytes: 256 KiB of cache and 1 MiB of
    /// memtable up to 64 MiB, sixteen and four times as much from 1 GiB and 256 MiB on.
    pub fn within(memory: usize) -> StoreSizes {
        let memory = memory as u64;
        let memtable = (memory / 64).clamp(1 << 20, 4 << 20);
        StoreSizes {
            cache: (memory / 256).clamp(256 << 10, 4 << 20),
            memtable,
            pending: (memtable / 4) as usize,
            files: if memory < 128 << 20 { 16 } else { 64 },
        }
    }

    /// All of it in bytes, to be taken from the budget; measured with 100,000 keys of 100 bytes. What
    /// fjall merges does not grow with the values, since large ones are stored in parts. Those that calls hand over, and what `sync` would go back to, are a part of
    /// what the process may take for the moment of a call.
    pub fn memory(&self) -> usize {
        self.cache as usize + 2 * self.memtable as usize + 2 * self.pending + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_with_the_device_and_stays_small() {
        let small = StoreSizes::within(12 << 20);
        assert_eq!(small, StoreSizes::within(64 << 20));
        assert_eq!(small.memory(), 4352 << 10);
        let large = StoreSizes::within(1 << 30);
        assert_eq!(large, StoreSizes::within(8 << 30));
        assert!(large.memory() <= 17 << 20);
    }
}
