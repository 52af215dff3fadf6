//! The records that wait to be written, and when they have to be.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use log::Level;
use zlayer_binlog::{Encoder, Record};

use super::RingLimits;
use super::files::Files;
use super::room::Room;

/// Each plugin, and the daemon, has one part in so many of what may be written for itself, whatever
/// others have written. What the daemon tells of a plugin is the plugin's part.
const SHARES: u64 = 16;

/// The part of a ring that its lock guards.
#[derive(Debug, Default)]
pub(super) struct RingState {
    pub(super) limits: RingLimits,
    pub(super) closed: bool,
    encoder: Encoder,
    /// Encoded records that are not written yet.
    pub(super) buffer: Vec<u8>,
    pub(super) files: Option<Files>,
    /// Records that found no room since the log last reported such losses.
    lost: u64,
    /// Records that were left out to spare the flash since the log last reported that.
    spared: u64,
    /// When the log last reported records that were left out to spare the flash.
    pub(super) spared_reported: Option<Instant>,
    /// Bytes written beyond what the passing time has allowed: see [`RingLimits::minute_bytes`].
    pub(super) spent: u64,
    /// The same for each owner of records.
    spent_by: BTreeMap<String, u64>,
    /// Up to when the passing time was taken off `spent`.
    earned: Option<Instant>,
    /// When the buffer has to be written at the latest.
    pub(super) flush_at: Option<Instant>,
    /// When what was written has to be synced.
    pub(super) sync_at: Option<Instant>,
    warned: Option<Instant>,
    pub(super) synced: Option<Instant>,
    /// Writing has failed and is tried again at this time.
    pub(super) retry_at: Option<Instant>,
    /// When room has to be made, since a segment has begun.
    room_at: Option<Instant>,
    /// Room could not be made, which was told.
    room_failed: bool,
    /// What went wrong, until somebody was told.
    pub(super) trouble: Option<String>,
}

impl RingState {
    /// The time at which there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        // Without a folder there is nothing to write to.
        self.files.as_ref()?;
        let times = [self.flush_at, self.sync_at, self.room_at];
        times.into_iter().flatten().min()
    }

    /// Adds a record, and writes it at once if it is severe.
    pub(super) fn add_record(&mut self, record: &Record<'_>, now: Instant) {
        if self.closed {
            return;
        }
        let bound = self.encoder.bound(record);
        if !self.may_spend(record, bound, now) {
            self.spared += 1;
            // A flush is due even if no other record comes, so that the loss gets reported.
            let at = now + self.limits.flush;
            self.flush_at.get_or_insert(at);
            return;
        }
        if !self.make_room(bound, now) {
            self.lost += 1;
            return;
        }
        let before = self.buffer.len();
        self.encoder.record(record, &mut self.buffer);
        self.spend(record, (self.buffer.len() - before) as u64);
        let mut latest = now + self.limits.flush;
        match record.level {
            Level::Error => {
                latest = now;
                let earliest = self.synced.map_or(now, |synced| synced + self.limits.sync);
                self.sync_at.get_or_insert(earliest.max(now));
            }
            Level::Warn => {
                latest = self
                    .warned
                    .map_or(now, |last| last + self.limits.warn)
                    .max(now);
            }
            Level::Info | Level::Debug | Level::Trace => {}
        }
        if latest == now && self.files.is_some() {
            self.flush(now);
        } else {
            let at = self.flush_at.map_or(latest, |at| at.min(latest));
            self.flush_at = Some(at);
        }
    }

    /// Whether `bytes` more bytes may be written without wearing the flash out.
    fn may_spend(&mut self, record: &Record<'_>, bytes: usize, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.earned.get_or_insert(now));
        let earned = since.as_millis() * u128::from(self.limits.minute_bytes) / 60_000;
        // Less than a byte is not subtracted now: it stays for the next time.
        if earned > 0 {
            self.spent = self
                .spent
                .saturating_sub(u64::try_from(earned).unwrap_or(u64::MAX));
            self.earned = Some(now);
            let own = u64::try_from(earned / u128::from(SHARES)).unwrap_or(u64::MAX);
            self.spent_by.retain(|_, spent| {
                *spent = spent.saturating_sub(own);
                *spent > 0
            });
        }
        let bytes = bytes as u64;
        let who = record.owner();
        let spent = self.spent_by.get(who).copied().unwrap_or(0);
        if spent + bytes <= self.limits.ring_bytes / SHARES {
            return true;
        }
        if self.files.as_ref().is_some_and(Files::is_behind) {
            return false;
        }
        let most = match record.level {
            Level::Error => self.limits.ring_bytes,
            _ => self.limits.ring_bytes / 4 * 3,
        };
        self.spent + bytes <= most
    }

    /// Counts what was written.
    fn spend(&mut self, record: &Record<'_>, bytes: u64) {
        self.spent += bytes;
        let who = record.owner();
        match self.spent_by.get_mut(who) {
            Some(spent) => *spent += bytes,
            None => drop(self.spent_by.insert(who.to_owned(), bytes)),
        }
    }

    /// Makes room for `bytes` in the buffer and in the segment. Returns whether there is.
    fn make_room(&mut self, bytes: usize, now: Instant) -> bool {
        let fits = |state: &RingState| state.buffer.len() + bytes <= state.limits.buffer_bytes;
        let ends = |files: &Files, waiting: usize| !files.has_room(waiting + bytes);
        let waiting = self.buffer.len();
        let full = self
            .files
            .as_ref()
            .is_some_and(|files| ends(files, waiting));
        if full || !fits(self) {
            self.write_out(now);
        }
        if let Some(files) = &mut self.files
            && full
        {
            // The waiting records belong to the old segment: they name strings that are defined
            // there.
            if !self.buffer.is_empty() {
                return false;
            }
            files.end_segment(self.sync_at.is_some());
            self.encoder = Encoder::default();
        }
        fits(self)
    }

    /// Writes what waits, unless that failed a short while ago, and then reports lost records.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.files.is_some() && self.write_out(now) {
            self.report_lost_records(now);
        }
    }

    /// Writes the buffer. Returns whether nothing waits any more.
    fn write_out(&mut self, now: Instant) -> bool {
        let Some(files) = &mut self.files else {
            return false;
        };
        if self.buffer.is_empty() {
            self.flush_at = None;
            return true;
        }
        if let Some(at) = self.retry_at
            && now < at
        {
            self.flush_at = Some(at);
            return false;
        }
        let had_failed = self.retry_at.is_some();
        let begun = files.begun();
        let written = files.write(&mut self.encoder, &mut self.buffer);
        if files.begun() > begun {
            self.room_at.get_or_insert(now);
        }
        let Err(error) = written else {
            (self.flush_at, self.retry_at, self.warned) = (None, None, Some(now));
            return true;
        };
        let retry = now + self.limits.retry;
        (self.flush_at, self.retry_at) = (Some(retry), Some(retry));
        if !had_failed {
            self.trouble = Some(format!(
                "the log cannot be written to {}: {error}; what does not fit in memory is counted and dropped",
                files.folder().display()
            ));
        }
        false
    }

    /// The room that has to be made by now.
    pub(super) fn room_to_make(&mut self, now: Instant) -> Option<Room> {
        let files = self.files.as_ref()?;
        self.room_at.take_if(|at| *at <= now)?;
        Some(files.room())
    }

    /// Records what came of making room. Returns what went wrong, once.
    pub(super) fn room_was_made(
        &mut self,
        room: &Room,
        made: io::Result<()>,
        now: Instant,
    ) -> Option<String> {
        let had_failed = std::mem::replace(&mut self.room_failed, made.is_err());
        let Err(error) = made else {
            if let Some(files) = &mut self.files {
                files.has_room_for(room.begun);
            }
            return None;
        };
        self.room_at = Some(now + self.limits.retry);
        (!had_failed).then(|| {
            format!(
                "there is no room made for the log in {}: {error}; what comes too fast is counted and dropped",
                room.folder.display()
            )
        })
    }

    fn report_lost_records(&mut self, now: Instant) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let message = format!("{lost} records lost: the log could not be written");
            self.add_own_record(&message, now);
        }
        if self.spared > 0 {
            // The report takes room as well, so it is not written with each flush.
            let next = self
                .spared_reported
                .map_or(now, |at| at + self.limits.flush);
            if now < next {
                self.flush_at.get_or_insert(next);
                return;
            }
            self.spared_reported = Some(now);
            let spared = std::mem::take(&mut self.spared);
            let message = format!(
                "{spared} records lost: more than {} bytes a minute would wear the flash out",
                self.limits.minute_bytes
            );
            self.add_own_record(&message, now);
        }
    }

    /// Adds a record of the log's own. It is not counted as lost if it finds no room.
    fn add_own_record(&mut self, message: &str, now: Instant) {
        let record = Record::new(Record::now(), Level::Warn, module_path!(), message);
        let bound = self.encoder.bound(&record);
        if self.make_room(bound, now) {
            let before = self.buffer.len();
            self.encoder.record(&record, &mut self.buffer);
            self.spent += (self.buffer.len() - before) as u64;
            let at = now + self.limits.warn;
            self.flush_at = Some(self.flush_at.map_or(at, |earlier| earlier.min(at)));
        }
    }
}
