//! What became of the active generation: it was started, it proved itself, it ended, it failed.

use super::choice::{Choice, WentBack};
use super::known::{Known, STARTS};
use super::{CONFIRMED, Generations, TRIAL};
use crate::error::Result;

/// Whoever calls one of these holds the data folder's lock.
impl Generations {
    /// Writes down that a start with this choice begins. The generation that it serves is active from now on, and one
    /// that it went back from is remembered as failed; unless it went back for now: then that one stays active.
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
        if choice
            .went_back
            .as_ref()
            .is_some_and(|back| back.is_for_now)
        {
            let starts = known.trial.starts(number).saturating_add(1);
            return self.count(&known, number, starts);
        }
        if let Some(WentBack {
            from: Some(from),
            reason,
            ..
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
        match self.may_start(number, &known) > 1 {
            true => self.uncount(&known, number),
            false => Ok(()),
        }
    }

    /// A start that was counted came to nothing before anything was served, and the generation is not to blame.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn take_back_start(&self, number: u64) -> Result<()> {
        self.uncount(&self.surely_known()?, number)
    }

    /// A generation was started too often and did not last, and nothing else is known against it. Whatever it was may be
    /// over: it is tried again at the next start.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn rest(&self, number: u64) -> Result<()> {
        let known = self.surely_known()?;
        match known.active() == Some(number) && known.trial.starts(number) > 0 {
            true => self.count(&known, number, 0),
            false => Ok(()),
        }
    }

    /// The active generation failed in its trial: `back` becomes active, with one start counted. None: nothing changes
    /// but that the failure is remembered.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn go_back(&self, failed: u64, reason: &str, back: Option<u64>) -> Result<()> {
        let kept = self.make()?;
        let known = self.surely_known()?;
        self.mark(&kept, &known.failed.with(failed, reason))?;
        match back.filter(|_| known.active() == Some(failed)) {
            Some(back) => self.make_active(&kept, &known, back, 1),
            None => Ok(()),
        }
    }

    /// A start that was counted failed by the generation's own fault, and there is nothing else to serve. One that was
    /// good is only marked as failed when it may not be started once more.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn note_failure(&self, number: u64, reason: &str) -> Result<()> {
        let known = self.surely_known()?;
        match known.is_good(number) && known.trial.starts(number) < STARTS {
            true => Ok(()),
            false => self.mark(&self.make()?, &known.failed.with(number, reason)),
        }
    }

    fn uncount(&self, known: &Known, number: u64) -> Result<()> {
        match known.trial.starts(number) {
            0 => Ok(()),
            starts => self.count(known, number, starts - 1),
        }
    }

    fn count(&self, known: &Known, number: u64, starts: u32) -> Result<()> {
        let trial = known.trial.with(number, starts).to_string();
        self.write_or_remove(&self.make()?, TRIAL, &trial)
    }
}
