//! Counts what the store writes, from the kernel's figures.

use std::fs;
use std::sync::Mutex;

use crate::sync;

/// The name of the keeper's thread.
pub(super) const KEEPER: &str = "kv-keeper";
/// The store's threads, fjall's worker among them: what they write is what the store writes.
const THREADS: [&str; 2] = ["fjall:worker", KEEPER];

/// Bytes that the store's threads handed to the kernel to write: journal, tables, compaction. Only
/// the keeper and fjall's worker write to the database, and Linux counts each thread's writes
/// (`wchar` in `/proc/PID/task/TID/io`, see proc(5)).
#[derive(Default)]
pub(super) struct Written(Mutex<Count>);

#[derive(Default)]
struct Count {
    total: u64,
    /// The last figure of each thread. fjall's worker is a new thread when the store was reopened.
    threads: Vec<(u32, u64)>,
}

impl Written {
    /// All bytes so far; `None` if the kernel does not count them, or does not tell: what it has of the
    /// threads of a process that is not dumpable is for root alone.
    pub(super) fn bytes(&self) -> Option<u64> {
        let mut count = sync::lock(&self.0);
        let threads = store_threads()?;
        for &(id, written) in &threads {
            let seen = count.threads.iter().find(|(seen, _)| *seen == id);
            let before = seen.map_or(0, |&(_, before)| before);
            // If it is less than before, another thread has got the number of one that has ended.
            count.total += written.checked_sub(before).unwrap_or(written);
        }
        count.threads = threads;
        Some(count.total)
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
