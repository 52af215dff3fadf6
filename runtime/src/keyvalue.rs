//! The key-value store: one fjall database, a namespace per plugin.
//!
//! Only this module knows fjall. The way of a change:
//!
//! ```text
//! Namespace ── Overlay (memory) ── Keeper (thread) ── Database (fjall: journal, then tables)
//! ```
//!
//! A change is made under one lock per database, which makes `increment` and `compare_and_swap`
//! atomic over all instances and threads. It is kept in the [`overlay`], where reads look first.
//! The [`keeper`] writes all changes there as one batch, at most their [`Durability::Interval`]
//! later, or at once when somebody waits ([`Durability::Sync`]); all who wait meanwhile share the
//! next commit. A batch is on the disk whole or not at all.
//!
//! The keeper opens the database while the daemon already listens, because that takes ten times as
//! long as the rest of the start; calls wait for it. It repairs what a power cut left
//! ([`journal`]). When a write fails it refuses changes, lets reads go on, and opens the database
//! anew once the disk takes data again. While the disk is full it takes removals ([`reserve`], [`scarcity`]). Values expire by the store's own time ([`clock`]).

mod change;
mod clock;
mod content;
mod database;
mod entry;
mod expiry;
mod format;
#[cfg(test)]
pub mod fuzz;
mod journal;
mod keeper;
mod key;
mod listing;
mod namespace;
mod overlay;
mod parts;
mod piece;
mod place;
mod reserve;
mod scarcity;
mod settings;
mod step;
mod store;
mod usage;
mod volatile;
mod writes;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use clock::{Machine, Reading, TimeSource};
pub use format::Foreign;
pub use key::KEY_BYTES;
pub use listing::Listing;
pub use namespace::Namespace;
pub use settings::{DAY_BYTES, Durability, Quota, Settings, VALUE_BYTES_MAX};
pub use writes::Writes;
pub use zlayer_bundle::COMMIT_INTERVAL;
pub use zlayer_bundle::StoreSizes as Sizes;

use smol::lock::Mutex as AsyncMutex;

use crate::blocking::unblock;
use crate::memory::Budget;
use crate::sync;
use clock::StoreClock;
use content::Content;
use keeper::Keeper;
use store::Store;

/// Why a call failed; the cases of the contract's `kv-error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvError {
    /// The key is empty, longer than [`KEY_BYTES`], or has a control character in it.
    InvalidKey,
    /// The value is longer than [`Quota::value_bytes`].
    ValueTooLarge,
    /// The namespace is full; nothing changed.
    QuotaExceeded,
    /// The plugin has had as much written as it may in a day; nothing changed. The contract has no
    /// case of its own for that: it is a quota, too.
    WritesExceeded,
    /// The store itself failed, or the value is not what the call needs. Nothing changed.
    Storage(String),
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::InvalidKey => f.write_str("invalid key"),
            KvError::ValueTooLarge => f.write_str("value too large"),
            KvError::QuotaExceeded => f.write_str("quota exceeded"),
            KvError::WritesExceeded => f.write_str("a day's writes are spent"),
            KvError::Storage(why) => write!(f, "storage: {why}"),
        }
    }
}

impl std::error::Error for KvError {}

/// The number of failed reads, of all stores of the process.
static READ_ERRORS: AtomicU64 = AtomicU64::new(0);

impl From<fjall::Error> for KvError {
    fn from(error: fjall::Error) -> Self {
        READ_ERRORS.fetch_add(1, Ordering::Relaxed);
        // Plugins may read a failing disk many times a second; the log does not need every failure.
        static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
        let mut told = sync::lock(&TOLD);
        if told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
            log::error!("key-value store: cannot read: {error:?}");
            *told = Some(Instant::now());
        }
        KvError::Storage("the device's store cannot be read; its log has the reason".to_owned())
    }
}

type Result<T> = std::result::Result<T, KvError>;

/// The state and the figures of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether calls can be served.
    pub state: StoreState,
    /// Bytes of memory that changes take on their way to the disk.
    pub pending_bytes: usize,
    /// Bytes that the store's folder takes on the disk, with what was put aside.
    pub disk_bytes: u64,
    /// Batches that were written.
    pub commits: u64,
    /// Batches that could not be written.
    pub failures: u64,
    /// Reads that failed: the disk gave an error, or something else than what was written.
    pub read_errors: u64,
    /// How often the database was opened anew after a failure.
    pub restarts: u64,
    /// Bytes that the store handed to the kernel to write; reckoned where the kernel does not tell.
    pub written_bytes: u64,
    /// Paths of what was put aside because it could not be read.
    pub aside: Vec<PathBuf>,
}

/// Whether calls can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// Nobody has asked for it yet. The first call opens the database.
    Unused,
    /// The database is being opened; calls wait.
    Opening,
    /// Calls are served.
    Open,
    /// Changes fail with this reason; reads go on if the database is open.
    Failing(String),
}

/// The handle to a store that is unused, opening, open, or failing. The last one closes it.
#[derive(Clone)]
pub struct KeyValue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    folder: PathBuf,
    budget: Arc<Budget>,
    keeper: Mutex<Running>,
    /// Held while the keeper's thread is waited for. Taken before `keeper`.
    closing: Mutex<()>,
    /// The namespaces by name, for as long as somebody uses them: at most one for each plugin.
    namespaces: Mutex<BTreeMap<String, Opening>>,
}

/// A namespace that is open as long as somebody uses it. The lock is held while it is opened.
type Opening = Arc<AsyncMutex<Weak<Content>>>;

/// The keeper's thread, which starts when the store is first asked for: opening a database takes
/// longer than all the rest of a daemon's start, and most plugins keep nothing.
enum Running {
    Not,
    On(JoinHandle<()>),
    Closed,
}

impl KeyValue {
    /// The store in `folder`, which is made if it is missing; nothing is opened yet. Its sizes are
    /// [`Sizes::within`] the limit of `budget`. Namespaces in memory are charged to `budget`.
    pub fn new(folder: &Path, budget: &Arc<Budget>, time: Arc<dyn TimeSource>) -> KeyValue {
        let store = Store::new(Sizes::within(budget.limit()), StoreClock::new(time));
        KeyValue {
            inner: Arc::new(Inner {
                store: Arc::new(store),
                folder: folder.to_owned(),
                budget: Arc::clone(budget),
                keeper: Mutex::new(Running::Not),
                closing: Mutex::new(()),
                namespaces: Mutex::default(),
            }),
        }
    }

    /// The same, and starts to open the database.
    ///
    /// # Errors
    ///
    /// The thread that does so cannot be started.
    pub fn open(
        folder: &Path,
        budget: &Arc<Budget>,
        time: Arc<dyn TimeSource>,
    ) -> std::io::Result<KeyValue> {
        let store = KeyValue::new(folder, budget, time);
        store.start()?;
        Ok(store)
    }

    /// Starts to open the database, unless that was done before.
    ///
    /// # Errors
    ///
    /// The thread that does so cannot be started.
    pub fn start(&self) -> std::io::Result<()> {
        let mut keeper = sync::lock(&self.inner.keeper);
        if matches!(*keeper, Running::Not) {
            let store = Arc::clone(&self.inner.store);
            *keeper = Running::On(Keeper::start(store, self.inner.folder.clone())?);
        }
        Ok(())
    }

    /// The budget of `day_bytes` a day that is written for the plugin `name`, to be given to
    /// [`KeyValue::namespace`]. Whoever plays the plugin after another goes on with what that has spent.
    pub fn writes(&self, name: &str, day_bytes: u64) -> Arc<Writes> {
        self.inner.store.writer(name, day_bytes)
    }

    /// Opens a namespace, whose changes `writes` pays for. Waits until the store is open, unless
    /// the namespace is kept in memory. Who names one that is in use shares it, if it is kept in the same
    /// way. Counting the keys takes a while, so it is done on a thread for blocking
    /// work.
    pub async fn namespace(
        &self,
        name: &str,
        settings: &Settings,
        writes: Option<Arc<Writes>>,
    ) -> Result<Namespace> {
        let opening = Arc::clone(
            sync::lock(&self.inner.namespaces)
                .entry(name.to_owned())
                .or_default(),
        );
        let mut open = opening.lock().await;
        let shared = open.upgrade();
        let content = match shared.filter(|content| content.is_kept_as(settings.durability)) {
            Some(content) => content,
            None => Arc::new(self.open_content(name, settings.durability).await?),
        };
        *open = Arc::downgrade(&content);
        drop(open);
        if let Some(writes) = &writes
            && settings.durability != Durability::Memory
        {
            let store = &self.inner.store;
            let database = store.reading().await?;
            // What cannot be read counts as nothing: that it cannot is told by others.
            let record = |key: &[u8]| Some(database.get(key).ok()??.to_vec());
            writes.load(record, store.clock.now());
        }
        Ok(Namespace::new(content, *settings, writes))
    }

    async fn open_content(&self, name: &str, durability: Durability) -> Result<Content> {
        let store = Arc::clone(&self.inner.store);
        if durability == Durability::Memory {
            let reservation = self.inner.budget.reserve(0).ok_or(KvError::QuotaExceeded)?;
            return Ok(Content::volatile(store, reservation));
        }
        self.start().map_err(|error| {
            log::error!("key-value store: cannot start its thread: {error}");
            KvError::Storage("the device cannot start its store".to_owned())
        })?;
        // Waits here, so that no thread is held while the store opens.
        store.reading().await.map(drop)?;
        let mut prefix = Vec::with_capacity(name.len() + 1);
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(0);
        unblock(move || Content::open(store, prefix)).await
    }

    /// The present state and figures.
    pub fn status(&self) -> Status {
        let mut status = self.inner.store.status(&self.inner.folder);
        if matches!(*sync::lock(&self.inner.keeper), Running::Not) {
            status.state = StoreState::Unused;
        }
        status
    }

    /// Writes everything to the disk and ends the store's threads. Later calls fail.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.store.close();
        // Whoever closes while another does so waits for the last commit, too.
        let _closing = sync::lock(&self.closing);
        let keeper = std::mem::replace(&mut *sync::lock(&self.keeper), Running::Closed);
        match keeper {
            Running::On(keeper) => {
                // A thread that panicked has said so, and panics end the process on devices.
                let _ = keeper.join();
            }
            // Whoever asks from now on is told, as when the thread has ended.
            Running::Not => self.store.shut(keeper::CLOSING.to_owned()),
            Running::Closed => {}
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests;
