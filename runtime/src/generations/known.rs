//! All that the small files say of the generations, together, and what follows from it.

use super::confirmed::Confirmed;
use super::failed::Failed;
use super::history::History;
use super::trial::Trial;
use super::{CONFIRMED, FAILED, Generations, TRIAL};
use crate::error::Result;

/// Starts in a row after which a generation is given up that was not confirmed in any of them: power may fail
/// once and once more while a device comes up.
pub const STARTS: u32 = 3;
/// Starts of a generation that never was confirmed, where there is one to go back to that was.
pub const TRIAL_STARTS: u32 = 1;

/// What is known of the generations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The generation that is active.
    pub active: Option<u64>,
    /// Those that have proved themselves, the last one at the end.
    pub confirmed: Vec<u64>,
    /// How often the active one was started since it was confirmed last, or became active.
    pub starts: u32,
    /// Those that failed, and why; the last one at the end.
    pub failed: Vec<(u64, String)>,
}

/// What the files say.
pub(super) struct Known {
    pub(super) history: History,
    pub(super) trial: Trial,
    pub(super) confirmed: Confirmed,
    pub(super) failed: Failed,
}

impl Known {
    /// Whether a generation has proved itself, and did not fail since.
    pub(super) fn is_good(&self, number: u64) -> bool {
        self.confirmed.has(number) && self.failed.reason(number).is_none()
    }

    /// Those that have proved themselves, the latest first: in the order in which they were active, then
    /// those that were so longer ago.
    pub(super) fn good(&self) -> impl Iterator<Item = u64> {
        let active = self.history.numbers().iter();
        let others = self.confirmed.numbers().iter().rev();
        let others = others.filter(|one| !self.history.numbers().contains(one));
        let all = active.chain(others).copied();
        all.filter(|number| self.is_good(*number))
    }

    /// The generations that are kept: those that were active last, and one that has proved itself.
    pub(super) fn kept(&self) -> Vec<u64> {
        let mut kept = self.history.numbers().to_vec();
        let good = self.good().next();
        kept.extend(good.filter(|good| !self.history.numbers().contains(good)));
        kept
    }
}

impl Generations {
    /// What is known of the generations. Reads only.
    ///
    /// # Errors
    ///
    /// What is active is not known.
    pub fn standing(&self) -> Result<Standing> {
        let known = self.known(self.history()?);
        let active = known.history.active();
        Ok(Standing {
            active,
            confirmed: known.confirmed.numbers().to_vec(),
            starts: active.map_or(0, |active| known.trial.starts(active)),
            failed: known.failed.all().to_vec(),
        })
    }

    /// Reads the files beside the history. One that is damaged is told and counts as missing: what a device
    /// serves is worth more than what it remembers of that.
    pub(super) fn known(&self, history: History) -> Known {
        // Who uninstalls may be stopped before these are gone: they tell of nothing then.
        if history.active().is_none() {
            return Known {
                history,
                trial: Trial::default(),
                confirmed: Confirmed::default(),
                failed: Failed::default(),
            };
        }
        Known {
            history,
            trial: self.read_or_default(TRIAL, Trial::read),
            confirmed: self.read_or_default(CONFIRMED, Confirmed::read),
            failed: self.read_or_default(FAILED, Failed::read),
        }
    }

    fn read_or_default<T: Default>(&self, name: &str, read: fn(&[u8]) -> Option<T>) -> T {
        let damaged = match self.read(name) {
            Ok(None) => return T::default(),
            Ok(Some(bytes)) => match read(&bytes) {
                Some(all) => return all,
                None => format!("{} is damaged", self.path(name.as_ref()).display()),
            },
            Err(error) => error.to_string(),
        };
        log::warn!("{damaged}: what it said of generations is forgotten");
        T::default()
    }

    /// The generation to go back to from this one, if there is one that is whole.
    pub(super) fn good_but(&self, number: u64, known: &Known) -> Option<u64> {
        let mut others = known.good().filter(|one| *one != number);
        others.find(|one| self.is_whole(*one))
    }

    /// How often a generation may be started without being confirmed.
    pub(super) fn may_start(&self, number: u64, known: &Known) -> u32 {
        let is_new = !known.confirmed.has(number);
        match is_new && self.good_but(number, known).is_some() {
            true => TRIAL_STARTS,
            false => STARTS,
        }
    }

    /// Whether all files of a generation are there.
    fn is_whole(&self, number: u64) -> bool {
        let whole = self.head(number).and_then(|head| {
            let blobs = self.blobs()?;
            let mut named = head.manifest.blobs.iter();
            Ok(blobs.is_some_and(|blobs| named.all(|blob| blobs.open(blob).is_ok())))
        });
        whole.unwrap_or(false)
    }
}
