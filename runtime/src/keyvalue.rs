//! The key-value store: one fjall database, a namespace per plugin.
//!
//! Only this module knows fjall. The database opens on a thread of its own beside the listener
//! (opening costs ten times the rest of the start); calls wait for it. Every change is made
//! under one lock per database, which makes `increment` and `compare_and_swap` atomic over all
//! instances and threads. A change reaches the operating system at once and the disk by a
//! group commit at most [`COMMIT_INTERVAL`] later, and on drain.

mod database;
mod entry;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use database::{COMMIT_INTERVAL, KeyValue, MEMORY_SHARE};

use database::Store;
use entry::{Entry, nanos, now, number};

/// Bounds on one namespace.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Bytes of one value (default 1 MiB).
    pub value_bytes: usize,
    /// Bytes of all keys and values together (default 64 MiB).
    pub bytes: u64,
    /// Number of keys (default 100,000).
    pub keys: u64,
    /// Bytes of keys that one `list_keys` may answer (default 1 MiB).
    pub list_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            value_bytes: 1 << 20,
            bytes: 64 << 20,
            keys: 100_000,
            list_bytes: 1 << 20,
        }
    }
}

/// Longest key in bytes.
pub const KEY_BYTES: usize = 1024;

/// Why a call failed; the cases of the contract's `kv-error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvError {
    /// The key is empty, too long, or holds a character outside letters, digits and `-_./:`.
    InvalidKey,
    /// The value is longer than [`Quota::value_bytes`].
    ValueTooLarge,
    /// The namespace is full; nothing changed.
    QuotaExceeded,
    /// The store itself failed, or the value is not what the call needs.
    Storage(String),
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::InvalidKey => f.write_str("invalid key"),
            KvError::ValueTooLarge => f.write_str("value too large"),
            KvError::QuotaExceeded => f.write_str("quota exceeded"),
            KvError::Storage(why) => write!(f, "storage: {why}"),
        }
    }
}

impl std::error::Error for KvError {}

impl From<fjall::Error> for KvError {
    fn from(error: fjall::Error) -> Self {
        log::error!("key-value store: {error:?}");
        KvError::Storage("the device's store failed; its log has the reason".to_owned())
    }
}

type Result<T> = std::result::Result<T, KvError>;

/// One plugin's keys.
pub struct Namespace {
    store: Store,
    /// The namespace's name and a zero byte, which no key may hold.
    prefix: Vec<u8>,
    quota: Quota,
    usage: Mutex<Usage>,
}

/// What the namespace holds, expired keys included until they are swept.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    bytes: u64,
    keys: u64,
    /// No key expires before this time: until then there is nothing to sweep.
    next_expiry: Option<u64>,
}

impl Usage {
    fn will_expire(&mut self, at: Option<u64>) {
        self.next_expiry = self.next_expiry.into_iter().chain(at).min();
    }
}

impl Namespace {
    fn open(store: Store, prefix: Vec<u8>, quota: Quota) -> Result<Namespace> {
        let namespace = Namespace {
            store,
            prefix,
            quota,
            usage: Mutex::default(),
        };
        let _writing = namespace.writing();
        namespace.sweep()?;
        drop(_writing);
        Ok(namespace)
    }

    /// The live value of `key`.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let full = self.full_key(key)?;
        Ok(self.live(&full)?.map(|entry| entry.value))
    }

    /// The live value of `key` as text; bytes that are not UTF-8 are a storage error.
    pub fn get_string(&self, key: &str) -> Result<Option<String>> {
        let not_text = |_| KvError::Storage("not a UTF-8 string".to_owned());
        self.get(key)?
            .map(|value| String::from_utf8(value).map_err(not_text))
            .transpose()
    }

    /// Stores `value`, without an expiry unless `ttl` gives one.
    pub fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let full = self.full_key(key)?;
        self.check_value(value)?;
        let expires = ttl.map(|ttl| now().saturating_add(nanos(ttl)));
        let _writing = self.writing();
        self.put(&full, value, expires)
    }

    /// Removes `key`; true if a live key went.
    pub fn delete(&self, key: &str) -> Result<bool> {
        let full = self.full_key(key)?;
        let _writing = self.writing();
        let live = self.live(&full)?.is_some();
        self.remove(&full)?;
        Ok(live)
    }

    /// Whether `key` is there and alive. An invalid key is not there.
    pub fn exists(&self, key: &str) -> bool {
        self.full_key(key)
            .and_then(|full| self.live(&full))
            .is_ok_and(|entry| entry.is_some())
    }

    /// The live keys that start with `prefix`, sorted. An empty prefix lists all.
    pub fn list_keys(&self, prefix: &str) -> Result<Vec<String>> {
        if prefix.len() > KEY_BYTES || !prefix.bytes().all(is_key_byte) {
            return Err(KvError::InvalidKey);
        }
        let mut keys = Vec::new();
        let mut bytes = 0;
        let now = now();
        for guard in self
            .store
            .keyspace
            .prefix([&self.prefix, prefix.as_bytes()].concat())
        {
            let (key, value) = guard.into_inner()?;
            let Some(name) = key.get(self.prefix.len()..) else {
                continue;
            };
            if Entry::decode(&value).is_none_or(|entry| entry.is_expired(now)) {
                continue;
            }
            bytes += name.len() + size_of::<String>();
            if bytes > self.quota.list_bytes {
                return Err(KvError::Storage(format!(
                    "the list is longer than {} bytes; ask for a narrower prefix",
                    self.quota.list_bytes
                )));
            }
            keys.push(String::from_utf8_lossy(name).into_owned());
        }
        Ok(keys)
    }

    /// Adds `delta` to the number in `key`, saturating, and answers the sum. An absent key counts
    /// as 0 and becomes eight little-endian bytes; decimal text stays decimal text; an expiry stays.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        let full = self.full_key(key)?;
        let _writing = self.writing();
        let entry = self.live(&full)?;
        let (old, decimal) = match &entry {
            None => (0, false),
            Some(entry) => number(&entry.value)?,
        };
        let sum = old.saturating_add(delta);
        let expires = entry.and_then(|entry| entry.expires);
        if decimal {
            self.put(&full, sum.to_string().as_bytes(), expires)?;
        } else {
            self.put(&full, &sum.to_le_bytes(), expires)?;
        }
        Ok(sum)
    }

    /// Stores `new` if the live value equals `expected` (`None`: if there is none) and answers
    /// whether it did. An expiry stays.
    pub fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<bool> {
        let full = self.full_key(key)?;
        self.check_value(new)?;
        let _writing = self.writing();
        let entry = self.live(&full)?;
        if entry.as_ref().map(|entry| entry.value.as_slice()) != expected {
            return Ok(false);
        }
        self.put(&full, new, entry.and_then(|entry| entry.expires))?;
        Ok(true)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data of its own, so a holder that died left nothing half done in it.
        self.store
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full_key(&self, key: &str) -> Result<Vec<u8>> {
        if key.is_empty() || key.len() > KEY_BYTES || !key.bytes().all(is_key_byte) {
            return Err(KvError::InvalidKey);
        }
        Ok([&self.prefix, key.as_bytes()].concat())
    }

    fn check_value(&self, value: &[u8]) -> Result<()> {
        if value.len() > self.quota.value_bytes {
            return Err(KvError::ValueTooLarge);
        }
        Ok(())
    }

    fn live(&self, full: &[u8]) -> Result<Option<Live>> {
        let Some(stored) = self.store.keyspace.get(full)? else {
            return Ok(None);
        };
        let damaged = || KvError::Storage("a stored value is damaged".to_owned());
        let entry = Entry::decode(&stored).ok_or_else(damaged)?;
        Ok((!entry.is_expired(now())).then(|| Live {
            value: entry.value.to_vec(),
            expires: entry.expires,
        }))
    }

    /// Writes an entry and keeps the usage true; the caller holds the write lock.
    fn put(&self, full: &[u8], value: &[u8], expires: Option<u64>) -> Result<()> {
        let stored = Entry { value, expires }.encode();
        let mut after = self.usage_after(full, &stored)?;
        if after.is_none() && self.usage().next_expiry.is_some_and(|at| at <= now()) {
            // Expired keys still count until they are swept: make room before refusing.
            self.sweep()?;
            after = self.usage_after(full, &stored)?;
        }
        let mut after = after.ok_or(KvError::QuotaExceeded)?;
        after.will_expire(expires);
        self.store.keyspace.insert(full, stored)?;
        *self.usage() = after;
        self.store.changed();
        Ok(())
    }

    /// What the namespace would hold with `stored` under `full`; none if that is over the quota.
    fn usage_after(&self, full: &[u8], stored: &[u8]) -> Result<Option<Usage>> {
        let before = *self.usage();
        let mut after = before;
        match self.store.keyspace.size_of(full)? {
            Some(size) => after.bytes = after.bytes.saturating_sub(u64::from(size)),
            None => {
                after.bytes += (full.len() - self.prefix.len()) as u64;
                after.keys += 1;
            }
        }
        after.bytes += stored.len() as u64;
        let grows = after.bytes > before.bytes || after.keys > before.keys;
        let over = after.bytes > self.quota.bytes || after.keys > self.quota.keys;
        Ok((!(grows && over)).then_some(after))
    }

    /// Removes a key and keeps the usage true; the caller holds the write lock.
    fn remove(&self, full: &[u8]) -> Result<()> {
        let Some(size) = self.store.keyspace.size_of(full)? else {
            return Ok(());
        };
        self.store.keyspace.remove(full)?;
        let mut usage = self.usage();
        usage.keys = usage.keys.saturating_sub(1);
        usage.bytes = usage
            .bytes
            .saturating_sub(u64::from(size) + (full.len() - self.prefix.len()) as u64);
        drop(usage);
        self.store.changed();
        Ok(())
    }

    /// Removes expired keys and counts the rest anew; the caller holds the write lock.
    fn sweep(&self) -> Result<()> {
        let now = now();
        let mut usage = Usage::default();
        let mut swept = false;
        for guard in self.store.keyspace.prefix(&self.prefix) {
            let (key, value) = guard.into_inner()?;
            let entry = Entry::decode(&value);
            if entry.is_some_and(|entry| entry.is_expired(now)) {
                self.store.keyspace.remove(key)?;
                swept = true;
            } else {
                // A damaged value counts like any other: it can be overwritten or deleted.
                usage.keys += 1;
                usage.bytes += (key.len() - self.prefix.len() + value.len()) as u64;
                usage.will_expire(entry.and_then(|entry| entry.expires));
            }
        }
        *self.usage() = usage;
        if swept {
            self.store.changed();
        }
        Ok(())
    }
}

/// A live value, copied out of the store.
struct Live {
    value: Vec<u8>,
    expires: Option<u64>,
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data_dir::temporary_folder;

    fn open(folder: &Path, quota: Quota) -> (KeyValue, Namespace) {
        let store = KeyValue::open(folder).unwrap();
        let namespace = smol::block_on(store.namespace("test", &quota)).unwrap();
        (store, namespace)
    }

    #[test]
    fn values_survive_a_reopening_and_namespaces_do_not_mix() {
        let folder = temporary_folder().unwrap();
        {
            let (store, kv) = open(&folder, Quota::default());
            kv.set("a", b"1", None).unwrap();
            kv.set("gone", b"x", Some(Duration::ZERO)).unwrap();
            let other = smol::block_on(store.namespace("test2", &Quota::default())).unwrap();
            assert_eq!(other.get("a").unwrap(), None);
            store.close();
        }
        let (_store, kv) = open(&folder, Quota::default());
        assert_eq!(kv.get("a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(kv.list_keys("").unwrap(), ["a"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_expired_key_is_absent_to_every_call() {
        let folder = temporary_folder().unwrap();
        let (_store, kv) = open(&folder, Quota::default());
        for key in ["get", "exists", "delete", "increment", "swap"] {
            kv.set(key, b"9", Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(kv.get("get").unwrap(), None);
        assert!(!kv.exists("exists"));
        assert!(!kv.delete("delete").unwrap());
        assert_eq!(kv.increment("increment", 2).unwrap(), 2);
        assert!(!kv.compare_and_swap("swap", Some(b"9"), b"x").unwrap());
        assert!(kv.compare_and_swap("swap", None, b"x").unwrap());
        assert_eq!(kv.list_keys("").unwrap(), ["increment", "swap"]);
        kv.set("short", b"1", Some(Duration::from_millis(20)))
            .unwrap();
        assert_eq!(kv.increment("short", 1).unwrap(), 2);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(kv.get("short").unwrap(), None, "increment keeps the expiry");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn increment_keeps_the_form_it_finds_and_saturates() {
        let folder = temporary_folder().unwrap();
        let (_store, kv) = open(&folder, Quota::default());
        assert_eq!(kv.increment("new", -3).unwrap(), -3);
        assert_eq!(kv.get("new").unwrap().unwrap(), (-3i64).to_le_bytes());
        kv.set("text", b"41", None).unwrap();
        assert_eq!(kv.increment("text", 1).unwrap(), 42);
        assert_eq!(kv.get_string("text").unwrap().unwrap(), "42");
        kv.set("max", i64::MAX.to_string().as_bytes(), None)
            .unwrap();
        assert_eq!(kv.increment("max", 1).unwrap(), i64::MAX);
        kv.set("word", b"hello", None).unwrap();
        assert_eq!(
            kv.increment("word", 1),
            Err(KvError::Storage("not a number".to_owned()))
        );
        kv.set("bytes", &[0xff, 0xfe], None).unwrap();
        assert!(matches!(kv.get_string("bytes"), Err(KvError::Storage(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn limits_refuse_and_leave_everything_as_it_was() {
        let folder = temporary_folder().unwrap();
        let quota = Quota {
            value_bytes: 10,
            bytes: 60,
            keys: 3,
            list_bytes: 60,
        };
        let (_store, kv) = open(&folder, quota);
        for key in ["", "a b", "é", "a\0", &"k".repeat(1025)] {
            assert_eq!(kv.set(key, b"", None), Err(KvError::InvalidKey), "{key:?}");
        }
        assert_eq!(kv.set("a", &[0; 11], None), Err(KvError::ValueTooLarge));
        for key in ["a", "b", "c"] {
            kv.set(key, b"0123456789", None).unwrap();
        }
        assert_eq!(kv.set("d", b"", None), Err(KvError::QuotaExceeded));
        assert_eq!(kv.increment("d", 1), Err(KvError::QuotaExceeded));
        kv.set("a", b"", None).unwrap();
        assert!(kv.delete("b").unwrap());
        kv.set("d", b"0123456789", Some(Duration::ZERO)).unwrap();
        kv.set("e", b"1", None).expect("an expired key makes room");
        assert!(
            matches!(kv.list_keys(""), Err(KvError::Storage(_))),
            "a list past its bound"
        );
        assert_eq!(kv.list_keys("c").unwrap(), ["c"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn increments_and_swaps_of_many_threads_are_all_counted() {
        let folder = temporary_folder().unwrap();
        let (_store, kv) = open(&folder, Quota::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        kv.increment("n", 1).unwrap();
                        loop {
                            let old = kv.get("swap").unwrap();
                            let count = old
                                .as_ref()
                                .map_or(0, |old| old[0] as u32 + 256 * old[1] as u32)
                                + 1;
                            let new = [count as u8, (count >> 8) as u8];
                            if kv.compare_and_swap("swap", old.as_deref(), &new).unwrap() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(kv.increment("n", 0).unwrap(), 2000);
        assert_eq!(
            kv.get("swap").unwrap().unwrap(),
            [(2000 % 256) as u8, (2000 / 256) as u8]
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_database_that_cannot_be_opened_answers_storage() {
        let folder = temporary_folder().unwrap();
        std::fs::write(folder.join("file"), b"").unwrap();
        let store = KeyValue::open(&folder.join("file")).unwrap();
        let answer = smol::block_on(store.namespace("x", &Quota::default()));
        assert!(matches!(answer, Err(KvError::Storage(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
