//! What the interface asks of a daemon whose deployment can be changed while it serves.

use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;

/// The deployment that a daemon serves, and the ways in which it is changed.
pub trait Deployments: Send + Sync {
    /// What is served. None: what its command line names, or nothing.
    fn deployed(&self) -> Option<Deployed>;

    /// How many deployments before it have requests at work still.
    fn ending(&self) -> usize;

    /// Installs a bundle, and serves it in place of what is served now.
    fn install(self: Arc<Self>, bundle: Uploaded) -> Changing;

    /// Serves a generation that is kept: that with this number, or the one before the present one.
    fn roll_back(self: Arc<Self>, to: Option<u64>) -> Changing;

    /// Removes all that is installed, and serves nothing.
    fn uninstall(self: Arc<Self>) -> Changing;

    /// Installs a trust list: it counts for whatever is verified from then on.
    fn trust(self: Arc<Self>, list: Uploaded) -> Telling;
}

/// A file that is sent to a daemon.
pub struct Uploaded {
    /// What whoever sends it calls it. It is there to be shown, and opens nothing.
    pub name: PathBuf,
    /// Reads it as it comes.
    pub from: Box<dyn Read + Send>,
}

/// A change of what is served. Where it fails, nothing has changed.
pub type Changing = Pin<Box<dyn Future<Output = Result<Changed>> + Send>>;

/// A change of whom the daemon trusts, and what there is to say of it. Where it fails, nothing has changed.
pub type Telling = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

/// The deployment that a daemon serves.
#[derive(Debug, Clone, Default)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its release; 0 if its owner does not count them.
    pub release: u64,
    /// That of its bundle, as a trust list may revoke it.
    pub digest: String,
    /// The number that it was installed as; none if it was not.
    pub generation: Option<u64>,
    /// Whether it has yet to prove itself.
    pub on_trial: bool,
    /// Why it failed in its trial, where it is served on for want of another.
    pub failed: Option<String>,
    /// Why another is served than was to be, where that is so.
    pub went_back: Option<String>,
}

impl Deployed {
    /// What it is, for people.
    pub fn told(&self) -> String {
        let mut told = self.name.clone();
        if self.release > 0 {
            told.push_str(&format!(" release {}", self.release));
        }
        if let Some(generation) = self.generation {
            told.push_str(&format!(", generation {generation}"));
        }
        told
    }
}

/// What a change has come to.
#[derive(Debug, Default)]
pub struct Changed {
    /// What is served now; what was served, of one that was removed.
    pub deployed: Deployed,
    /// Whether it is served now.
    pub is_served: bool,
    /// How it is on trial, where it is.
    pub trial: Option<Trial>,
    /// The settings of the device that hold from the daemon's next start only.
    pub at_next_start: Vec<&'static str>,
}

/// The trial of what is served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// How long it takes.
    pub time: Duration,
    /// The generation that the device goes back to if it fails. None: there is none.
    pub back: Option<u64>,
}

impl Changed {
    /// To what is `deployed` now.
    pub fn of(deployed: Option<Deployed>) -> Changed {
        Changed {
            deployed: deployed.unwrap_or_default(),
            ..Changed::default()
        }
    }
}
