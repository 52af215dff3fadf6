//! What waits to be written, and when it has to be.

use std::time::Instant;

use log::Level;
use zlayer_binlog::{Encoder, Record};

use super::RingLimits;
use super::files::Files;

/// What a ring's lock guards.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) limits: RingLimits,
    pub(super) closed: bool,
    encoder: Encoder,
    /// Frames that are not written yet.
    pub(super) buffer: Vec<u8>,
    pub(super) files: Option<Files>,
    /// Records that found no room since the log last told of them.
    lost: u64,
    /// When the buffer has to be written.
    pub(super) flush_at: Option<Instant>,
    /// When what was written has to be synced.
    pub(super) sync_at: Option<Instant>,
    warned: Option<Instant>,
    pub(super) synced: Option<Instant>,
    /// Writing has failed; it is tried again then.
    pub(super) retry_at: Option<Instant>,
    /// What went wrong, until it was told.
    pub(super) trouble: Option<String>,
}

impl State {
    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        // Without a folder there is nothing to write to.
        self.files.as_ref()?;
        self.flush_at.into_iter().chain(self.sync_at).min()
    }

    /// Takes a record, and writes it at once if it is severe.
    pub(super) fn put(&mut self, record: &Record<'_>, now: Instant) {
        if self.closed {
            return;
        }
        if !self.make_room(Encoder::bound(record), now) {
            self.lost += 1;
            return;
        }
        self.encoder.record(record, &mut self.buffer);
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

    /// Whether a record of as many bytes fits into the buffer and into the segment.
    fn make_room(&mut self, bytes: usize, now: Instant) -> bool {
        let fits = |state: &State| state.buffer.len() + bytes <= state.limits.buffer_bytes;
        let ends = |files: &Files, waiting: usize| !files.has_room(waiting + bytes);
        let waiting = self.buffer.len();
        let full = self
            .files
            .as_ref()
            .is_some_and(|files| ends(files, waiting));
        if full || !fits(self) {
            self.flush(now);
        }
        if let Some(files) = &mut self.files
            && full
        {
            // What waits belongs to the old segment and names strings that are defined there.
            if !self.buffer.is_empty() {
                return false;
            }
            files.end_segment();
            self.encoder = Encoder::default();
        }
        fits(self)
    }

    /// Writes what waits, unless that failed a short while ago.
    pub(super) fn flush(&mut self, now: Instant) {
        let Some(files) = &mut self.files else {
            return;
        };
        if self.buffer.is_empty() {
            self.flush_at = None;
            return;
        }
        if let Some(at) = self.retry_at
            && now < at
        {
            self.flush_at = Some(at);
            return;
        }
        let had_failed = self.retry_at.is_some();
        let written = files.write(&mut self.encoder, &mut self.buffer);
        let Err(error) = written else {
            (self.flush_at, self.retry_at, self.warned) = (None, None, Some(now));
            self.tell_of_the_lost(now);
            return;
        };
        let retry = now + self.limits.retry;
        (self.flush_at, self.retry_at) = (Some(retry), Some(retry));
        if !had_failed {
            self.trouble = Some(format!(
                "the log cannot be written to {}: {error}; what does not fit in memory is counted and dropped",
                files.folder().display()
            ));
        }
    }

    fn tell_of_the_lost(&mut self, now: Instant) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let message = format!("{lost} records lost: the log could not be written");
            let record = Record::new(Record::now(), Level::Warn, module_path!(), &message);
            self.put(&record, now);
        }
    }
}
