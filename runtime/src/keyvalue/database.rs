//! The database itself: opened beside the listener, committed in groups, closed in order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use smol::lock::OnceCell;

use super::{KvError, Namespace, Quota, Result};

/// Longest time between a change and its way to the disk.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// What the store may use of the memory budget: cache, two memtables, journal buffers.
pub const MEMORY_SHARE: usize = CACHE_BYTES as usize + 2 * MEMTABLE_BYTES as usize + (1 << 20);

const CACHE_BYTES: u64 = 256 << 10;
const MEMTABLE_BYTES: u64 = 1 << 20;
/// fjall keeps this many files open at most; each costs a descriptor and its index in memory.
const CACHED_FILES: usize = 16;
/// One worker flushes and compacts: a device has few cores, and better things to do with them.
const WORKERS: usize = 1;

/// The handle to a store that is opening, open, or failed to open. The last one closes it.
#[derive(Clone)]
pub struct KeyValue {
    opening: Arc<Opening>,
}

struct Opening {
    opened: Arc<OnceCell<std::result::Result<Store, String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KeyValue {
    /// Starts opening the database in `folder`, which is made if it is missing.
    pub fn open(folder: &Path) -> std::io::Result<KeyValue> {
        let opened = Arc::new(OnceCell::new());
        let (folder, cell) = (folder.to_owned(), Arc::clone(&opened));
        let opener = thread::Builder::new()
            .name("kv-open".to_owned())
            .spawn(move || {
                let result = Store::open(&folder).map_err(|error| {
                    log::error!("key-value store in {}: {error}", folder.display());
                    error
                });
                // The cell is set here and nowhere else, so it cannot be full already.
                let _ = cell.set_blocking(result);
            })?;
        Ok(KeyValue {
            opening: Arc::new(Opening {
                opened,
                thread: Mutex::new(Some(opener)),
            }),
        })
    }

    /// A view of one namespace; waits until the store is open. Reading what a namespace holds
    /// takes a while, so it is done on a thread for blocking work.
    pub async fn namespace(&self, name: &str, quota: &Quota) -> Result<Namespace> {
        let store = match self.opening.opened.wait().await {
            Ok(store) => store.clone(),
            Err(reason) => return Err(KvError::Storage(reason.clone())),
        };
        let mut prefix = Vec::with_capacity(name.len() + 1);
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(0);
        let quota = quota.clone();
        smol::unblock(move || Namespace::open(store, prefix, quota)).await
    }

    /// Waits for an opening that is under way, writes everything to the disk and ends the threads
    /// of the store but for fjall's own, which end with the last handle.
    pub fn close(&self) {
        self.opening.close();
    }
}

impl Opening {
    fn close(&self) {
        join(&self.thread);
        if let Some(Ok(store)) = self.opened.get() {
            store.close();
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a thread, once.
fn join(handle: &Mutex<Option<JoinHandle<()>>>) {
    let handle = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A thread that panicked has said so, and panics end the process on devices.
    let _ = handle.map(JoinHandle::join);
}

/// The open database.
#[derive(Clone)]
pub(super) struct Store {
    database: Database,
    pub(super) keyspace: Keyspace,
    /// Held over every read-modify-write of any namespace.
    pub(super) writing: Arc<Mutex<()>>,
    committer: Arc<Committer>,
    commit_thread: Thread,
    committing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Tells the thread that commits what it has to do.
#[derive(Default)]
struct Committer {
    dirty: AtomicBool,
    closed: AtomicBool,
}

impl Store {
    fn open(folder: &Path) -> std::result::Result<Store, String> {
        let open = || -> fjall::Result<(Database, Keyspace)> {
            let database = Database::builder(folder)
                .cache_size(CACHE_BYTES)
                .worker_threads(WORKERS)
                .max_cached_files(Some(CACHED_FILES))
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let keyspace = database.keyspace("plugins", options)?;
            Ok((database, keyspace))
        };
        let (database, keyspace) = open().map_err(|error| format!("cannot open: {error:?}"))?;
        let committer = Arc::new(Committer::default());
        let (told, committed) = (Arc::clone(&committer), database.clone());
        let thread = thread::Builder::new()
            .name("kv-commit".to_owned())
            .stack_size(256 << 10)
            .spawn(move || told.run(&committed))
            .map_err(|error| format!("cannot start the committer: {error}"))?;
        Ok(Store {
            database,
            keyspace,
            writing: Arc::new(Mutex::new(())),
            committer,
            commit_thread: thread.thread().clone(),
            committing: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Asks for a commit.
    pub(super) fn changed(&self) {
        if !self.committer.dirty.swap(true, Ordering::AcqRel) {
            self.commit_thread.unpark();
        }
    }

    fn close(&self) {
        if self.committer.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.commit_thread.unpark();
        join(&self.committing);
        if let Err(error) = self.database.persist(PersistMode::SyncAll) {
            log::error!("key-value store: the last commit failed: {error:?}");
        }
    }
}

impl Committer {
    /// Sleeps while nothing changes: an idle device must not wake its flash.
    fn run(&self, database: &Database) {
        while !self.is_closed() {
            if !self.dirty.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            self.wait();
            // Cleared before the commit: a change that comes during it asks for the next one.
            self.dirty.store(false, Ordering::Release);
            if let Err(error) = database.persist(PersistMode::SyncData) {
                log::error!("key-value store: commit failed, it will be tried again: {error:?}");
                self.dirty.store(true, Ordering::Release);
            }
        }
    }

    /// Gathers changes for the whole interval, whatever wakes the thread meanwhile but the end.
    fn wait(&self) {
        let until = Instant::now() + COMMIT_INTERVAL;
        while !self.is_closed() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
