//! Whoever is at work on a deployment: each new state of it is packed and installed.

use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use zlayer_bundle::{Profile, Target};

use super::changes::{Change, Changes};
use super::subject::Subject;
use crate::admin;
use crate::daemon::{Draftsman, Packed};
use crate::error::{Error, Result};
use crate::logger;

/// How often it is asked whether a daemon that was only just started listens.
const ASK: Duration = Duration::from_millis(50);

/// Packs what is watched, and has the daemon serve it.
pub(super) struct Author {
    subject: Subject,
    settings: (Target, Profile),
    data_dir: PathBuf,
    draftsman: Draftsman,
    /// When the last pack began.
    began: SystemTime,
    /// Whether the daemon has taken one. What it serves by now is for it to know: it may have gone back since.
    is_served: bool,
}

/// What came of a new state.
enum Outcome {
    /// It is served.
    Served {
        /// The settings of the device that do not hold yet, if there are any.
        later: Option<String>,
    },
    /// There is no daemon any more.
    Over,
}

impl Author {
    pub(super) fn new(
        subject: Subject,
        settings: (Target, Profile),
        data_dir: PathBuf,
        is_over: Arc<AtomicBool>,
    ) -> Author {
        Author {
            subject,
            settings,
            data_dir,
            draftsman: Draftsman {
                is_first: true,
                is_over,
                inputs: Vec::new(),
            },
            began: SystemTime::UNIX_EPOCH,
            is_served: false,
        }
    }

    /// What people know the deployment by.
    pub(super) fn path(&self) -> &Path {
        self.subject.path()
    }

    /// All files that are known to be a part of it.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.subject.files();
        files.extend(self.draftsman.inputs.iter().cloned());
        files
    }

    /// When the last pack began.
    pub(super) fn began(&self) -> SystemTime {
        self.began
    }

    /// Packs the first state, which is served from the daemon's start.
    ///
    /// # Errors
    ///
    /// As [`crate::daemon::pack_draft`].
    pub(super) fn pack(&mut self) -> Result<Packed> {
        let packed = self.pack_anew()?;
        self.is_served = true;
        Ok(packed)
    }

    /// Packs and installs each new state, until it is over.
    pub(super) fn work(mut self, mut changes: Changes) {
        while let Some(change) = changes.wait() {
            let outcome = self.install(&changes);
            changes.watch(self.files(), self.began);
            if self.is_over() {
                return;
            }
            self.tell(&change, outcome);
        }
    }

    fn is_over(&self) -> bool {
        self.draftsman.is_over.load(Ordering::Acquire)
    }

    fn pack_anew(&mut self) -> Result<Packed> {
        self.began = SystemTime::now();
        let packed = self.subject.pack(self.settings, &mut self.draftsman)?;
        self.draftsman.is_first = false;
        Ok(packed)
    }

    /// Also where the same bundle comes of it as before: the daemon may have gone back from that since, and secrets
    /// and variables, which stand in no bundle, may be others.
    fn install(&mut self, changes: &Changes) -> Result<Outcome> {
        let mut packed = self.pack_anew()?;
        let told = loop {
            let change = admin::Change::Install(admin::Upload {
                name: self.subject.path(),
                from: &mut packed.file,
            });
            match admin::change(&self.data_dir, change)? {
                Some(told) => break told,
                // It was only just started, or ends.
                None if self.is_over() || !changes.rest(ASK) => return Ok(Outcome::Over),
                None => rewind(&mut packed)?,
            }
        };
        self.is_served = true;
        let later = told.split_once(admin::AT_NEXT_START);
        Ok(Outcome::Served {
            later: later.map(|(_, settings)| settings.to_owned()),
        })
    }

    fn tell(&self, change: &Change, outcome: Result<Outcome>) {
        let what = change.told();
        match outcome {
            Ok(Outcome::Served { later }) => {
                let millis = change.since.elapsed().as_millis();
                logger::say(&format!(
                    "zlayer: {what} changed: served again after {millis} ms\n"
                ));
                if let Some(settings) = later {
                    logger::complain(&format!(
                        "zlayer: what it says of these holds once `zlayer run` is started again: {settings}\n"
                    ));
                }
            }
            Ok(Outcome::Over) => {}
            Err(Error::Forwarded(_)) => logger::complain(&format!(
                "zlayer: {what} changed, and cannot be packed, for what is said above: {}\n",
                self.instead()
            )),
            Err(error) => logger::complain(&format!(
                "zlayer: {what} changed, and is not served: {error}; {}\n",
                self.instead()
            )),
        }
    }

    /// What is served instead of a state that cannot be.
    fn instead(&self) -> &'static str {
        match self.is_served {
            true => "what was served before is served on",
            false => "nothing is served until it is mended",
        }
    }
}

fn rewind(packed: &mut Packed) -> Result<()> {
    let sought = packed.file.seek(SeekFrom::Start(0));
    sought
        .map(drop)
        .map_err(|error| Error::device("cannot read the bundle", error))
}
