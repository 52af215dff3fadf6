//! The binary log's way to flash: a buffer in memory and a ring of segment files.
//!
//! Flash wears out, so records gather in memory. They are written when the buffer is full, when one
//! is severe, or when the oldest has waited long enough ([`RingLimits`]). What was written survives
//! the end of the process, however it comes; an error survives a power cut, too, once it was
//! synced. A folder that cannot be written to disturbs nobody: records wait in the buffer, then are
//! dropped and counted, and the log says how many as soon as it can be written again.
//!
//! [`LogRing::write`] may be called from any thread. It appends to the youngest segment at most, and
//! never waits for the disk to sync: [`LogRing::flush_in_time`] has that done by a thread for
//! blocking work, and so it has room made for the next segment, since old ones are read and written
//! anew for that.

mod files;
mod rewriting;
mod room;
mod state;
mod thinning;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::Event;
use futures_lite::future::or;
use smol::Timer;
use zlayer_binlog::Record;

use files::{Files, Sync};
use room::Room;
use state::RingState;

use crate::blocking::unblock;
use crate::sync;

pub use zlayer_bundle::LOG_SHARE as MEMORY_SHARE;

/// The ring's sizes and times.
#[derive(Debug, Clone)]
pub struct RingLimits {
    /// Bytes of records that wait in memory (default 16 KiB, which is more than one record takes).
    pub buffer_bytes: usize,
    /// Bytes of one segment file (default 256 KiB).
    pub segment_bytes: usize,
    /// Bytes of all segment files (default 1 MiB). Of the plugins and the daemon, whoever has written
    /// most of them makes room, with the oldest first. Room is made once a new segment has begun, so
    /// there may be up to two segments more for the moment.
    pub ring_bytes: u64,
    /// Number of segment files (default 256). Each start of the daemon begins one, and what is left
    /// of an old one is one, too. Where there are more, small ones that are neighbours are joined.
    pub segments: usize,
    /// Bytes a minute that are written in the long run (default 1 MiB), because flash wears out. As
    /// many as the ring holds may be written at once, the last quarter of them only for errors.
    /// Records beyond that are counted as lost, but a plugin that has written little, or the daemon,
    /// has a sixteenth of both for itself.
    pub minute_bytes: u64,
    /// Longest time that a record waits in memory (default 10 s).
    pub flush: Duration,
    /// Least time between two writes for warnings (default 1 s). An error is written at once.
    pub warn: Duration,
    /// Least time between two commits to the disk, which errors ask for (default 1 s).
    pub sync: Duration,
    /// How long to wait when a write has failed (default 5 s).
    pub retry: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits {
            buffer_bytes: 16 << 10,
            segment_bytes: 256 << 10,
            ring_bytes: 1 << 20,
            segments: 256,
            minute_bytes: 1 << 20,
            flush: Duration::from_secs(10),
            warn: Duration::from_secs(1),
            sync: Duration::from_secs(1),
            retry: Duration::from_secs(5),
        }
    }
}

/// The ring. It takes records before it has a folder: they wait in the buffer.
#[derive(Debug, Default)]
pub struct LogRing {
    state: Mutex<RingState>,
    /// Held by whoever makes room.
    making_room: Mutex<()>,
    /// Notified when something has to be done earlier than it seemed.
    sooner: Event,
}

impl LogRing {
    /// A ring with these limits and no folder yet.
    pub fn new(limits: RingLimits) -> LogRing {
        let ring = LogRing::default();
        ring.lock().limits = limits;
        ring
    }

    /// From now on records go to `folder`, which is made when the first one is written.
    pub fn open(&self, folder: PathBuf) {
        let mut state = self.lock();
        let limits = state.limits.clone();
        state.files = Some(Files::new(folder, limits));
        drop(state);
        self.sooner.notify(usize::MAX);
    }

    /// Takes one record, at the time `now`.
    pub fn write(&self, record: &Record<'_>, now: Instant) {
        let mut state = self.lock();
        let before = state.due();
        state.add_record(record, now);
        let after = state.due();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify(usize::MAX);
        }
    }

    /// Does what is due at the time `now`, and waits for the disk. Returns what went wrong, once.
    pub fn work(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        if state.flush_at.is_some_and(|at| at <= now) {
            state.flush(now);
        }
        let mut sync = None;
        if state.sync_at.is_some_and(|at| at <= now) {
            (state.sync_at, state.synced) = (None, Some(now));
            sync = state.files.as_mut().and_then(Files::unsynced);
        }
        let room = state.room_to_make(now);
        let trouble = state.trouble.take();
        drop(state);
        let trouble = commit(sync, trouble);
        trouble.or(room.and_then(|room| self.make_room(room, now)))
    }

    /// Makes room, without the lock. Returns what went wrong, once.
    fn make_room(&self, room: Room, now: Instant) -> Option<String> {
        let alone = sync::lock(&self.making_room);
        let made = room.make();
        drop(alone);
        self.lock().room_was_made(&room, made, now)
    }

    /// Writes and syncs everything, and takes no more records. Returns what went wrong.
    pub fn close(&self) -> Option<String> {
        let now = Instant::now();
        let mut state = self.lock();
        (state.retry_at, state.spared_reported) = (None, None);
        state.flush(now);
        if state.retry_at.is_none() {
            // This writes the record that tells of lost records, if there were any.
            state.flush(now);
        }
        state.closed = true;
        state.buffer = Vec::new();
        let sync = state.files.as_mut().and_then(Files::unsynced);
        let room = state.room_to_make(now);
        let trouble = state.trouble.take();
        drop(state);
        let trouble = commit(sync, trouble);
        trouble.or(room.and_then(|room| self.make_room(room, now)))
    }

    /// Writes records before they have waited too long, and calls `report` with what goes wrong.
    /// Never ends.
    pub async fn flush_in_time(&'static self, report: fn(&str)) {
        loop {
            let sooner = self.sooner.listen();
            let due = self.lock().due();
            match due {
                None => sooner.await,
                Some(at) => {
                    let timer = async {
                        Timer::at(at).await;
                    };
                    or(sooner, timer).await;
                }
            }
            let now = Instant::now();
            if self.lock().due().is_some_and(|at| at <= now)
                && let Some(trouble) = unblock(move || self.work(now)).await
            {
                report(&trouble);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RingState> {
        sync::lock(&self.state)
    }
}

/// Syncs the disk. It does so without the lock, so that nobody who logs has to wait. Returns what
/// went wrong, now or before.
fn commit(sync: Option<Sync>, before: Option<String>) -> Option<String> {
    let failed = sync.and_then(|sync| sync.run().err());
    before.or(failed.map(|error| format!("the log cannot be committed to the disk: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests;
