//! A namespace that is kept in memory and never reaches the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::entry::Entry;
use super::piece::Piece;
use super::usage::Usage;
use super::{KvError, Quota, Result};
use crate::memory::Reservation;

/// Keys in memory, as many as the quota and the memory budget have room for.
pub(super) struct Volatile {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// All keys that are there, expired or not.
    usage: Usage,
    reservation: Reservation,
    /// Up to which key expired ones have been removed, while they are.
    swept: Option<Vec<u8>>,
}

/// What came of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// It is made.
    Yes,
    /// There is no room, and there may be once expired keys are removed.
    Unswept,
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
            swept: None,
        }
    }

    /// What is stored under a key, expired or not.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.keys.get(key).map(Vec::as_slice)
    }

    /// All keys that start with `prefix` and come behind `after`, sorted, with what is stored under
    /// them.
    pub(super) fn prefix<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        self.keys
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| (key.as_slice(), stored.as_slice()))
    }

    /// Stores `new` under a key, or removes the key.
    pub(super) fn change(
        &mut self,
        key: &[u8],
        new: Option<Vec<u8>>,
        quota: &Quota,
        now: u64,
    ) -> Result<Changed> {
        let usage = self.usage.after(key.len(), self.get(key), new.as_deref());
        if !usage.fits(quota, &self.usage) || !self.resize_reservation(&usage) {
            // Expired keys are removed before anything is refused.
            return match self.swept.is_some() || self.usage.may_have_expired(now) {
                true => Ok(Changed::Unswept),
                false => Err(KvError::QuotaExceeded),
            };
        }
        let expires = new.as_deref().and_then(Entry::expiry);
        // What would expire at once has to fit, but is not stored, and the old value is removed.
        match new.filter(|_| expires.is_none_or(|at| at > now)) {
            Some(new) => {
                self.usage = usage;
                self.keys.insert(key.to_vec(), new);
            }
            None => {
                let old = self.keys.remove(key);
                self.usage = self.usage.after(key.len(), old.as_deref(), None);
                let usage = self.usage.clone();
                self.resize_reservation(&usage);
            }
        }
        Ok(Changed::Yes)
    }

    /// Bytes and keys that count against the quota.
    pub(super) fn held(&self) -> (u64, u64) {
        (self.usage.bytes, self.usage.keys)
    }

    /// Removes expired keys, for one piece of work.
    pub(super) fn sweep_piece(&mut self, now: u64) {
        let after = self.swept.take();
        if after.is_none() {
            self.usage.forget_expiries();
        }
        let mut piece = Piece::begin();
        let (mut seen, mut is_over) = (Vec::new(), false);
        for (key, stored) in self.prefix(b"", after.as_deref()) {
            seen.push((key.to_vec(), Entry::expiry(stored)));
            is_over = piece.is_over_with(stored.len());
            if is_over {
                break;
            }
        }
        self.swept = match is_over {
            true => seen.last().map(|(key, _)| key.clone()),
            false => None,
        };
        for (key, expiry) in seen {
            match expiry {
                Some(at) if at <= now => {
                    let old = self.keys.remove(&key);
                    self.usage = self.usage.after(key.len(), old.as_deref(), None);
                }
                at => self.usage.will_expire(at),
            }
        }
        let usage = self.usage.clone();
        self.resize_reservation(&usage);
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
