//! What became of the active generation: it was started, it proved itself, it ended, it failed.

use super::choice::{Choice, WentBack};
use super::known::Known;
use super::{CONFIRMED, Generations, TRIAL};
use crate::error::Result;

/// Whoever calls one of these holds the data folder's lock.
impl Generations {
    /// Writes down that a start with this choice begins. The generation that it serves is active from now on, and one
    /// that it went back from is remembered as failed.
    ///
    /// # Errors
    ///
    /// It cannot be written, as on a full disk: nobody will know of this start then.
    pub fn begin(&self, choice: &Choice) -> Result<()> {
        let Some(number) = choice.number else {
            return Ok(());
        };
        let kept = self.make()?;
        let known = self.known();
        // Twice they could not be read, before the start and now: without this nothing could ever be confirmed.
        for name in &known.unusable {
            self.write_or_remove(&kept, name, "")?;
        }
        if let Some(WentBack {
            from: Some(from),
            reason,
        }) = &choice.went_back
        {
            self.mark(&kept, &known.failed.with(*from, reason))?;
        }
        // Where nobody knows which one was active, this one may have been: its starts count.
        let was_active = known.lost.is_some() || known.active() == Some(number);
        let starts = match was_active {
            true => known.trial.starts(number).saturating_add(1),
            false => 1,
        };
        self.make_active(&kept, &known, number, starts)
    }

    /// A generation has proved itself: it is good from now on, and its starts so far do not count any more.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn confirm(&self, number: u64) -> Result<()> {
        let kept = self.make()?;
        let known = self.surely_known()?;
        let confirmed = known.confirmed.with(number);
        self.write_or_remove(&kept, CONFIRMED, &confirmed.to_string())?;
        self.mark(&kept, &known.failed.without(number))?;
        self.count(&known, number, 0)
    }

    /// A daemon ends in order before it confirmed what it serves. That start does not count, but for a
    /// generation that never was confirmed, where there is one to go back to that was.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end_in_order(&self, number: u64) -> Result<()> {
        let known = self.surely_known()?;
        let starts = known.trial.starts(number);
        let is_active = known.active() == Some(number);
        match is_active && starts > 0 && self.may_start(number, &known) > 1 {
            true => self.count(&known, number, starts - 1),
            false => Ok(()),
        }
    }

    /// The active generation failed in its trial: the last good one becomes active, with one start counted, and
    /// is answered. None: there is none, and nothing changes but that the failure is remembered.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn go_back(&self, failed: u64, reason: &str) -> Result<Option<u64>> {
        let kept = self.make()?;
        let known = self.surely_known()?;
        self.mark(&kept, &known.failed.with(failed, reason))?;
        let is_active = known.active() == Some(failed);
        let back = self.good_but(failed, &known).filter(|_| is_active);
        if let Some(back) = back {
            self.make_active(&kept, &known, back, 1)?;
        }
        Ok(back)
    }

    /// The active generation failed, and no other can be served: it stays the active one.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn serve_on(&self, failed: u64, reason: &str) -> Result<()> {
        let known = self.surely_known()?;
        self.mark(&self.make()?, &known.failed.with(failed, reason))
    }

    fn count(&self, known: &Known, number: u64, starts: u32) -> Result<()> {
        let trial = known.trial.with(number, starts).to_string();
        self.write_or_remove(&self.make()?, TRIAL, &trial)
    }
}
