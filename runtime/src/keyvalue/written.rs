//! Counts what the store writes, from the kernel's figures where it tells them.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync;

/// The name of the keeper's thread.
pub(super) const KEEPER: &str = "kv-keeper";
/// The store's threads, fjall's worker among them: what they write is what the store writes.
const THREADS: [&str; 2] = ["fjall:worker", KEEPER];

/// Bytes that the store's threads handed to the kernel to write: journal, tables, compaction. Only
/// the keeper and fjall's worker write to the database, and Linux counts each thread's writes
/// (`wchar` in `/proc/PID/task/TID/io`, see proc(5)). What it has of the threads of a process that
/// is not dumpable is for root alone, so what batches come to is reckoned as well.
#[derive(Default)]
pub(super) struct Written {
    counted: Mutex<Count>,
    reckoned: AtomicU64,
}

#[derive(Default)]
struct Count {
    total: u64,
    /// The last figure of each thread. fjall's worker is a new thread when the store was reopened.
    threads: Vec<(u32, u64)>,
}

impl Written {
    /// Adds what a batch comes to that was written ([`super::writes::Writes::cost`]), or what was
    /// written anew.
    pub(super) fn reckon(&self, bytes: u64) {
        self.reckoned.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes so far: as the kernel counts them, or else as they are reckoned.
    pub(super) fn bytes(&self) -> u64 {
        let mut count = sync::lock(&self.counted);
        match store_threads() {
            Some(threads) => count.take(threads),
            // It may have told at first.
            None => self.at_least(&count),
        }
    }

    fn at_least(&self, count: &Count) -> u64 {
        count.total.max(self.reckoned.load(Ordering::Relaxed))
    }
}

impl Count {
    /// Takes the present figures of the threads. Returns all bytes so far.
    fn take(&mut self, threads: Vec<(u32, u64)>) -> u64 {
        for &(id, written) in &threads {
            let seen = self.threads.iter().find(|(seen, _)| *seen == id);
            let before = seen.map_or(0, |&(_, before)| before);
            // If it is less than before, another thread has got the number of one that has ended.
            self.total += written.checked_sub(before).unwrap_or(written);
        }
        self.threads = threads;
        self.total
    }
}

/// The store's threads, with the bytes that each has written.
fn store_threads() -> Option<Vec<(u32, u64)>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task").ok()? {
        let entry = entry.ok()?;
        let read = |file| fs::read_to_string(entry.path().join(file));
        // A thread may end while it is looked at.
        let Ok(name) = read("comm") else { continue };
        if !THREADS.contains(&name.trim_end()) {
            continue;
        }
        let io = read("io").ok()?;
        let wchar = io.lines().find_map(|line| line.strip_prefix("wchar: "))?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        threads.push((id, wchar.parse().ok()?));
    }
    Some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_and_go_add_up() {
        let mut count = Count::default();
        assert_eq!(count.take(vec![(1, 10), (2, 5)]), 15);
        assert_eq!(count.take(vec![(1, 12), (3, 1)]), 18);
        // Another thread has got the number of one that has ended.
        assert_eq!(count.take(vec![(1, 4)]), 22);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_reckoned() {
        let written = Written::default();
        written.reckon(100);
        sync::lock(&written.counted).total = 50;
        assert_eq!(written.at_least(&sync::lock(&written.counted)), 100);
    }
}
