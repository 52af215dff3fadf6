//! What the namespaces and the keeper have in common.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard};
use std::thread::Thread;
use std::time::Duration;

use event_listener::{Event, Listener as _};
use fjall::Slice;

use super::Sizes;
use super::change::{BatchResult, Change};
use super::clock::StoreClock;
use super::database::Database;
use super::overlay::Overlay;
use super::writes::{COMMIT_BYTES, Writes};
use super::written::Written;
use super::{KvError, Result};

use crate::sync;

/// The database, if it is open, and the changes on their way to it.
pub(super) struct Store {
    pub(super) sizes: Sizes,
    phase: RwLock<Phase>,
    overlay: Mutex<Overlay>,
    /// Held during every read-modify-write of any namespace on the disk. Taken before `overlay`.
    writing: Mutex<()>,
    /// Notified when the phase changes, and when a batch has ended.
    moved: Event,
    /// Counts failed commits. A namespace that was counted before one has to be counted anew.
    failures: AtomicU64,
    commits: AtomicU64,
    restarts: AtomicU64,
    closing: AtomicBool,
    keeper: OnceLock<Thread>,
    pub(super) clock: Arc<StoreClock>,
    pub(super) written: Written,
    /// The plugins' budgets of writes: at most one for each plugin.
    writers: Mutex<Vec<Arc<Writes>>>,
}

/// Whether there is a database to read from.
enum Phase {
    Opening,
    Open(Database),
    /// It cannot be opened, for this reason.
    Shut(String),
}

impl Store {
    pub(super) fn new(sizes: Sizes, clock: StoreClock) -> Store {
        Store {
            sizes,
            phase: RwLock::new(Phase::Opening),
            overlay: Mutex::default(),
            writing: Mutex::default(),
            moved: Event::new(),
            failures: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            keeper: OnceLock::new(),
            clock: Arc::new(clock),
            written: Written::default(),
            writers: Mutex::default(),
        }
    }

    /// The budget of the plugin `name`, what is spent of which the store writes down.
    pub(super) fn writer(&self, name: &str, day_bytes: u64) -> Arc<Writes> {
        let mut writers = sync::lock(&self.writers);
        // What nobody uses any more stays until it is written down.
        writers.retain(|one| Arc::strong_count(one) > 1 || one.is_owed() || one.name() == name);
        if let Some(known) = writers.iter().find(|one| one.name() == name) {
            known.set_day_bytes(day_bytes);
            return Arc::clone(known);
        }
        let writes = Arc::new(Writes::new(name, day_bytes));
        writers.push(Arc::clone(&writes));
        writes
    }

    /// What is to be written down of the plugins' budgets of writes.
    pub(super) fn spent(&self) -> Vec<(Vec<u8>, [u8; 16])> {
        let writers = sync::lock(&self.writers);
        writers.iter().filter_map(|one| one.record()).collect()
    }

    /// Charges the plugins for what the commit of `batch` writes beside the changes themselves, and for
    /// the bytes that were written anew since the last one.
    pub(super) fn charge_commit<'a>(
        &self,
        batch: impl Iterator<Item = &'a Change>,
        rewritten: u64,
    ) {
        let now = self.clock.now();
        let mut payers: Vec<&Arc<Writes>> = Vec::new();
        for payment in batch.filter_map(|change| change.payment.as_ref()) {
            if !payers.iter().any(|payer| Arc::ptr_eq(payer, &payment.by)) {
                payers.push(&payment.by);
            }
        }
        for payer in &payers {
            payer.charge(COMMIT_BYTES / payers.len() as u64, now);
        }
        Writes::charge_together(&sync::lock(&self.writers), rewritten, now);
    }

    /// Waits for the database to be open, and returns it for reading. The guard must not be held
    /// over an await: the keeper waits for it when it opens the database anew.
    pub(super) async fn reading(&self) -> Result<Reading<'_>> {
        loop {
            if let Some(reading) = self.try_reading() {
                return reading;
            }
            let moved = self.moved.listen();
            // The phase may have changed before the listener was there.
            if let Some(reading) = self.try_reading() {
                return reading;
            }
            moved.await;
        }
    }

    /// Like [`Store::reading`], on a thread that may block.
    pub(super) fn reading_blocking(&self) -> Result<Reading<'_>> {
        loop {
            let moved = self.moved.listen();
            if let Some(reading) = self.try_reading() {
                return reading;
            }
            moved.wait();
        }
    }

    fn try_reading(&self) -> Option<Result<Reading<'_>>> {
        let phase = sync::read(&self.phase);
        match &*phase {
            Phase::Opening => None,
            Phase::Open(_) => Some(Ok(Reading(phase))),
            Phase::Shut(reason) => Some(Err(KvError::Storage(reason.clone()))),
        }
    }

    /// Waits until there is room for a change of `key` whose value takes `bytes`. Fails at once
    /// while the disk takes none.
    pub(super) async fn room(&self, key: &[u8], bytes: usize) -> Result<()> {
        loop {
            if let Some(room) = self.try_room(key, bytes) {
                return room;
            }
            let moved = self.moved.listen();
            if let Some(room) = self.try_room(key, bytes) {
                return room;
            }
            self.overlay().wants_room();
            self.wake_keeper();
            moved.await;
        }
    }

    fn try_room(&self, key: &[u8], bytes: usize) -> Option<Result<()>> {
        let overlay = self.overlay();
        match overlay.refusing() {
            Some(reason) => Some(Err(KvError::Storage(reason.to_owned()))),
            None => {
                let has_room = overlay.has_room(key, bytes, self.sizes.pending);
                has_room.then_some(Ok(()))
            }
        }
    }

    /// Takes the write lock: nobody else changes anything while the guard is held.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data of its own, so a holder that died left nothing half done in it.
        sync::lock(&self.writing)
    }

    pub(super) fn overlay(&self) -> MutexGuard<'_, Overlay> {
        // Each method leaves the overlay whole; none of them can panic half way.
        sync::lock(&self.overlay)
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Adds a change that may wait for `within`; the caller holds the write lock. Fails if the disk
    /// takes no changes any more.
    pub(super) fn change(
        &self,
        key: Slice,
        change: Change,
        within: Duration,
    ) -> Result<Arc<BatchResult>> {
        let mut overlay = self.overlay();
        if let Some(reason) = overlay.refusing() {
            return Err(KvError::Storage(reason.to_owned()));
        }
        if let (Some(_), Some(reason)) = (&change.stored, overlay.scarce()) {
            return Err(KvError::Storage(reason.to_owned()));
        }
        if let Some(payment) = &change.payment {
            let earlier = overlay.payment(&key).cloned();
            let (own, others) = match earlier {
                Some(earlier) if Arc::ptr_eq(&earlier.by, &payment.by) => (earlier.bytes, None),
                others => (0, others),
            };
            if !payment.by.spend(payment.bytes, own, self.clock.now()) {
                return Err(KvError::WritesExceeded);
            }
            if let Some(others) = others {
                others.by.give_back(others.bytes);
            }
        }
        let due = overlay.due();
        let outcome = overlay.add_change(key, change, within);
        // The keeper sleeps until what it knew of is due.
        let sooner = overlay.due() != due;
        let wake = sooner || overlay.is_awaited();
        drop(overlay);
        if wake {
            self.wake_keeper();
        }
        Ok(outcome)
    }

    /// Says which thread to wake. The keeper calls it.
    pub(super) fn set_keeper(&self, thread: Thread) {
        // It is set once, by the keeper itself.
        let _ = self.keeper.set(thread);
    }

    pub(super) fn wake_keeper(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    pub(super) fn opened(&self, database: Database) {
        self.set_phase(Phase::Open(database));
    }

    pub(super) fn shut(&self, reason: String) {
        self.set_phase(Phase::Shut(reason));
    }

    /// Makes readers wait until the database is open again, after a failure.
    pub(super) fn restarting(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.reopening();
    }

    /// Makes readers wait until the database is open again, where nothing has failed.
    pub(super) fn reopening(&self) {
        self.set_phase(Phase::Opening);
    }

    fn set_phase(&self, phase: Phase) {
        *sync::write(&self.phase) = phase;
        self.moved.notify(usize::MAX);
    }

    /// Notes that all that was to be written is on the disk. `batch` says whether there was any.
    pub(super) fn committed(&self, batch: bool) {
        self.commits.fetch_add(u64::from(batch), Ordering::Relaxed);
        self.overlay().committed();
        self.moved.notify(usize::MAX);
    }

    pub(super) fn failed(&self, reason: &str) {
        let _writing = self.writing();
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.overlay().failed(reason);
        self.moved.notify(usize::MAX);
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake_keeper();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The figures and the state that the admin interface shows.
    pub(super) fn status(&self, folder: &Path) -> super::Status {
        let (pending_bytes, refusing) = {
            let overlay = self.overlay();
            (
                overlay.unwritten_bytes(),
                overlay.refusing().or(overlay.scarce()).map(str::to_owned),
            )
        };
        let phase = sync::read(&self.phase);
        let state = match (&*phase, refusing) {
            (Phase::Opening, _) => super::StoreState::Opening,
            (Phase::Open(_), None) => super::StoreState::Open,
            (Phase::Shut(reason), _) => super::StoreState::Failing(reason.clone()),
            (Phase::Open(_), Some(reason)) => super::StoreState::Failing(reason),
        };
        super::Status {
            state,
            pending_bytes,
            disk_bytes: super::database::disk_bytes(folder).unwrap_or(0),
            commits: self.commits.load(Ordering::Relaxed),
            failures: self.failures(),
            read_errors: super::READ_ERRORS.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            written_bytes: self.written.bytes(),
            aside: super::database::asides(folder).unwrap_or_default(),
        }
    }
}

/// The open database, for as long as it is read from.
pub(super) struct Reading<'a>(RwLockReadGuard<'a, Phase>);

impl std::ops::Deref for Reading<'_> {
    type Target = Database;

    fn deref(&self) -> &Database {
        match &*self.0 {
            Phase::Open(database) => database,
            // Only `try_reading` makes a `Reading`, of an open phase, which the guard keeps from
            // changing.
            _ => unreachable!("a reading of a store that is not open"),
        }
    }
}
