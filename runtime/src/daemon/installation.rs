//! Installs bundles in the data folder of a daemon that does not run, and goes back to earlier ones.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use zlayer_bundle::{
    BundleError, BundleHead, BundleManifest, Profile, Target, TrustStore, VerifiedArtifact,
    VerifiedBundle, own_account,
};

use super::trust::{Trustees, trusted};
use super::versions::Versions;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::generations::{Generations, Incoming};

/// The name of a bundle that comes over standard input. It is not opened: what it names may be a socket, or be
/// missing where nothing made it.
pub const STANDARD_INPUT: &str = "/dev/stdin";

/// A data folder in which bundles are installed, and whom that folder's owner trusts.
pub struct Installation {
    /// The folder.
    pub data_dir: PathBuf,
    /// Folders of public keys, or files of one.
    pub key_dirs: Vec<PathBuf>,
    /// Whether what nobody signed is taken.
    pub allow_unsigned: bool,
}

/// What was installed, or gone back to.
#[derive(Debug, PartialEq, Eq)]
pub struct Installed {
    /// The name of its deployment.
    pub deployment: String,
    /// Its release; 0 if its owner does not count them.
    pub release: u64,
    /// The number of its generation.
    pub generation: u64,
    /// What the device has to know by its next start. Whether it does only the daemon can tell, which has the
    /// environment and the flags for it.
    pub variables: Vec<String>,
}

impl Installation {
    /// Installs the bundle that `from` reads, which people know by its `path`. A daemon serves it from its next
    /// start.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, the bundle is refused or older than what was installed, or it cannot be
    /// written. What was installed before is as it was then.
    pub fn install(&self, path: &Path, mut from: impl Read, profile: Profile) -> Result<Installed> {
        let trust = trusted(&self.trustees(), true)?;
        let refused = |source| Error::Bundle {
            path: path.to_owned(),
            source,
        };
        let head = BundleHead::read(&mut from).and_then(|head| head.verify(&trust));
        let head = head.map_err(refused)?;
        if head.signer().is_none() {
            log::warn!(
                "{}: NOBODY SIGNED THIS BUNDLE; it is installed because of --allow-unsigned",
                path.display()
            );
        }
        let target = fitting(head.manifest(), Some(profile)).map_err(refused)?;
        let data = locked(&self.data_dir)?;
        let mut check = Check::new(&data, &trust, target)?;
        let generations = Generations::of(&self.data_dir);
        let incoming = Incoming {
            path,
            head: &head,
            blobs: from,
        };
        let generation = generations.install(incoming, |service, file| {
            check.artifact(&head, service, file)
        })?;
        // It is installed, whatever is left of others.
        if let Err(error) = generations.forget() {
            log::warn!("what is not needed any more is not removed: {error}");
        }
        Ok(Installed::of(head.manifest(), generation))
    }

    /// Makes an earlier generation the active one: that before it, or `to`.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, there is no such generation, or it would be refused at the next start.
    pub fn roll_back(&self, to: Option<u64>) -> Result<Installed> {
        self.find()?;
        let data = locked(&self.data_dir)?;
        let generations = Generations::of(&self.data_dir);
        let number = match to {
            Some(number) => number,
            None => generations.previous()?.ok_or_else(|| {
                Error::Refused(format!(
                    "there is no generation in {} that was active before: `zlayer generations` shows those that \
                     are kept",
                    self.data_dir.display()
                ))
            })?,
        };
        let trust = trusted(&self.trustees(), true)?;
        let path = PathBuf::from(format!("generation {number}"));
        let refused = |source| Error::Bundle { path, source };
        let head = generations.head(number)?.verify(&trust);
        let checked = head.and_then(|head| Ok((fitting(head.manifest(), None)?, head)));
        let (target, head) = checked.map_err(refused)?;
        let mut check = Check::new(&data, &trust, target)?;
        for service in 0..head.manifest().deployment.services.len() {
            let blobs = generations.blobs()?;
            if let (Some(blobs), Some(blob)) = (blobs, head.manifest().artifact(service)) {
                check.artifact(&head, service, blobs.open(blob)?)?;
            }
        }
        generations.activate(number)?;
        Ok(Installed::of(head.manifest(), number))
    }

    /// Removes what is installed. Answers which generation was active.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, nothing is installed, or something cannot be removed.
    pub fn uninstall(&self) -> Result<Option<u64>> {
        self.find()?;
        let _data = locked(&self.data_dir)?;
        Generations::of(&self.data_dir).uninstall()
    }

    pub(super) fn trustees(&self) -> Trustees<'_> {
        Trustees {
            key_dirs: &self.key_dirs,
            allow_unsigned: self.allow_unsigned,
            data_dir: Some(&self.data_dir),
        }
    }

    /// Whether there is anything, before a folder is made for who mistyped its name.
    fn find(&self) -> Result<()> {
        match Generations::of(&self.data_dir).list()?.is_empty() {
            false => Ok(()),
            true => Err(Error::Refused(format!(
                "nothing is installed in {}; name the daemon's folder with --data-dir",
                self.data_dir.display()
            ))),
        }
    }
}

/// Locks a data folder. Root does all in it for the account whose folder it is.
pub(super) fn locked(data_dir: &Path) -> Result<DataDir> {
    let owner = fs::metadata(data_dir).ok();
    let owner = owner.filter(|owner| own_account() == 0 && owner.uid() != 0);
    let heir = owner.map(|owner| (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid())));
    DataDir::open(Some(data_dir), heir).map_err(|error| match error {
        Error::Device { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
            let what = format!(
                "data folder {}: another zlayer uses it, a daemon or an install: stop it first",
                data_dir.display()
            );
            Error::device(what, source)
        }
        other => other,
    })
}

impl Installed {
    fn of(manifest: &BundleManifest, generation: u64) -> Installed {
        Installed {
            deployment: manifest.deployment.name.clone(),
            release: manifest.deployment.release,
            generation,
            variables: { manifest.deployment.variables().into_iter() }
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// What a daemon would check at its start.
pub(super) struct Check<'a> {
    trust: &'a TrustStore,
    target: Target,
    versions: Versions,
}

impl Check<'_> {
    pub(super) fn new<'a>(
        data: &DataDir,
        trust: &'a TrustStore,
        target: Target,
    ) -> Result<Check<'a>> {
        Ok(Check {
            trust,
            target,
            versions: Versions::open(data)?,
        })
    }

    /// Checks the artifact of a service. What is admitted is not remembered: it did not run yet.
    pub(super) fn artifact(
        &mut self,
        bundle: &VerifiedBundle,
        service: usize,
        file: File,
    ) -> Result<()> {
        let manifest = bundle.manifest();
        let profile = manifest.profile;
        let checked = VerifiedArtifact::verify(file, self.trust, self.target, profile);
        let artifact = checked.map_err(|source| {
            let names = manifest.deployment.services.get(service);
            let name = names.and_then(|service| service.name.as_deref());
            Error::Artifact {
                path: PathBuf::from(format!("service '{}'", name.unwrap_or_default())),
                source,
            }
        })?;
        match artifact.signer() {
            Some(_) => self.versions.admit(artifact.manifest()),
            None => Ok(()),
        }
    }
}

/// The processor that this is, if a bundle is for it and for these engine settings.
fn fitting(
    manifest: &BundleManifest,
    profile: Option<Profile>,
) -> std::result::Result<Target, BundleError> {
    match Target::host() {
        Some(wanted) if wanted == manifest.target => {}
        Some(wanted) => {
            return Err(BundleError::WrongTarget {
                found: manifest.target,
                wanted,
            });
        }
        None => {
            return Err(BundleError::Manifest(
                "is for another processor than this build of zlayer, for which none is made"
                    .to_owned(),
            ));
        }
    }
    match profile.filter(|profile| *profile != manifest.profile) {
        None => Ok(manifest.target),
        Some(wanted) => Err(BundleError::WrongProfile {
            found: manifest.profile,
            wanted,
        }),
    }
}
