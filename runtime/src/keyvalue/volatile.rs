//! A namespace that is kept in memory and never reaches the disk.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::usage::Usage;
use super::{KvError, Quota, Result};
use crate::memory::Reservation;

/// Keys in memory, as many as the quota and the memory budget have room for.
pub(super) struct Volatile {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    usage: Usage,
    reservation: Reservation,
}

/// Memory that a key takes beside its own bytes and its value's.
const KEY_BYTES: usize = 96;

impl Volatile {
    /// An empty namespace. What it will hold is charged to the reservation's budget.
    pub(super) fn new(reservation: Reservation) -> Volatile {
        Volatile {
            keys: BTreeMap::new(),
            usage: Usage::default(),
            reservation,
        }
    }

    /// What is stored under a key, expired or not.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.keys.get(key).map(Vec::as_slice)
    }

    /// All keys that start with `prefix`, sorted, with what is stored under them.
    pub(super) fn prefix<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.keys
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| (key.as_slice(), stored.as_slice()))
    }

    /// Stores `new` under a key, or removes the key.
    pub(super) fn change(
        &mut self,
        key: Vec<u8>,
        new: Option<Vec<u8>>,
        quota: &Quota,
        now: u64,
    ) -> Result<()> {
        if !self.make_room(&key, new.as_deref(), quota) {
            // Expired keys are removed before anything is refused.
            self.sweep(now);
            if !self.make_room(&key, new.as_deref(), quota) {
                return Err(KvError::QuotaExceeded);
            }
        }
        let dead = new
            .as_deref()
            .and_then(Entry::expiry)
            .is_some_and(|at| at <= now);
        match new {
            Some(new) => drop(self.keys.insert(key, new)),
            None => drop(self.keys.remove(&key)),
        }
        if dead {
            self.sweep(now);
        }
        Ok(())
    }

    /// Bytes and keys that count against the quota.
    pub(super) fn held(&self) -> (u64, u64) {
        (self.usage.bytes, self.usage.keys)
    }

    fn make_room(&mut self, key: &[u8], new: Option<&[u8]>, quota: &Quota) -> bool {
        let usage = self.usage.after(key.len(), self.get(key), new);
        let fits = usage.fits(quota, &self.usage) && self.resize_reservation(&usage);
        if fits {
            self.usage = usage;
        }
        fits
    }

    /// Removes expired keys.
    fn sweep(&mut self, now: u64) {
        let mut usage = Usage::at(now, 0);
        self.keys
            .retain(|key, stored| usage.count(key.len(), stored));
        self.resize_reservation(&usage);
        self.usage = usage;
    }

    /// Makes the reservation fit `usage`. Returns `false` if the budget is spent.
    fn resize_reservation(&mut self, usage: &Usage) -> bool {
        let keys = usize::try_from(usage.keys).unwrap_or(usize::MAX);
        let bytes = usize::try_from(usage.bytes).unwrap_or(usize::MAX);
        let wanted = keys.saturating_mul(KEY_BYTES).saturating_add(bytes);
        let held = self.reservation.bytes();
        if wanted <= held {
            self.reservation.shrink(held - wanted);
            return true;
        }
        self.reservation.grow(wanted - held)
    }
}
