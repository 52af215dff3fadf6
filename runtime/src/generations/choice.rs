//! What a daemon begins with, and how it came out.

use super::known::Known;
use super::{CONFIRMED, FAILED, Generations, TRIAL};
use crate::error::Result;

/// What a daemon begins with.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The generation to serve.
    pub number: Option<u64>,
    /// Why it is not the active one, if it is not.
    pub went_back: Option<WentBack>,
    /// Why nothing is served, if nothing is.
    pub nothing: Option<String>,
}

/// Why another generation than the active one is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// The one that is not served.
    pub from: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Generations {
    /// What the next start serves: the active generation; or, if that one may not be started once more, the last good
    /// one; or nothing. Reads only.
    ///
    /// # Errors
    ///
    /// The file that says which one is active is damaged or cannot be read.
    pub fn choose(&self) -> Result<Choice> {
        let known = self.known(self.history()?);
        let Some(active) = known.history.active() else {
            let why = "nothing is installed: `zlayer install APP.zlb` does that";
            return Ok(Choice::nothing(why.to_owned()));
        };
        let starts = known.trial.starts(active);
        let may = self.may_start(active, &known);
        let is_over = starts >= may;
        let back = self.good_but(active, &known);
        let mark = known.failed.reason(active);
        match back {
            Some(back) if is_over || mark.is_some() => {
                let reason = mark.map_or_else(|| not_confirmed(starts), str::to_owned);
                Ok(Choice::back(back, active, reason))
            }
            None if is_over => Ok(Choice::nothing(format!(
                "generation {active} was started {starts} times and did not last; install another bundle, or roll back"
            ))),
            _ => Ok(Choice {
                number: Some(active),
                ..Choice::default()
            }),
        }
    }

    /// What is served after all where `failed`, the start of which was begun, could not even be loaded. Reads only.
    ///
    /// # Errors
    ///
    /// As of [`Generations::choose`].
    pub fn choose_without(&self, failed: u64, reason: &str) -> Result<Choice> {
        let known = self.known(self.history()?);
        Ok(match self.good_but(failed, &known) {
            Some(back) => Choice::back(back, failed, reason.to_owned()),
            None => Choice::nothing(format!(
                "generation {failed} cannot be served, and there is no good one to go back to: {reason}; install \
                 another bundle, or roll back"
            )),
        })
    }

    /// Writes down that a start with this choice begins. A generation that it went back from is remembered as
    /// failed, and the one that it serves is active. Whoever calls this holds the data folder's lock.
    ///
    /// # Errors
    ///
    /// It cannot be written. It is not to be started then: nobody would know how often it was.
    pub fn begin(&self, choice: &Choice) -> Result<()> {
        let Some(number) = choice.number else {
            return Ok(());
        };
        let kept = self.make()?;
        let mut known = self.known(self.history_or_all()?);
        if let Some(WentBack { from, reason }) = &choice.went_back {
            known.failed = known.failed.with(*from, reason);
        }
        let starts = match known.history.active() == Some(number) {
            true => known.trial.starts(number).saturating_add(1),
            false => 1,
        };
        self.make_active(&kept, &known, number, starts)
    }

    /// A generation has proved itself: it is good from now on, and its starts so far do not count any more. Whoever
    /// calls this holds the data folder's lock.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn confirm(&self, number: u64) -> Result<()> {
        let kept = self.make()?;
        let known = self.known(self.history()?);
        let confirmed = known.confirmed.with(number);
        self.write_or_remove(&kept, CONFIRMED, &confirmed.to_string())?;
        let failed = known.failed.without(number);
        self.write_or_remove(&kept, FAILED, &failed.to_string())?;
        self.count(&known, number, 0)
    }

    /// A daemon ends in order before it confirmed what it serves. That start does not count, but for a
    /// generation that never was confirmed, where there is one to go back to that was. Whoever calls this
    /// holds the data folder's lock.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end_in_order(&self, number: u64) -> Result<()> {
        let known = self.known(self.history()?);
        let starts = known.trial.starts(number);
        let is_active = known.history.active() == Some(number);
        match is_active && starts > 0 && self.may_start(number, &known) > 1 {
            true => self.count(&known, number, starts - 1),
            false => Ok(()),
        }
    }

    /// The active generation failed in its trial: the last good one becomes active, with one start counted, and
    /// is answered. None: there is none, and nothing changes but that the failure is remembered. Whoever calls this
    /// holds the data folder's lock.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn go_back(&self, failed: u64, reason: &str) -> Result<Option<u64>> {
        let kept = self.make()?;
        let mut known = self.known(self.history()?);
        known.failed = known.failed.with(failed, reason);
        let is_active = known.history.active() == Some(failed);
        match self.good_but(failed, &known).filter(|_| is_active) {
            Some(back) => {
                self.make_active(&kept, &known, back, 1)?;
                Ok(Some(back))
            }
            None => {
                self.write_or_remove(&kept, FAILED, &known.failed.to_string())?;
                Ok(None)
            }
        }
    }

    fn count(&self, known: &Known, number: u64, starts: u32) -> Result<()> {
        let trial = known.trial.with(number, starts).to_string();
        self.write_or_remove(&self.make()?, TRIAL, &trial)
    }
}

impl Choice {
    fn nothing(why: String) -> Choice {
        Choice {
            nothing: Some(why),
            ..Choice::default()
        }
    }

    fn back(number: u64, from: u64, reason: String) -> Choice {
        Choice {
            number: Some(number),
            went_back: Some(WentBack { from, reason }),
            nothing: None,
        }
    }
}

fn not_confirmed(starts: u32) -> String {
    match starts {
        1 => "it ended before it was confirmed".to_owned(),
        _ => format!("it was started {starts} times and did not last"),
    }
}
