//! One plugin's keys, with the rules of the contract.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fjall::Slice;

use super::clock::StoreClock;
use super::database::Database;
use super::entry::{Entry, nanos, number};
use super::overlay::{BatchResult, Change};
use super::store::Store;
use super::usage::Usage;
use super::volatile::Volatile;
use super::{Durability, KEY_BYTES, KvError, Result, Settings};
use crate::memory::Reservation;
use crate::sync;

/// The keys of one plugin, or of several that share a namespace.
pub struct Namespace {
    store: Arc<Store>,
    /// The store's time; or, for a namespace in memory, one that began with it.
    clock: Arc<StoreClock>,
    /// The namespace's name and a zero byte. No key holds a zero byte, so names cannot run into
    /// keys.
    prefix: Vec<u8>,
    settings: Settings,
    usage: Mutex<Usage>,
    /// The keys themselves, if they are kept in memory alone.
    volatile: Option<Mutex<Volatile>>,
}

/// What a change does to the value that it found.
enum Step<'a> {
    Leave,
    Put(Cow<'a, [u8]>, Option<u64>),
    Remove,
}

/// A function that is called with a full key and what is stored under it.
type Take<'t> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 't;

/// A live value, copied out of the store.
struct Live {
    value: Vec<u8>,
    expires: Option<u64>,
}

impl Namespace {
    /// Counts the stored keys. Blocks until the database is open.
    pub(super) fn open(
        store: Arc<Store>,
        prefix: Vec<u8>,
        settings: Settings,
    ) -> Result<Namespace> {
        let namespace = Namespace {
            clock: Arc::clone(&store.clock),
            store,
            prefix,
            settings,
            usage: Mutex::default(),
            volatile: None,
        };
        let reading = namespace.store.reading_blocking()?;
        let writing = namespace.store.writing();
        namespace.count(&reading);
        drop((writing, reading));
        Ok(namespace)
    }

    /// A namespace that is kept in memory. Its bytes are charged to `reservation`'s budget.
    pub(super) fn volatile(
        store: Arc<Store>,
        settings: Settings,
        reservation: Reservation,
    ) -> Namespace {
        Namespace {
            clock: Arc::new(store.clock.another()),
            store,
            prefix: Vec::new(),
            settings,
            usage: Mutex::default(),
            volatile: Some(Mutex::new(Volatile::new(reservation))),
        }
    }

    /// The live value of `key`.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let full = self.full_key(key)?;
        Ok(self.live(&full).await?.map(|live| live.value))
    }

    /// The live value of `key` as text. A value that is not UTF-8 is a storage error.
    pub async fn get_string(&self, key: &str) -> Result<Option<String>> {
        let not_text = |_| KvError::Storage("not a UTF-8 string".to_owned());
        self.get(key)
            .await?
            .map(|value| String::from_utf8(value).map_err(not_text))
            .transpose()
    }

    /// Stores `value`, which expires after `ttl` if one is given. A value that would expire at once
    /// is not stored, and the old value is removed.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.check_value(value)?;
        self.change(key, |_| {
            let now = self.clock.now();
            let expires = ttl.map(|ttl| now.saturating_add(nanos(ttl)));
            Ok((Step::Put(value.into(), expires), ()))
        })
        .await
    }

    /// Removes `key`. Returns whether it was there and alive.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        self.change(key, |live| {
            let step = if live.is_some() {
                Step::Remove
            } else {
                Step::Leave
            };
            Ok((step, live.is_some()))
        })
        .await
    }

    /// Whether `key` is there and alive. Returns `false` for an invalid key.
    pub async fn exists(&self, key: &str) -> bool {
        let Ok(full) = self.full_key(key) else {
            return false;
        };
        self.live(&full).await.is_ok_and(|live| live.is_some())
    }

    /// The most bytes that a list of all keys could take, as [`Namespace::list_keys`] counts them.
    pub fn list_bound(&self) -> usize {
        let (bytes, keys) = self.held();
        let names = bytes.min(keys.saturating_mul(KEY_BYTES as u64));
        let entries = keys.saturating_mul(LIST_ENTRY_BYTES as u64);
        usize::try_from(names.saturating_add(entries)).unwrap_or(usize::MAX)
    }

    /// Bytes that `keys` take as a list, counted in the same way.
    pub fn list_bytes(keys: &[String]) -> usize {
        keys.iter().map(|key| key.len() + LIST_ENTRY_BYTES).sum()
    }

    /// The live keys that start with `prefix`, sorted. An empty prefix lists all. If they take more
    /// than [`super::Quota::list_bytes`] or `room` bytes, that is a storage error.
    pub async fn list_keys(&self, prefix: &str, room: usize) -> Result<Vec<String>> {
        if prefix.len() > KEY_BYTES || !prefix.bytes().all(is_key_byte) {
            return Err(KvError::InvalidKey);
        }
        let most = room.min(self.settings.quota.list_bytes);
        let mut list = List {
            keys: Vec::new(),
            left: most,
        };
        let full = [&self.prefix, prefix.as_bytes()].concat();
        let now = self.clock.now();
        let mut take = |key: &[u8], stored: &[u8]| {
            let alive = Entry::decode(stored).is_some_and(|entry| !entry.is_expired(now));
            let name = key.get(self.prefix.len()..).unwrap_or_default();
            if !alive || list.take(name) {
                return Ok(());
            }
            Err(KvError::Storage(format!(
                "the list is longer than the {most} bytes that it may have; ask for a narrower prefix"
            )))
        };
        if let Some(volatile) = self.locked_volatile() {
            for (key, stored) in volatile.prefix(&full) {
                take(key, stored)?;
            }
        } else {
            let reading = self.store.reading().await?;
            self.scan(&reading, &full, &mut take)?;
        }
        Ok(list.keys)
    }

    /// Adds `delta` to the number in `key`, saturating, and returns the sum. An absent key counts
    /// as 0 and becomes eight little-endian bytes. Decimal text stays decimal text, and an expiry
    /// stays.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        self.change(key, |live| {
            let (old, decimal) = match live {
                None => (0, false),
                Some(live) => number(&live.value)?,
            };
            let sum = old.saturating_add(delta);
            let written = if decimal {
                sum.to_string().into_bytes()
            } else {
                sum.to_le_bytes().to_vec()
            };
            let expires = live.and_then(|live| live.expires);
            Ok((Step::Put(written.into(), expires), sum))
        })
        .await
    }

    /// Stores `new` if the live value equals `expected` (`None`: if there is none), and returns
    /// whether it did. An expiry stays.
    pub async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<bool> {
        self.check_value(new)?;
        self.change(key, |live| {
            if live.map(|live| live.value.as_slice()) != expected {
                return Ok((Step::Leave, false));
            }
            Ok((
                Step::Put(new.into(), live.and_then(|live| live.expires)),
                true,
            ))
        })
        .await
    }

    /// Bytes and keys that count against the quota.
    pub fn held(&self) -> (u64, u64) {
        if let Some(volatile) = self.locked_volatile() {
            return volatile.held();
        }
        let usage = self.usage();
        (usage.bytes, usage.keys)
    }

    fn full_key(&self, key: &str) -> Result<Vec<u8>> {
        if key.is_empty() || key.len() > KEY_BYTES || !key.bytes().all(is_key_byte) {
            return Err(KvError::InvalidKey);
        }
        Ok([&self.prefix, key.as_bytes()].concat())
    }

    fn check_value(&self, value: &[u8]) -> Result<()> {
        if value.len() > self.settings.quota.value_bytes {
            return Err(KvError::ValueTooLarge);
        }
        Ok(())
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        sync::lock(&self.usage)
    }

    fn locked_volatile(&self) -> Option<MutexGuard<'_, Volatile>> {
        let volatile = self.volatile.as_ref()?;
        Some(sync::lock(volatile))
    }

    async fn live(&self, full: &[u8]) -> Result<Option<Live>> {
        if let Some(volatile) = self.locked_volatile() {
            return self.alive(volatile.get(full));
        }
        let reading = self.store.reading().await?;
        let stored = self.stored(&reading, full)?;
        self.alive(stored.as_deref())
    }

    fn alive(&self, stored: Option<&[u8]>) -> Result<Option<Live>> {
        let Some(stored) = stored else {
            return Ok(None);
        };
        let damaged = || KvError::Storage("a stored value is damaged".to_owned());
        let entry = Entry::decode(stored).ok_or_else(damaged)?;
        let live = !entry.is_expired(self.clock.now());
        Ok(live.then(|| Live {
            value: entry.value.to_vec(),
            expires: entry.expires,
        }))
    }

    /// What is stored under a full key, alive or not: a change on its way, or else the database's
    /// value.
    fn stored(&self, database: &Database, full: &[u8]) -> Result<Option<Slice>> {
        if let Some(stored) = self.store.overlay().get(full) {
            return Ok(stored.clone());
        }
        Ok(database.get(full)?)
    }

    /// Calls `take` with every key of a prefix, alive or not, in order.
    fn scan(&self, database: &Database, prefix: &[u8], take: &mut Take<'_>) -> Result<()> {
        // Copied before the database is read: a change that is committed meanwhile is in one of the
        // two.
        let changes = self.store.overlay().range(prefix);
        let mut changes = changes.into_iter().peekable();
        for item in database.prefix(prefix) {
            let (key, stored) = item?;
            while let Some((changed, to)) = changes.next_if(|(changed, _)| *changed < key) {
                if let Some(to) = to {
                    take(&changed, &to)?;
                }
            }
            match changes.next_if(|(changed, _)| *changed == key) {
                Some((_, Some(to))) => take(&key, &to)?,
                Some((_, None)) => {}
                None => take(&key, &stored)?,
            }
        }
        for (changed, to) in changes {
            if let Some(to) = to {
                take(&changed, &to)?;
            }
        }
        Ok(())
    }

    /// Reads a key, decides, and changes it, while nobody else changes any key.
    async fn change<'a, T>(
        &self,
        key: &str,
        step: impl FnOnce(Option<&Live>) -> Result<(Step<'a>, T)>,
    ) -> Result<T> {
        let full = self.full_key(key)?;
        if let Some(mut volatile) = self.locked_volatile() {
            let live = self.alive(volatile.get(&full))?;
            let (step, result) = step(live.as_ref())?;
            let new = match step {
                Step::Leave => return Ok(result),
                Step::Put(value, expires) => Some(
                    Entry {
                        value: &value,
                        expires,
                    }
                    .encode(),
                ),
                Step::Remove => None,
            };
            volatile.change(full, new, &self.settings.quota, self.clock.now())?;
            return Ok(result);
        }
        self.store.room().await?;
        let (result, outcome) = {
            let reading = self.store.reading().await?;
            let _writing = self.store.writing();
            let old = self.stored(&reading, &full)?;
            let live = self.alive(old.as_deref())?;
            let (step, result) = step(live.as_ref())?;
            (result, self.change_durable(&reading, full, old, step)?)
        };
        if let (Some(outcome), Durability::Sync) = (outcome, self.settings.durability) {
            outcome.wait().await.map_err(KvError::Storage)?;
        }
        Ok(result)
    }

    /// Changes a key of a namespace on the disk. The caller holds the write lock.
    fn change_durable(
        &self,
        database: &Database,
        full: Vec<u8>,
        old: Option<Slice>,
        step: Step<'_>,
    ) -> Result<Option<Arc<BatchResult>>> {
        let new = match step {
            Step::Leave => return Ok(None),
            Step::Put(value, expires) => Some(
                Entry {
                    value: &value,
                    expires,
                }
                .encode(),
            ),
            Step::Remove if old.is_none() => return Ok(None),
            Step::Remove => None,
        };
        if self.usage().failures != self.store.failures() {
            self.count(database);
        }
        let key_bytes = full.len() - self.prefix.len();
        let now = self.clock.now();
        let after = |new: Option<&[u8]>| self.usage().after(key_bytes, old.as_deref(), new);
        let mut usage = after(new.as_deref());
        if !usage.fits(&self.settings.quota, &self.usage()) && self.usage().may_have_expired(now) {
            // Expired keys count until the next count, so count before refusing anything.
            self.count(database);
            self.usage().counted_again();
            usage = after(new.as_deref());
        }
        if !usage.fits(&self.settings.quota, &self.usage()) {
            return Err(KvError::QuotaExceeded);
        }
        let expires = new.as_deref().and_then(Entry::expiry);
        // What would expire at once is not stored, and the old value is removed.
        let new = new.filter(|_| expires.is_none_or(|at| at > now));
        if new.is_none() {
            usage = after(None);
        }
        let (undo, within) = match self.settings.durability {
            Durability::Interval(interval) => (None, interval),
            // Somebody waits for it.
            _ => (Some(old), Duration::ZERO),
        };
        let change = Change {
            stored: new.map(Slice::from),
            undo,
        };
        // The clock must know before the change can be written: its anchor is written with the
        // change.
        self.clock.will_expire(expires.unwrap_or(0));
        let outcome = self.store.change(full.into(), change, within)?;
        *self.usage() = usage;
        Ok(Some(outcome))
    }

    /// Counts the namespace anew; the caller holds the write lock. If a block cannot be read, the
    /// count ends there: the quota is then too generous, but all other keys stay usable.
    fn count(&self, database: &Database) {
        let failures = self.store.failures();
        let mut usage = Usage::at(self.clock.now(), failures);
        let scanned = self.scan(database, &self.prefix, &mut |key, stored| {
            usage.count(key.len() - self.prefix.len(), stored);
            Ok(())
        });
        if let Err(error) = scanned {
            log::error!("key-value store: a namespace cannot be counted to its end: {error}");
        }
        *self.usage() = usage;
    }
}

/// What a key takes in a list beside its bytes. In the plugin's memory that is eight bytes for its
/// place in the list, and what its allocator adds.
const LIST_ENTRY_BYTES: usize = 32;

/// A list of keys that may not grow past a bound.
struct List {
    keys: Vec<String>,
    left: usize,
}

impl List {
    /// Adds a key. Returns `false` if it does not fit any more.
    fn take(&mut self, key: &[u8]) -> bool {
        let bytes = key.len() + LIST_ENTRY_BYTES;
        let Some(left) = self.left.checked_sub(bytes) else {
            return false;
        };
        self.left = left;
        self.keys.push(String::from_utf8_lossy(key).into_owned());
        true
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte)
}
