//! fjall called directly, with the settings that the daemon opens it with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

/// As in the runtime's `keyvalue/database.rs`. The memtable's bound is left to fjall, which the daemon
/// sees to itself; nothing expires.
const CACHE_BYTES: u64 = 256 << 10;
const MEMTABLE_BYTES: u64 = 1 << 20;
const TABLE_BYTES: u64 = 2 << 20;
const CACHED_FILES: usize = 16;
const WORKERS: usize = 1;

/// As in the guest: keys are visited in this stride.
const STRIDE: u64 = 7919;
/// Keys that calls go over.
pub(crate) const KEYS: u64 = 10_000;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: u64 = 100;

/// An open database.
pub(crate) struct Direct {
    database: Database,
    keyspace: Keyspace,
}

impl Direct {
    /// Opens the database in `folder`, or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Direct> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .worker_threads(WORKERS)
            .max_cached_files(Some(CACHED_FILES))
            .open()
            .context("fjall does not open")?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .compaction_strategy(Arc::new(
                    Leveled::default().with_table_target_size(TABLE_BYTES),
                ))
        };
        let keyspace = database.keyspace("bench", options)?;
        Ok(Direct { database, keyspace })
    }

    /// Sets all keys.
    pub(crate) fn fill(&self) -> Result<()> {
        for number in 0..KEYS {
            self.keyspace
                .insert(key(number), [b'v'; VALUE_BYTES as usize])?;
        }
        self.persist()
    }

    /// Waits until everything is on the disk.
    pub(crate) fn persist(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    /// How long `calls` gets take.
    pub(crate) fn get(&self, calls: u64) -> Result<Duration> {
        timed(scattered(calls).map(key), |key| {
            let value = self.keyspace.get(key)?.context("a key is gone")?;
            // Handing a value to a caller means copying it.
            ensure!(
                value.to_vec().len() == VALUE_BYTES as usize,
                "another value"
            );
            Ok(())
        })
    }

    /// How long `calls` inserts take; they reach the kernel.
    pub(crate) fn set(&self, calls: u64) -> Result<Duration> {
        timed(scattered(calls).map(key), |key| {
            Ok(self.keyspace.insert(key, [b'w'; VALUE_BYTES as usize])?)
        })
    }

    /// The same, each on the disk before the next.
    pub(crate) fn set_sync(&self, calls: u64) -> Result<Duration> {
        timed(scattered(calls).map(key), |key| {
            self.keyspace.insert(key, [b'w'; VALUE_BYTES as usize])?;
            self.persist()
        })
    }

    /// How long `calls` reads with a write of the number after it take.
    pub(crate) fn increment(&self, calls: u64) -> Result<Duration> {
        timed((0..calls).map(|_| "hits".to_owned()), |key| {
            self.hit(key).map(drop)
        })
    }

    /// The same, each on the disk before the next.
    pub(crate) fn increment_sync(&self, calls: u64) -> Result<Duration> {
        timed((0..calls).map(|_| "hits".to_owned()), |key| {
            self.hit(key)?;
            self.persist()
        })
    }

    /// How long `calls` lists of a hundred keys take.
    pub(crate) fn list(&self, calls: u64) -> Result<Duration> {
        let prefixes = scattered(calls).map(|number| format!("k/{:06}", number / 100));
        timed(prefixes, |prefix| {
            let mut keys = Vec::new();
            for found in self.keyspace.prefix(prefix) {
                keys.push(String::from_utf8(found.key()?.to_vec())?);
            }
            ensure!(keys.len() == 100, "{} keys instead of 100", keys.len());
            Ok(())
        })
    }

    /// Adds one to a little-endian number.
    pub(crate) fn hit(&self, key: &str) -> Result<i64> {
        let old = match self.keyspace.get(key)? {
            None => 0,
            Some(bytes) => i64::from_le_bytes((*bytes).try_into().context("no number")?),
        };
        self.keyspace.insert(key, (old + 1).to_le_bytes())?;
        Ok(old + 1)
    }
}

/// How long `call` takes for all keys; making the keys does not count.
fn timed(
    keys: impl Iterator<Item = String>,
    call: impl Fn(&str) -> Result<()>,
) -> Result<Duration> {
    let keys: Vec<String> = keys.collect();
    let start = Instant::now();
    for key in &keys {
        call(key)?;
    }
    Ok(start.elapsed())
}

fn scattered(calls: u64) -> impl Iterator<Item = u64> {
    (0..calls).map(|call| call * STRIDE % KEYS)
}

fn key(number: u64) -> String {
    format!("k/{number:08}")
}
