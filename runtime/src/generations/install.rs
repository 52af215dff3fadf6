//! A bundle is taken in: its files, then its head, and then it is the active one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zlayer_bundle::{Blob, BundleError, BundleHead, VerifiedBundle};

use super::history::History;
use super::{Generations, Kept, LAST};
use crate::error::Result;

/// A bundle that is to be installed.
pub struct Incoming<'a, R> {
    /// Where it comes from, for messages.
    pub path: &'a Path,
    /// What it begins with.
    pub head: &'a VerifiedBundle,
    /// What follows its head.
    pub blobs: R,
}

/// A bundle that is here, whole and checked, and not active.
pub struct Staged {
    /// The number of its generation.
    pub number: u64,
    /// Its blobs that were not here before.
    missing: Vec<Blob>,
}

impl Generations {
    /// Installs a bundle and makes it the active generation, which is to prove itself at its next start; answers its
    /// number. Its blobs are read piece by piece, and `check` is given the file of each service's artifact, by the
    /// service's place, as soon as it is here. The bundle that a kept generation was made of is that generation,
    /// whatever its release.
    ///
    /// # Errors
    ///
    /// `check` refuses it, it is an older release than was installed here, it is damaged, or it
    /// cannot be written. What was active is active still then, and what was written is removed again.
    pub fn install<R: Read>(
        &self,
        bundle: Incoming<'_, R>,
        check: impl FnMut(usize, File) -> Result<()>,
    ) -> Result<u64> {
        let staged = self.stage(bundle, check)?;
        let number = staged.number;
        match self.activate(number) {
            Ok(()) => Ok(number),
            Err(error) => {
                self.discard(staged);
                Err(error)
            }
        }
    }

    /// The first step of [`Generations::install`] alone: all is here and checked, and what was active is active
    /// still. Then comes [`Generations::adopt`] or [`Generations::discard`], before anything else is changed: who ends
    /// before that leaves files that the next [`Generations::forget`] removes.
    ///
    /// # Errors
    ///
    /// As of [`Generations::install`].
    pub fn stage<R: Read>(
        &self,
        mut bundle: Incoming<'_, R>,
        check: impl FnMut(usize, File) -> Result<()>,
    ) -> Result<Staged> {
        let kept = self.make()?;
        let known = self.known();
        let (deployment, head) = (&bundle.head.manifest().deployment, bundle.head.bytes());
        // Anybody may give any release to what nobody signed.
        let counts = bundle.head.signer().is_some();
        let active = known.active();
        let is_kept = { known.kept().into_iter() }.any(|one| Some(one) != active);
        let mut numbers = known.kept().into_iter();
        let same = numbers.find(|one| self.head_bytes(*one).is_ok_and(|bytes| bytes == head));
        if counts && same.is_none() {
            self.releases(&known.history)?
                .admit(deployment, head, is_kept)?;
        }
        // Of what a bundle has. What else lies there may just be written, by a daemon whose trial ends.
        let removed = kept.generations.remove_unfinished();
        removed
            .and_then(|()| kept.blobs.folder().remove_unfinished())
            .map_err(|error| self.unwritable(error))?;
        let blobs = &bundle.head.manifest().blobs;
        let missing = { blobs.iter() }.filter(|blob| kept.blobs.open(blob).is_err());
        let missing: Vec<Blob> = missing.cloned().collect();
        let staged = kept.stage(&mut bundle, check).and_then(|()| match same {
            Some(same) => Ok(same),
            None => self.add(&kept, bundle.head, &known.history),
        });
        match staged {
            Ok(number) => Ok(Staged { number, missing }),
            Err(error) => {
                self.take_back(&kept, same, &missing);
                Err(error)
            }
        }
    }

    /// Removes again what [`Generations::stage`] wrote, as far as nothing needs it.
    pub fn discard(&self, staged: Staged) {
        if let Ok(kept) = self.make() {
            self.take_back(&kept, Some(staged.number), &staged.missing);
        }
    }

    /// Writes the head of a new generation down; answers its number.
    fn add(&self, kept: &Kept, head: &VerifiedBundle, history: &History) -> Result<u64> {
        // No device installs so often that numbers end.
        let number = self.last(history)?.saturating_add(1);
        self.write(kept, LAST, &format!("{number}\n"))?;
        let written = kept
            .generations
            .replace_text(&number.to_string(), head.bytes());
        written.map_err(|error| self.unwritable(error))?;
        Ok(number)
    }

    /// Removes what a failed install wrote, as far as nothing needs it.
    fn take_back(&self, kept: &Kept, number: Option<u64>, missing: &[Blob]) {
        // Whoever cannot tell what is needed removes nothing; the next install does.
        let Ok(known) = self.surely_known() else {
            return;
        };
        let needed = known.kept();
        if let Some(number) = number.filter(|number| !needed.contains(number)) {
            let _ = kept.generations.remove(&number.to_string());
        }
        let heads = self
            .list()
            .and_then(|all| all.into_iter().map(|one| self.head(one)).collect());
        let heads: Vec<BundleHead> = match heads {
            Ok(heads) => heads,
            Err(_) => return,
        };
        let needs = |blob: &Blob| heads.iter().any(|head| head.manifest.blobs.contains(blob));
        for blob in missing.iter().filter(|blob| !needs(blob)) {
            let _ = kept.blobs.folder().remove(&blob.name());
        }
    }
}

impl Kept {
    /// Takes all blobs of a bundle in, and has each service's artifact checked.
    fn stage<R: Read>(
        &self,
        bundle: &mut Incoming<'_, R>,
        mut check: impl FnMut(usize, File) -> Result<()>,
    ) -> Result<()> {
        let manifest = bundle.head.manifest();
        let head = bundle.head.bytes().len() as u64;
        let needed = self.blobs.missing(&manifest.blobs).saturating_add(head);
        let refused = |error| self.blobs.refused(error, bundle.path, needed);
        for (place, blob) in manifest.blobs.iter().enumerate() {
            self.blobs.stage(blob, &mut bundle.blobs).map_err(refused)?;
            for (service, artifact) in manifest.artifacts.iter().enumerate() {
                if *artifact as usize == place {
                    check(service, self.blobs.open(blob)?)?;
                }
            }
        }
        let behind = io::copy(&mut bundle.blobs.by_ref().take(1), &mut io::sink());
        match behind.map_err(|error| refused(error.into()))? {
            0 => Ok(()),
            _ => Err(refused(BundleError::TooLong)),
        }
    }

    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        self.deployment.remove_unfinished()?;
        self.generations.remove_unfinished()?;
        self.blobs.folder().remove_unfinished()
    }
}
