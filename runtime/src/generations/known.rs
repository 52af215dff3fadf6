//! All that the small files say of the generations, together, and what follows from it.

use super::confirmed::Confirmed;
use super::failed::Failed;
use super::history::History;
use super::trial::Trial;
use super::{BLOBS, CONFIRMED, FAILED, Generations, TRIAL};
use crate::error::{Error, Result};

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
#[derive(Default)]
pub(super) struct Known {
    /// Where it is lost: all that are there, as of whoever went from each to the next.
    pub(super) history: History,
    /// What is wrong with the file of the history, so that nobody knows which one is active.
    pub(super) lost: Option<String>,
    pub(super) trial: Trial,
    pub(super) confirmed: Confirmed,
    pub(super) failed: Failed,
    /// Which of the other files say nothing, though they are there.
    pub(super) unusable: Vec<&'static str>,
}

impl Known {
    /// The active one, if that is known and there is one.
    pub(super) fn active(&self) -> Option<u64> {
        match self.lost {
            None => self.history.active(),
            Some(_) => None,
        }
    }

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
    pub fn standing(&self) -> Standing {
        let known = self.known();
        let active = known.active();
        Standing {
            active,
            confirmed: known.confirmed.numbers().to_vec(),
            starts: active.map_or(0, |active| known.trial.starts(active)),
            failed: known.failed.all().to_vec(),
        }
    }

    /// What the files say, for whoever decides what is served, or is told to by the device's owner: what cannot be read
    /// is told and counts as missing, since what a device serves is worth more than what it remembers of that.
    pub(super) fn known(&self) -> Known {
        let (history, lost) = match self.history() {
            Ok(history) => (history, None),
            Err(error) => {
                log::error!("{error}");
                let all = self.list().unwrap_or_else(|error| {
                    log::error!("{error}");
                    Vec::new()
                });
                let all = all.into_iter().rev().collect();
                (History::of(all), Some(error.to_string()))
            }
        };
        let mut unusable = Vec::new();
        let known = self.read_beside(history, &mut |name, error| {
            log::error!("{error}; what it said of generations is not known");
            unusable.push(name);
            Ok(())
        });
        Known {
            lost,
            unusable,
            // Every error was taken.
            ..known.unwrap_or_default()
        }
    }

    /// What the files say, for whoever writes them anew by himself, while a daemon serves. What makes no sense counts
    /// as missing; what could not be read this time may be there the next time, and is not overwritten.
    ///
    /// # Errors
    ///
    /// The history is damaged, or one of the files cannot be read.
    pub(super) fn surely_known(&self) -> Result<Known> {
        let history = self.history()?;
        self.read_beside(history, &mut |_, error| match error {
            Error::Refused(damaged) => {
                log::error!("{damaged}; what it said of generations is forgotten");
                Ok(())
            }
            unreadable => Err(unreadable),
        })
    }

    /// Reads the files beside the history; what is wrong with one is for `refused`.
    fn read_beside(
        &self,
        history: History,
        refused: &mut dyn FnMut(&'static str, Error) -> Result<()>,
    ) -> Result<Known> {
        // Who uninstalls may be stopped before these are gone: they tell of nothing then.
        if history.active().is_none() {
            return Ok(Known {
                history,
                ..Known::default()
            });
        }
        Ok(Known {
            history,
            trial: self.read_or(TRIAL, Trial::read, refused)?,
            confirmed: self.read_or(CONFIRMED, Confirmed::read, refused)?,
            failed: self.read_or(FAILED, Failed::read, refused)?,
            ..Known::default()
        })
    }

    fn read_or<T: Default>(
        &self,
        name: &'static str,
        read: fn(&[u8]) -> Option<T>,
        refused: &mut dyn FnMut(&'static str, Error) -> Result<()>,
    ) -> Result<T> {
        let said = match self.small(name, read) {
            Ok(said) => said,
            Err(error) => refused(name, error).map(|()| None)?,
        };
        Ok(said.unwrap_or_default())
    }

    /// The generation to go back to from these, if there is one that is whole.
    pub(super) fn good_but(&self, these: &[u64], known: &Known) -> Option<u64> {
        let mut others = known.good().filter(|one| !these.contains(one));
        others.find(|one| self.whole(*one).is_ok())
    }

    /// How often a generation may be started without being confirmed.
    pub(super) fn may_start(&self, number: u64, known: &Known) -> u32 {
        let is_new = !known.confirmed.has(number);
        match is_new && self.good_but(&[number], known).is_some() {
            true => TRIAL_STARTS,
            false => STARTS,
        }
    }

    /// Looks whether all files of a generation are there, and as long as they should be.
    ///
    /// # Errors
    ///
    /// Its head is missing or damaged, or one of its files is.
    pub(super) fn whole(&self, number: u64) -> Result<()> {
        let head = self.head(number)?;
        let blobs = self.blobs()?.ok_or_else(|| {
            let path = self.path(BLOBS.as_ref());
            let path = path.display();
            Error::Refused(format!("{path} is missing: install its bundle again"))
        })?;
        let mut named = head.manifest.blobs.iter();
        named.try_for_each(|blob| blobs.open(blob).map(drop))
    }
}
