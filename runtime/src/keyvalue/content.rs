//! What a namespace holds, on the disk or in memory. Plugins that name the same namespace share it.

use std::cmp::Ordering::{Greater, Less};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fjall::Slice;
use futures_lite::future::yield_now;

use super::change::{BatchResult, Change};
use super::clock::StoreClock;
use super::database::Database;
use super::entry::Entry;
use super::key::is_key;
use super::piece::Piece;
use super::step::{Needs, Step};
use super::store::Store;
use super::usage::{Counted, Usage};
use super::volatile::{Changed, Volatile};
use super::writes::{Payment, Writes};
use super::{Durability, KvError, Quota, Result};
use crate::memory::Reservation;
use crate::sync;

/// The keys of one plugin, or of several that share a namespace.
pub(super) struct Content {
    store: Arc<Store>,
    /// The store's time; or, for a namespace in memory, one that began with it.
    clock: Arc<StoreClock>,
    /// The namespace's name and a zero byte. No key holds a zero byte, so names cannot run into
    /// keys.
    prefix: Vec<u8>,
    counted: Mutex<Counted>,
    /// The keys themselves, if they are kept in memory alone.
    volatile: Option<Mutex<Volatile>>,
    refused: AtomicU64,
}

/// A function that is called with a full key and what is stored under it.
type Take<'t> = dyn FnMut(&[u8], &[u8]) -> Result<()> + Send + 't;

/// What came of the try to change a key.
enum Tried<T> {
    Done(T, Option<Arc<BatchResult>>),
    /// The namespace has to be counted anew first.
    Uncounted,
}

impl Content {
    /// Counts the stored keys. Blocks until the database is open.
    pub(super) fn open(store: Arc<Store>, prefix: Vec<u8>) -> Result<Content> {
        let content = Content {
            clock: Arc::clone(&store.clock),
            store,
            prefix,
            counted: Mutex::default(),
            volatile: None,
            refused: AtomicU64::new(0),
        };
        // Nobody has the namespace yet, so nobody changes it.
        while !content.count_on(&*content.store.reading_blocking()?) {}
        Ok(content)
    }

    /// A namespace that is kept in memory. Its bytes are charged to `reservation`'s budget.
    pub(super) fn volatile(store: Arc<Store>, reservation: Reservation) -> Content {
        Content {
            clock: Arc::new(store.clock.another()),
            store,
            prefix: Vec::new(),
            counted: Mutex::default(),
            volatile: Some(Mutex::new(Volatile::new(reservation))),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether it is kept as this wants it: in memory alone, or on the disk.
    pub(super) fn is_kept_as(&self, durability: Durability) -> bool {
        (durability == Durability::Memory) == self.volatile.is_some()
    }

    /// The time by which its keys expire.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The key of the database under which `key` is stored.
    pub(super) fn stored_key(&self, key: &str) -> Vec<u8> {
        [&self.prefix, key.as_bytes()].concat()
    }

    /// How many bytes of a stored key come before the key itself.
    pub(super) fn prefix_bytes(&self) -> usize {
        self.prefix.len()
    }

    /// Bytes and keys that count against the quota.
    pub(super) fn held(&self) -> (u64, u64) {
        if let Some(volatile) = self.locked_volatile() {
            return volatile.held();
        }
        let counted = self.counted();
        (counted.usage.bytes, counted.usage.keys)
    }

    /// How many changes were refused because the quota was used up.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The live value of `key`.
    pub(super) async fn live(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let full = self.full_key(key)?;
        let value = |live: Option<Entry<'_>>| live.map(|live| live.value.to_vec());
        if let Some(volatile) = self.locked_volatile() {
            return self.alive(volatile.get(&full)).map(value);
        }
        let reading = self.store.reading().await?;
        let stored = self.stored(&reading, &full, true)?;
        self.alive(stored.as_deref()).map(value)
    }

    /// Calls `take` with keys of a stored prefix that come behind `after`, alive or not, in order,
    /// for one piece of work. Returns the last of them if there may be more.
    pub(super) async fn read_piece(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<Option<Vec<u8>>> {
        if let Some(volatile) = self.locked_volatile() {
            let mut piece = Piece::begin();
            for (key, stored) in volatile.prefix(prefix, after) {
                take(key, stored)?;
                if piece.is_over_with(stored.len()) {
                    return Ok(Some(key.to_vec()));
                }
            }
            return Ok(None);
        }
        let reading = self.store.reading().await?;
        self.scan(&reading, prefix, after, take)
    }

    /// Reads a key, decides, and changes it, while nobody else changes any key.
    pub(super) async fn change<'a, T>(
        &self,
        key: &str,
        needs: Needs<'_>,
        step: impl Fn(Option<Entry<'_>>) -> Result<(Step<'a>, T)>,
    ) -> Result<T> {
        let full = self.full_key(key)?;
        let (result, outcome) = loop {
            let tried = match &self.volatile {
                Some(_) => self.try_volatile(&full, &needs.settings.quota, &step),
                None => {
                    self.store.room(&full, needs.value_bytes).await?;
                    let reading = self.store.reading().await?;
                    self.try_durable(&reading, &full, &needs, &step)
                }
            };
            match tried {
                Ok(Tried::Done(result, outcome)) => break (result, outcome),
                // Piece by piece, so that others get their turns.
                Ok(Tried::Uncounted) => self.count_piece().await?,
                Err(error) => {
                    let is_full = u64::from(error == KvError::QuotaExceeded);
                    self.refused.fetch_add(is_full, Ordering::Relaxed);
                    return Err(error);
                }
            }
            yield_now().await;
        };
        if let (Some(outcome), Durability::Sync) = (outcome, needs.settings.durability) {
            outcome.wait().await.map_err(KvError::Storage)?;
        }
        Ok(result)
    }

    fn full_key(&self, key: &str) -> Result<Vec<u8>> {
        match is_key(key) {
            true => Ok(self.stored_key(key)),
            false => Err(KvError::InvalidKey),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        sync::lock(&self.counted)
    }

    fn locked_volatile(&self) -> Option<MutexGuard<'_, Volatile>> {
        let volatile = self.volatile.as_ref()?;
        Some(sync::lock(volatile))
    }

    fn alive<'s>(&self, stored: Option<&'s [u8]>) -> Result<Option<Entry<'s>>> {
        let Some(stored) = stored else {
            return Ok(None);
        };
        let damaged = || KvError::Storage("a stored value is damaged".to_owned());
        let entry = Entry::decode(stored).ok_or_else(damaged)?;
        Ok(Some(entry).filter(|entry| !entry.is_expired(self.clock.now())))
    }

    /// What is stored under a full key, alive or not: a change on its way, or else the database's
    /// value. That is `whole`, or else what stands for it where it is stored in parts.
    fn stored(&self, database: &Database, full: &[u8], whole: bool) -> Result<Option<Slice>> {
        loop {
            let changes = database.part_changes(full);
            if let Some(stored) = self.store.overlay().get(full) {
                return Ok(stored.clone());
            }
            let Some(found) = database.get(full)? else {
                return Ok(None);
            };
            let parts = whole.then(|| database.get_parts(full, &found)).flatten();
            let Some(stored) = parts.transpose()? else {
                return Ok(Some(found));
            };
            // A change that came while the parts were read is on its way, or has been counted.
            let is_on_its_way = self.store.overlay().get(full).is_some();
            if !is_on_its_way && database.part_changes(full) == changes {
                return Ok(stored);
            }
        }
    }

    /// [`Content::read_piece`] for keys on the disk.
    fn scan(
        &self,
        database: &Database,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<Option<Vec<u8>>> {
        // Copied before the database is read: a change that is committed meanwhile is in one of the
        // two.
        let (changes, complete) = self.store.overlay().range(prefix, after, Piece::MOST_KEYS);
        let mut changes = changes.into_iter().peekable();
        let mut piece = Piece::begin();
        // What is stored, and the changes before it, in order.
        let mut stored = database.prefix(prefix, after).peekable();
        loop {
            let order = match (changes.peek(), stored.peek()) {
                (Some((changed, _)), Some(Ok((key, _)))) => changed.cmp(key),
                (Some(_), _) => Less,
                (None, _) => Greater,
            };
            if order.is_eq() {
                // The change takes its place.
                stored.next();
            }
            let is_change_next = order.is_le();
            let (key, value) = match is_change_next {
                true => match changes.next() {
                    Some((key, Some(value))) => (key, value),
                    _ => continue,
                },
                false => match stored.next().transpose()? {
                    Some((key, value)) => (key, value),
                    None => return Ok(complete.map(|key| key.to_vec())),
                },
            };
            // Behind it there may be changes that were not copied.
            if let Some(complete) = complete.as_ref().filter(|complete| **complete < key) {
                return Ok(Some(complete.to_vec()));
            }
            take(&key, &value)?;
            if piece.is_over_with(value.len()) {
                return Ok(Some(key.to_vec()));
            }
        }
    }

    fn try_volatile<'a, T>(
        &self,
        full: &[u8],
        quota: &Quota,
        step: &impl Fn(Option<Entry<'_>>) -> Result<(Step<'a>, T)>,
    ) -> Result<Tried<T>> {
        let Some(mut volatile) = self.locked_volatile() else {
            return Ok(Tried::Uncounted);
        };
        let live = self.alive(volatile.get(full))?;
        let (step, result) = step(live)?;
        let now = self.clock.now();
        let new = match step {
            Step::Leave => return Ok(Tried::Done(result, None)),
            Step::Put(value, expires) => Some(encoded(&value, expires)),
            Step::Remove => None,
        };
        match volatile.change(full, new, quota, now)? {
            Changed::Yes => Ok(Tried::Done(result, None)),
            Changed::Unswept => Ok(Tried::Uncounted),
        }
    }

    fn try_durable<'a, T>(
        &self,
        database: &Database,
        full: &[u8],
        needs: &Needs<'_>,
        step: &impl Fn(Option<Entry<'_>>) -> Result<(Step<'a>, T)>,
    ) -> Result<Tried<T>> {
        let _writing = self.store.writing();
        let settings = needs.settings;
        let (undo_with_old, within) = match settings.durability {
            Durability::Interval(interval) => (false, interval),
            // Somebody waits for it.
            _ => (true, Duration::ZERO),
        };
        // Who only replaces a large value need not have it in memory.
        let old = self.stored(database, full, needs.old_value || undo_with_old)?;
        let live = match needs.old_value {
            true => self.alive(old.as_deref())?,
            false => None,
        };
        let (step, result) = step(live)?;
        let new = match step {
            Step::Leave => return Ok(Tried::Done(result, None)),
            Step::Put(value, expires) => Some(Slice::from(encoded(&value, expires))),
            Step::Remove if old.is_none() => return Ok(Tried::Done(result, None)),
            Step::Remove => None,
        };
        let now = self.clock.now();
        let key_bytes = full.len() - self.prefix.len();
        let mut counted = self.counted();
        if counted.usage.failures != self.store.failures() {
            return Ok(Tried::Uncounted);
        }
        let usage = counted
            .usage
            .after(key_bytes, old.as_deref(), new.as_deref());
        if !usage.fits(&settings.quota, &counted.usage) {
            // Expired keys count until the next count, so count before refusing anything.
            return match counted.may_find_less(now) {
                true => Ok(Tried::Uncounted),
                false => Err(KvError::QuotaExceeded),
            };
        }
        let expires = new.as_deref().and_then(Entry::expiry);
        // What would expire at once is not stored, and the old value is removed.
        let new = new.filter(|_| expires.is_none_or(|at| at > now));
        let stored_bytes = new.as_ref().map_or(0, |new| new.len());
        let payment = needs.writes.map(|writes| Payment {
            by: Arc::clone(writes),
            bytes: Writes::cost(full.len(), stored_bytes),
        });
        let change = Change {
            stored: new.clone(),
            undo: undo_with_old.then(|| old.clone()),
            payment,
        };
        // The clock must know before the change can be written: its anchor is written with the
        // change.
        self.clock.will_expire(expires.unwrap_or(0));
        let outcome = self.store.change(full.into(), change, within)?;
        counted.change(full, key_bytes, old.as_deref(), new.as_deref());
        Ok(Tried::Done(result, Some(outcome)))
    }

    /// Counts the namespace anew for one piece of work. Others go on with the count.
    async fn count_piece(&self) -> Result<()> {
        if let Some(mut volatile) = self.locked_volatile() {
            volatile.sweep_piece(self.clock.now());
            return Ok(());
        }
        let reading = self.store.reading().await?;
        let _writing = self.store.writing();
        self.count_on(&reading);
        Ok(())
    }

    /// Goes on with a count of the keys on the disk, or begins one, for one piece of work. Returns
    /// whether it has ended. If a block cannot be read, the count ends there: the quota is then too
    /// generous, but all other keys stay usable. The caller makes sure that nobody changes the
    /// namespace meanwhile.
    fn count_on(&self, database: &Database) -> bool {
        let began = Instant::now();
        let failures = self.store.failures();
        let mut counted = self.counted();
        let (mut usage, after) = match counted.take_count(failures) {
            Some((usage, after)) => (usage, Some(after)),
            None => (Usage::at(self.clock.now(), failures), None),
        };
        let own = self.prefix.len();
        let scanned = self.scan(
            database,
            &self.prefix,
            after.as_deref(),
            &mut |key, stored| {
                usage.count(key.len() - own, stored);
                Ok(())
            },
        );
        let upto = scanned.unwrap_or_else(|error| {
            log::error!("key-value store: a namespace cannot be counted to its end: {error}");
            None
        });
        usage.worked(began.elapsed());
        counted.put_count(usage, upto)
    }
}

fn encoded(value: &[u8], expires: Option<u64>) -> Vec<u8> {
    Entry { value, expires }.encode()
}
