//! The thread that opens the database, commits to it, and reopens it when it has failed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::database::{self, Database, OpenError};
use super::place::Place;
use super::reserve::{self, Reserve};
use super::scarcity::Scarcity;
use super::store::Store;
use super::writes::{COMMIT_BYTES, Writes};
use super::written::KEEPER;

/// How often the store's time is written down while values are due to expire. After a power cut
/// they live longer by at most this.
const ANCHOR_INTERVAL: Duration = Duration::from_secs(600);
/// The error that calls get once the store is closed.
pub(super) const CLOSING: &str = "the device is shutting down";
/// The first and the longest pause before the disk is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Free space that the disk must have, beyond the waiting changes, before the database is opened
/// anew: fjall has to write tables as well.
const PROBE_BYTES: usize = 1 << 20;

/// Runs one store until it is closed.
pub(super) struct Keeper {
    pub(super) store: Arc<Store>,
    pub(super) folder: PathBuf,
    /// The folder as it was found. No other is made in its place: whoever removed it, or took the
    /// disk away that it is on, would be left with changes in two places.
    place: Option<Place>,
    /// When the store's time was last written down.
    anchored: Instant,
    reserve: Reserve,
    /// Set while the disk is full and the reserve given up.
    scarcity: Option<Scarcity>,
}

impl Keeper {
    /// Starts the keeper's thread.
    pub(super) fn start(store: Arc<Store>, folder: PathBuf) -> io::Result<JoinHandle<()>> {
        let mut keeper = Keeper {
            store,
            reserve: Reserve::of(&folder),
            folder,
            place: None,
            anchored: Instant::now(),
            scarcity: None,
        };
        thread::Builder::new()
            .name(KEEPER.to_owned())
            .spawn(move || keeper.run())
    }

    fn run(&mut self) {
        self.store.set_keeper(thread::current());
        database::mark_panics(&self.folder);
        let mut pause = RETRY.0;
        let mut put_aside = false;
        loop {
            let reason = match self.open() {
                Ok(database) => {
                    put_aside = false;
                    match self.serve(database, &mut pause) {
                        Some(()) => continue,
                        None => return,
                    }
                }
                Err(OpenError::PutAside) if !put_aside => {
                    put_aside = true;
                    continue;
                }
                Err(OpenError::PutAside) => "not even an empty database opens".to_owned(),
                Err(OpenError::Disk(_)) if self.gives_room() => continue,
                Err(OpenError::Disk(reason)) => reason,
            };
            log::error!(
                "key-value store: cannot open {}: {reason}; trying again in {pause:?}",
                self.folder.display()
            );
            self.store.shut(client_reason(&reason));
            if self.wait_before_retry(&mut pause).is_none() {
                return self.lose_what_is_left();
            }
            self.store.restarting();
        }
    }

    fn open(&mut self) -> Result<Database, OpenError> {
        match &self.place {
            Some(place) => place.check().map_err(OpenError::Disk)?,
            None => {
                let made = fs::create_dir_all(&self.folder).and_then(|()| Place::of(&self.folder));
                self.place = Some(made.map_err(|error| OpenError::Disk(error.to_string()))?);
            }
        }
        // An earlier process may have given the room up. Keys may have been removed since.
        if self.scarcity.is_none()
            && self.reserve.is_given_up()
            && !self.reserve.take_back(PROBE_BYTES as u64)
        {
            self.begin_scarcity(true);
        }
        Database::open(&self.folder, &self.store.sizes, &self.store.clock)
    }

    /// Commits until the store is closed (`None`) or the database has to be opened anew.
    fn serve(&mut self, database: Database, pause: &mut Duration) -> Option<()> {
        // What an earlier failure left is written first, since changes are refused until then; so
        // is the time after a reboot.
        let recovering = self.store.overlay().refusing().is_some();
        let first = recovering || self.store.clock.is_due();
        let mut done = if first {
            self.commit(&database)
        } else {
            Ok(())
        };
        if done.is_ok() {
            if recovering {
                log::info!("key-value store: writes come through again");
            }
            *pause = RETRY.0;
            self.store.opened(database.clone());
            if self.scarcity.is_none() {
                self.reserve.begin();
            }
        }
        while done.is_ok() {
            // Before the first commit too: a change that is made as soon as the store is open may wait for as
            // long as any other.
            self.wait_for_changes();
            let closing = self.store.is_closing();
            done = self.commit(&database);
            // Changes that came during the commit are acknowledged, so the next round has to write
            // them.
            if closing && done.is_ok() && self.store.overlay().refuse_if_empty(CLOSING) {
                self.store.shut(CLOSING.to_owned());
                return None;
            }
            match done.and_then(|()| self.tend(&database)) {
                Ok(true) => {
                    self.store.written.bytes();
                    self.store.reopening();
                    return Some(());
                }
                Ok(false) => done = Ok(()),
                Err(reason) => done = Err(reason),
            }
        }
        let reason = done.err().unwrap_or_default();
        log::error!(
            "key-value store: cannot write: {reason}; reads go on, writes fail until it can"
        );
        self.store.failed(&client_reason(&reason));
        if first {
            // This does nothing if the database was open before.
            self.store.opened(database.clone());
        }
        while !self.gives_room() {
            if self.wait_before_retry(pause).is_none() {
                self.try_a_last_time(database);
                return None;
            }
            match self.probe() {
                Ok(()) => break,
                Err(error) => log::warn!("key-value store: still cannot write: {error}"),
            }
        }
        self.store.written.bytes();
        self.store.restarting();
        Some(())
    }

    /// Writes the waiting changes as one batch, if there are any.
    fn commit(&mut self, database: &Database) -> Result<(), String> {
        let batch = self.store.overlay().begin_batch();
        let clock = &self.store.clock;
        // The time is written with every batch. Without one it is written from time to time, and at
        // an orderly shutdown, until the disk knows a time by which all values have expired.
        let due =
            clock.is_due() || self.anchored.elapsed() >= ANCHOR_INTERVAL || self.store.is_closing();
        let mut records = Vec::new();
        let mut anchored = false;
        if batch.is_some() || due {
            let changes = batch.iter().flat_map(|batch| batch.values());
            let rewritten = database.take_rewritten();
            self.store.charge_commit(changes, rewritten);
            self.store.written.reckon(rewritten);
            records = self.store.spent();
            // What plugins have spent is told with the time at which it was.
            anchored = clock.is_owed() || !records.is_empty();
        }
        let anchor = anchored.then(|| clock.anchor());
        if batch.is_some() || anchor.is_some() {
            let changes = batch.iter().flat_map(|batch| batch.iter());
            let changes = changes.map(|(key, change)| (key, &change.stored));
            database.commit(changes, anchor, &records)?;
            let changes = batch.iter().flat_map(|batch| batch.iter());
            let costs = changes.map(|(key, change)| {
                let stored = change.stored.as_ref().map_or(0, |stored| stored.len());
                Writes::cost(key.len(), stored)
            });
            let costs: u64 = costs.sum();
            self.store.written.reckon(costs + COMMIT_BYTES);
            if let Some(scarcity) = &mut self.scarcity {
                let mut changes = batch.iter().flat_map(|batch| batch.values());
                if changes.any(|change| change.stored.is_none()) {
                    scarcity.removed();
                }
            }
            if let Some(anchor) = &anchor {
                self.anchored = Instant::now();
                clock.written_down(anchor);
            }
        }
        self.store.committed(batch.is_some());
        Ok(())
    }

    /// Sleeps while nothing changes: an idle device must not wake its flash. Then gathers changes
    /// until the first of them is due, if nobody waits for them.
    fn wait_for_changes(&self) {
        loop {
            let store = &self.store;
            let (changes_due, urgent) = {
                let overlay = store.overlay();
                // Changes that fill the room wait like others until somebody needs it: those of the
                // same keys may yet take their places.
                (overlay.due(), overlay.is_crowded() || overlay.is_awaited())
            };
            if store.is_closing() || urgent {
                return;
            }
            let now = Instant::now();
            let until_changes = changes_due.map(|due| due.saturating_duration_since(now));
            // Also while changes wait for longer than that.
            let owed = store.clock.is_owed();
            let until_anchor =
                owed.then(|| ANCHOR_INTERVAL.saturating_sub(self.anchored.elapsed()));
            let until_tended = self.scarcity.as_ref().map(Scarcity::until_tended);
            let waits = [until_changes, until_anchor, until_tended];
            let wait = waits.into_iter().flatten().min();
            let wait = wait.unwrap_or(Duration::MAX);
            if wait.is_zero() {
                return;
            }
            thread::park_timeout(wait);
        }
    }

    /// Gives up the room that is set aside, if there is some and the disk is full. From then on all but
    /// removals are refused.
    fn gives_room(&mut self) -> bool {
        let wanted = self.store.overlay().pending_bytes() + PROBE_BYTES;
        if !self.reserve.give_up(wanted as u64) {
            return false;
        }
        self.begin_scarcity(false);
        true
    }

    /// Refuses all but removals from now on.
    fn begin_scarcity(&mut self, has_removed: bool) {
        let wanted = reserve::wanted(PROBE_BYTES as u64) >> 20;
        let remedy = format!("keys can be removed, and others changed once {wanted} MiB are free");
        log::warn!(
            "key-value store: the disk of {} is full: {remedy}",
            self.folder.display()
        );
        self.scarcity = Some(Scarcity::new(has_removed));
        let reason = client_reason(&format!("its disk is full; {remedy}"));
        self.store.overlay().set_scarce(Some(&reason));
    }

    /// Has what was removed from a full disk make room, from time to time, and takes all changes again
    /// once there is enough. Returns whether the database is to be opened anew.
    fn tend(&mut self, database: &Database) -> Result<bool, String> {
        let Some(scarcity) = &mut self.scarcity else {
            return Ok(false);
        };
        if !scarcity.until_tended().is_zero() {
            return Ok(false);
        }
        scarcity.tended();
        let free = reserve::free(&self.folder).unwrap_or(0);
        if scarcity.tries(Instant::now(), free) && database.shrink()? {
            scarcity.shrunk();
            return Ok(true);
        }
        if self.reserve.take_back(PROBE_BYTES as u64) {
            self.scarcity = None;
            self.store.overlay().set_scarce(None);
            log::info!("key-value store: there is room on the disk again");
        }
        Ok(false)
    }

    /// Waits before the next try, longer each time. Returns `None` if the store is closed
    /// meanwhile.
    fn wait_before_retry(&self, pause: &mut Duration) -> Option<()> {
        let until = Instant::now() + *pause;
        *pause = (*pause * 2).min(RETRY.1);
        while !self.store.is_closing() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(());
            }
            thread::park_timeout(left);
        }
        None
    }

    /// Checks that the disk has room for the waiting changes.
    fn probe(&self) -> io::Result<()> {
        if let Some(place) = &self.place {
            place.check().map_err(io::Error::other)?;
        }
        let path = self.folder.join("probe");
        let written = write_zeros(&path, self.store.overlay().pending_bytes() + PROBE_BYTES);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => written.and(Err(error)),
            _ => written,
        }
    }

    /// Tries once more to write what waits: the device shuts down, and the disk may take data again
    /// by now.
    fn try_a_last_time(&mut self, database: Database) {
        self.store.restarting();
        // fjall unlocks the folder when the last handle is dropped.
        drop(database);
        if let Ok(database) = self.open()
            && self.commit(&database).is_ok()
        {
            log::info!("key-value store: writes came through at last");
            return self.store.shut(CLOSING.to_owned());
        }
        self.lose_what_is_left();
    }

    fn lose_what_is_left(&self) {
        if !self.store.overlay().is_empty() {
            log::error!("key-value store: the last changes could not be written and are lost");
        }
        self.store.failed(CLOSING);
        self.store.shut(CLOSING.to_owned());
    }
}

fn write_zeros(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block = [0; 16 << 10];
    for _ in 0..bytes.div_ceil(block.len()) {
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// The reason as a plugin gets it: only the cause, since the log has all of it.
fn client_reason(reason: &str) -> String {
    format!("the device's store: {reason}")
}
