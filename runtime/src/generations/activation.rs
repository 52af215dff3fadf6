//! A generation becomes the active one.

use zlayer_bundle::{Deployment, SignatureState};

use super::failed::Failed;
use super::history::History;
use super::known::Known;
use super::{ACTIVE, CONFIRMED, FAILED, Generations, Kept, RELEASES, Staged, TRIAL};
use crate::error::Result;

/// Whoever calls one of these holds the data folder's lock.
impl Generations {
    /// Makes a kept generation the active one, which is to prove itself at its next start. That it failed before is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// It is not there, it is damaged, or one of its files is missing.
    pub fn activate(&self, number: u64) -> Result<()> {
        self.activate_after(number, 0)
    }

    /// Makes a kept generation the active one of a daemon that serves: that is its first start.
    ///
    /// # Errors
    ///
    /// As of [`Generations::activate`].
    pub fn adopt_kept(&self, number: u64) -> Result<()> {
        self.activate_after(number, 1)
    }

    /// Makes a generation the active one that was staged, of a daemon that serves: that is its first start.
    ///
    /// # Errors
    ///
    /// It cannot be written. It is to be discarded then.
    pub fn adopt(&self, staged: &Staged) -> Result<()> {
        self.activate_after(staged.number, 1)
    }

    fn activate_after(&self, number: u64, starts: u32) -> Result<()> {
        let head = self.head(number)?;
        let kept = self.make()?;
        for blob in &head.manifest.blobs {
            kept.blobs.open(blob)?;
        }
        let known = self.known();
        self.mark(&kept, &known.failed.without(number))?;
        self.make_active(&kept, &known, number, starts)?;
        match head.signature {
            SignatureState::Unsigned => {}
            _ => {
                let deployment = &head.manifest.deployment;
                self.note(&kept, &known.history, deployment, head.bytes());
            }
        }
        Ok(())
    }

    /// Makes a generation the active one that was started so often by now. Its count is on the disk before it is
    /// active, beside that of the one that is active till then: power may fail in between.
    pub(super) fn make_active(
        &self,
        kept: &Kept,
        known: &Known,
        number: u64,
        starts: u32,
    ) -> Result<()> {
        if known.active().is_none() && known.lost.is_none() {
            // Of what was uninstalled by somebody who was stopped before these were gone.
            self.write_or_remove(kept, CONFIRMED, "")?;
            self.write_or_remove(kept, FAILED, "")?;
        }
        let trial = match known.lost {
            None => known.trial.of(known.active()),
            // Any of them may be in a crash loop.
            Some(_) => known.trial.clone(),
        };
        self.write_or_remove(kept, TRIAL, &trial.with(number, starts).to_string())?;
        self.write(kept, ACTIVE, &known.history.with(number).to_string())
    }

    /// Writes down which generations failed.
    pub(super) fn mark(&self, kept: &Kept, failed: &Failed) -> Result<()> {
        self.write_or_remove(kept, FAILED, &failed.to_string())
    }

    /// Remembers a release that is active by now. Where that fails, the generations still tell of it.
    fn note(&self, kept: &Kept, history: &History, deployment: &Deployment, head: &[u8]) {
        let noted = self.releases(history).and_then(|mut releases| {
            releases.note(deployment, head);
            self.write(kept, RELEASES, &releases.text())
        });
        if let Err(error) = noted {
            log::warn!("which release is installed is not written down: {error}");
        }
    }
}
