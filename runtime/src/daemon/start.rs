//! What a daemon is started with; where that is what is installed, which generation.

use std::path::{Path, PathBuf};

use zlayer_bundle::{BundleError, BundleHead, Profile, VerifiedBundle};

use super::artifacts::target;
use super::installation::locked;
use super::trust::{Trustees, trusted};
use crate::config::{Config, Source};
use crate::error::{Error, Result};
use crate::generations::{Choice, Generations};

/// Makes the configuration of a daemon that serves this: what the flags say, what the deployment says, and what
/// the device knows of its variables by now.
pub type Configure = Box<dyn Fn(Wanted) -> Result<Config> + Send + Sync>;

/// What is to be served of what is installed.
pub enum Wanted {
    /// The generation with this number.
    Generation(u64),
    /// Nothing, for this reason.
    Nothing(String),
}

/// What a daemon is started with.
pub struct Start {
    pub(super) config: Config,
    /// None where it serves what the command line names.
    pub(super) installed: Option<FromGeneration>,
}

/// How a daemon serves what is installed in its data folder.
pub(super) struct FromGeneration {
    /// What it begins with.
    pub(super) choice: Choice,
    /// Those that could not be served.
    pub(super) tried: Vec<u64>,
    pub(super) configure: Configure,
}

impl Start {
    /// To serve what the command line names.
    pub fn of(config: Config) -> Start {
        Start {
            config,
            installed: None,
        }
    }

    /// To serve what is installed in a data folder. A generation that cannot be served at all makes way for the
    /// last good one. Where there is none, this ends with the reason, as often as a generation may be started,
    /// and then a daemon tells of it.
    ///
    /// # Errors
    ///
    /// What is installed is refused, or what it needs to know is missing; or the command line is wrong, whatever is
    /// installed. Whoever is `patient` is told of what is refused, and serves nothing until something else is installed.
    pub fn installed(
        data_dir: &Path,
        configure: Configure,
        patient: Option<fn(&Error)>,
    ) -> Result<Start> {
        if data_dir.as_os_str().is_empty() {
            return Err(Error::Usage(
                "--data-dir: is empty; name a folder".to_owned(),
            ));
        }
        let generations = Generations::of(data_dir);
        let (mut choice, mut tried) = (generations.choose(), Vec::new());
        let config = loop {
            match configure(Wanted::of(&choice)) {
                Ok(config) => break config,
                Err(error) => {
                    if let Err(wrong @ Error::Usage(_)) = configure(Wanted::Nothing(String::new()))
                    {
                        return Err(wrong);
                    }
                    let has_one = choice.number.is_some();
                    let other = instead(&generations, choice, error, &mut tried, |choice, note| {
                        let _data = locked(data_dir)?;
                        generations.begin(choice)?;
                        note()
                    });
                    choice = match (other, patient) {
                        (Err(error), Some(tell)) if has_one => {
                            tell(&error);
                            Choice::nothing(error.to_string())
                        }
                        (other, _) => other?,
                    };
                }
            }
        };
        let installed = FromGeneration {
            choice,
            tried,
            configure,
        };
        Ok(Start {
            config,
            installed: Some(installed),
        })
    }
}

impl Wanted {
    pub(super) fn of(choice: &Choice) -> Wanted {
        match choice.number {
            Some(number) => Wanted::Generation(number),
            None => Wanted::Nothing(choice.nothing.clone().unwrap_or_default()),
        }
    }

    /// Where the plugins come from that are wanted: the head of a generation's bundle is checked.
    ///
    /// # Errors
    ///
    /// It is damaged, or refused.
    pub fn source(self, trustees: &Trustees<'_>, profile: Profile) -> Result<Source> {
        let data_dir = trustees.data_dir.unwrap_or(Path::new(""));
        let generations = Generations::of(data_dir);
        let head = |number| {
            let head = generations.head(number)?;
            let shown = PathBuf::from(format!("generation {number}"));
            verified(&shown, head, trustees, profile).map_err(Error::kept)
        };
        match self {
            Wanted::Generation(number) => {
                head(number).map(|head| Source::Generation { number, head })
            }
            Wanted::Nothing(why) => Ok(Source::Nothing {
                why,
                is_installed: !generations.list().is_ok_and(|all| all.is_empty()),
                // Who is refused cannot be trusted with the ports either.
                unserved: { generations.standing().active }.and_then(|number| head(number).ok()),
            }),
        }
    }
}

/// What is begun with instead of a choice that could not be served, because of `error`. What is no fault of a
/// generation is not held against it: it is tried again at the next start. Where there is nothing else, a fault of
/// its own is written down by `note`, which has to have counted the start. `tried` are those that could not be served.
///
/// # Errors
///
/// That error, where there is nothing else: the start is counted if it was the generation's own fault.
pub(super) fn instead(
    generations: &Generations,
    choice: Choice,
    error: Error,
    tried: &mut Vec<u64>,
    note: impl FnOnce(&Choice, &dyn Fn() -> Result<()>) -> Result<()>,
) -> Result<Choice> {
    let Some(number) = choice.number else {
        return Err(error);
    };
    tried.push(number);
    // A trust list that cannot be checked is no generation's fault, and whichever was served instead would be
    // refused as well.
    if matches!(error, Error::TrustList { .. }) {
        return Err(error);
    }
    let reason = error.to_string();
    if let Some(back) = &choice.went_back
        && let Some(next) = generations.choose_further(back, tried)
    {
        log::error!("generation {number} cannot be served: {reason}");
        return Ok(next);
    }
    let is_good = generations.standing().confirmed.contains(&number);
    let is_its_own = error.is_its_own();
    // What was good before may be so again: it may be started several times. What is revoked may not.
    if !is_good || error.is_revocation() {
        let other = match is_its_own {
            true => generations.choose_without(number, &reason, tried),
            false => generations.choose_meanwhile(number, &reason, tried),
        };
        if other.number.is_some() {
            log::error!("generation {number} cannot be served: {reason}");
            return Ok(other);
        }
    }
    if !is_its_own {
        // The command line is not at fault, and another start may well do.
        return Err(match error {
            Error::Usage(what) => Error::Refused(format!("generation {number}: {what}")),
            Error::Unknown(what) => Error::Refused(format!("generation {number}: {what}")),
            other => other,
        });
    }
    if let Err(unwritten) = note(&choice, &|| generations.note_failure(number, &reason)) {
        // Nobody would know how often it was started, and it would be for ever.
        log::error!("it is not written down that generation {number} failed: {unwritten}");
        return Ok(Choice::nothing(format!(
            "generation {number} cannot be served: {reason}"
        )));
    }
    Err(error)
}

/// Checks who signed a bundle, and what it is for.
///
/// # Errors
///
/// It is refused.
pub fn verified(
    path: &Path,
    head: BundleHead,
    trustees: &Trustees<'_>,
    profile: Profile,
) -> Result<Box<VerifiedBundle>> {
    let refused = |source| Error::Bundle {
        path: path.to_owned(),
        source,
    };
    let trust = trusted(trustees, false)?;
    let head = head.verify(&trust).map_err(refused)?;
    let (wanted, manifest) = (target()?, head.manifest());
    if manifest.target != wanted {
        let found = manifest.target;
        return Err(refused(BundleError::WrongTarget { found, wanted }));
    }
    if manifest.profile != profile {
        return Err(refused(BundleError::WrongProfile {
            found: manifest.profile,
            wanted: profile,
        }));
    }
    if head.signer().is_none() {
        log::warn!(
            "{}: NOBODY SIGNED THIS BUNDLE; what it holds runs because of --allow-unsigned",
            path.display()
        );
    }
    Ok(Box::new(head))
}
