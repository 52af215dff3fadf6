//! How much one plugin may have written to flash.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync;

/// Bytes that a change costs beside its key and value: its place in the batch, and its part of what
/// the file system writes with each commit.
const CHANGE_BYTES: u64 = 128;
/// How often a change's key and value are written in any case: to the journal, and to a table. How
/// often they are written anew, as tables are merged, depends on what else there is.
const TIMES_WRITTEN: u64 = 2;
/// How often at most, beyond that, what a plugin has written of late is taken to have been written anew:
/// what is merged beyond that is of others, whose part nobody knows any more after a restart.
const MOST_TIMES: u64 = 16;
/// Bytes that each commit costs beside what is in it: the journal is written in whole pages.
pub(super) const COMMIT_BYTES: u64 = 4096;
const DAY_NANOS: u128 = 86_400_000_000_000;
/// The records of what plugins have spent have this in front of the plugin's name. No namespace
/// has an empty name, so no key of a plugin begins with a zero byte.
const RECORD_KEY: &[u8] = b"\0written\0";

/// A plugin's budget of bytes that are written to flash, which wears out.
///
/// A change is paid for when it is made. What comes of it later is charged when it happens: a share of
/// each commit, and of what is written anew as tables are merged, as much as the plugin had written of
/// late beside others.
///
/// As much as a day allows may be written at once. What was written counts less as time passes: a
/// day later it does not count any more. It is written down with the data, so a restart does not
/// fill the budget up again.
#[derive(Debug)]
pub struct Writes {
    /// The plugin's name.
    name: String,
    day_bytes: AtomicU64,
    spent: Mutex<Spent>,
    /// Changes that were refused.
    refused: AtomicU64,
    /// Whether anything was spent since it was last written down.
    is_owed: AtomicBool,
}

#[derive(Debug, Default)]
struct Spent {
    bytes: u64,
    /// The store's time up to which the passing time was taken off `bytes`.
    at: u64,
    /// Bytes of its changes, those before the last merges of tables counting half, and so on: its part in
    /// what is merged next.
    recent: u64,
    /// Whether an earlier process's record was looked for.
    is_loaded: bool,
}

/// What a change has cost, as long as it is not on its way to the disk.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) by: Arc<Writes>,
    pub(super) bytes: u64,
}

impl Writes {
    /// A budget of `day_bytes` a day for the plugin `name`, of which nothing is spent yet.
    pub(super) fn new(name: &str, day_bytes: u64) -> Writes {
        Writes {
            name: name.to_owned(),
            day_bytes: AtomicU64::new(day_bytes),
            spent: Mutex::default(),
            refused: AtomicU64::new(0),
            is_owed: AtomicBool::new(false),
        }
    }

    /// Bytes that count as written, of those that a day allows.
    pub fn spent(&self) -> u64 {
        sync::lock(&self.spent).bytes
    }

    /// Bytes that a day allows.
    pub fn day_bytes(&self) -> u64 {
        self.day_bytes.load(Ordering::Relaxed)
    }

    /// Allows so many bytes a day from now on.
    pub(super) fn set_day_bytes(&self, day_bytes: u64) {
        self.day_bytes.store(day_bytes, Ordering::Relaxed);
    }

    /// The plugin's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether anything was spent since it was last written down.
    pub(super) fn is_owed(&self) -> bool {
        self.is_owed.load(Ordering::Relaxed)
    }

    /// How many changes were refused because the budget was spent.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What a change costs.
    pub(super) fn cost(key_bytes: usize, stored_bytes: usize) -> u64 {
        (key_bytes as u64 + stored_bytes as u64) * TIMES_WRITTEN + CHANGE_BYTES
    }

    /// Spends `bytes` at the store's time `now`, of which `back` were paid before for a change that
    /// this one replaces. Returns false, with nothing spent, if the budget has no room.
    pub(super) fn spend(&self, bytes: u64, back: u64, now: u64) -> bool {
        let mut spent = sync::lock(&self.spent);
        spent.pass(now, self.day_bytes());
        let after = spent.bytes.saturating_sub(back).saturating_add(bytes);
        if after > self.day_bytes() && after > spent.bytes {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        spent.bytes = after;
        spent.recent = spent.recent.saturating_sub(back).saturating_add(bytes);
        self.is_owed.store(true, Ordering::Relaxed);
        true
    }

    /// Charges `bytes` that were written on the plugin's account at the store's time `now`, whether or
    /// not the budget has room for them.
    pub(super) fn charge(&self, bytes: u64, now: u64) {
        let mut spent = sync::lock(&self.spent);
        spent.pass(now, self.day_bytes());
        spent.bytes = spent.bytes.saturating_add(bytes);
        self.is_owed.store(true, Ordering::Relaxed);
    }

    /// Charges all of `writers` for `bytes` that were written anew by the store's time `now`, each as much
    /// as it had written of late.
    pub(super) fn charge_together(writers: &[Arc<Writes>], bytes: u64, now: u64) {
        if bytes == 0 {
            return;
        }
        let recent: Vec<u64> = writers
            .iter()
            .map(|one| {
                let mut spent = sync::lock(&one.spent);
                let recent = spent.recent;
                spent.recent /= 2;
                recent
            })
            .collect();
        let all: u128 = recent.iter().map(|recent| u128::from(*recent)).sum();
        for (one, recent) in writers.iter().zip(recent).filter(|(_, recent)| *recent > 0) {
            // A part of `bytes`, so it fits.
            let share = (u128::from(bytes) * u128::from(recent) / all) as u64;
            one.charge(share.min(recent.saturating_mul(MOST_TIMES)), now);
        }
    }

    /// Gives back what was paid for a change that another plugin has replaced before it was
    /// written.
    pub(super) fn give_back(&self, bytes: u64) {
        let mut spent = sync::lock(&self.spent);
        spent.bytes = spent.bytes.saturating_sub(bytes);
        spent.recent = spent.recent.saturating_sub(bytes);
    }

    /// Takes up what an earlier process has written down, if that was not done before.
    pub(super) fn load(&self, record: impl FnOnce(&[u8]) -> Option<Vec<u8>>, now: u64) {
        let mut spent = sync::lock(&self.spent);
        if std::mem::replace(&mut spent.is_loaded, true) {
            return;
        }
        let found = record(&self.record_key());
        let words = found.as_deref().and_then(|record| {
            let (bytes, at) = record.split_first_chunk::<8>()?;
            let at = <[u8; 8]>::try_from(at).ok()?;
            Some((u64::from_le_bytes(*bytes), u64::from_le_bytes(at)))
        });
        if let Some((bytes, at)) = words {
            // The store's time never runs back; where it was lost, nothing has passed.
            let mut earlier = Spent {
                bytes,
                at: at.min(now),
                ..Spent::default()
            };
            earlier.pass(now, self.day_bytes());
            spent.pass(now, self.day_bytes());
            spent.bytes = spent.bytes.saturating_add(earlier.bytes);
        }
    }

    /// The record to write down, with its key, if anything was spent since the last one.
    pub(super) fn record(&self) -> Option<(Vec<u8>, [u8; 16])> {
        if !self.is_owed.swap(false, Ordering::Relaxed) {
            return None;
        }
        let spent = sync::lock(&self.spent);
        let mut record = [0; 16];
        record[..8].copy_from_slice(&spent.bytes.to_le_bytes());
        record[8..].copy_from_slice(&spent.at.to_le_bytes());
        Some((self.record_key(), record))
    }

    fn record_key(&self) -> Vec<u8> {
        [RECORD_KEY, self.name.as_bytes()].concat()
    }
}

impl Spent {
    /// Takes off what counts no more at the store's time `now`.
    fn pass(&mut self, now: u64, day_bytes: u64) {
        let passed = now.saturating_sub(self.at);
        let earned = u128::from(passed) * u128::from(day_bytes) / DAY_NANOS;
        if earned >= u128::from(self.bytes) {
            (self.bytes, self.at) = (0, now.max(self.at));
        } else if earned > 0 {
            // This is less than `bytes`, so it fits. The rest of the time counts later.
            self.bytes -= earned as u64;
            let paid = earned * DAY_NANOS / u128::from(day_bytes.max(1));
            self.at += u64::try_from(paid).unwrap_or(u64::MAX);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const DAY: u64 = DAY_NANOS as u64;

    #[test]
    fn a_days_bytes_are_spent_at_once_and_earned_again_in_a_day() {
        let writes = Writes::new("p", 1000);
        assert!(writes.spend(600, 0, 0) && !writes.spend(600, 0, 0));
        assert!(writes.spend(400, 0, 0) && !writes.spend(1, 0, 0));
        assert_eq!((writes.spent(), writes.refused()), (1000, 2));
        // What replaces a change that is not written yet costs the difference.
        assert!(writes.spend(400, 400, 0) && !writes.spend(401, 400, 0));
        // A tenth of a day earns a tenth of it, however often one asks meanwhile.
        for step in 0..100 {
            writes.spend(2000, 0, DAY / 1000 * step);
        }
        assert!(writes.spend(100, 0, DAY / 10) && !writes.spend(1, 0, DAY / 10));
        assert!(writes.spend(1000, 0, 2 * DAY));
        writes.give_back(300);
        assert_eq!(writes.spent(), 700);
        // A day without any is one on which nothing may be written.
        assert!(!Writes::new("p", 0).spend(1, 0, DAY));
    }

    #[test]
    fn what_is_written_anew_is_paid_for_by_whoever_has_written_of_late() {
        let [busy, quiet, idle] = ["busy", "quiet", "idle"].map(|name| {
            let writes = Arc::new(Writes::new(name, 10_000));
            writes.load(|_| None, 0);
            writes
        });
        let all = [&busy, &quiet, &idle].map(Arc::clone);
        assert!(busy.spend(9000, 0, 0) && quiet.spend(1000, 0, 0));
        Writes::charge_together(&all, 0, 0);
        Writes::charge_together(&all, 5000, 0);
        let spent = || all.each_ref().map(|one| one.spent());
        assert_eq!(spent(), [13_500, 1500, 0]);
        // Beyond its budget nothing is granted any more.
        assert!(!busy.spend(1, 0, 0) && quiet.spend(4000, 0, 0));
        // Of what was written before, half counts by now.
        Writes::charge_together(&all, 900, 0);
        assert_eq!(spent(), [13_950, 5950, 0]);
        Writes::charge_together(&[Arc::clone(&idle)], u64::MAX, 0);
        assert_eq!(spent()[2], 0);
        // The first to write after a restart does not pay for all.
        assert!(idle.spend(10, 0, 0));
        Writes::charge_together(&[idle], 1_000_000, 0);
        assert_eq!(spent()[2], 10 + 10 * MOST_TIMES);
    }

    #[test]
    fn a_restart_goes_on_with_what_was_written_down() {
        let writes = Writes::new("p", 1000);
        writes.load(|_| None, 0);
        assert!(writes.record().is_none());
        assert!(writes.spend(800, 0, 0));
        let (key, record) = writes.record().unwrap();
        assert!(writes.record().is_none());
        let again = Writes::new("p", 1000);
        again.load(|asked| (asked == key).then(|| record.to_vec()), DAY / 2);
        assert_eq!(again.spent(), 300);
        // Only once.
        again.load(|_| Some(record.to_vec()), DAY / 2);
        assert_eq!(again.spent(), 300);
        // A store whose time was lost, and a record that makes no sense.
        let again = Writes::new("p", 1000);
        again.load(|_| Some(record.to_vec()), 0);
        assert_eq!(again.spent(), 800);
        let again = Writes::new("p", 1000);
        again.load(|_| Some(vec![1]), 0);
        assert_eq!(again.spent(), 0);
    }
}
