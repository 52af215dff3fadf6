//! `zlayer install`, `rollback` and `uninstall`: which bundle a daemon serves from its next start.

use std::path::PathBuf;

use argh::FromArgs;
use zlayer_bundle::UnknownProfile;

use super::{input, run};
use crate::admin::{self, Change, DEFAULT_DATA_DIR, Upload};
use crate::daemon::{Installation, Installed};
use crate::error::{Error, Result};
use crate::logger;

/// Install a bundle: the daemon of the data folder serves it at once, or, where none runs, from its next start.
#[derive(FromArgs)]
#[argh(subcommand, name = "install")]
pub(super) struct Install {
    /// the bundle, as zlayer-precompile pack makes it, or - for standard input
    #[argh(positional)]
    bundle: PathBuf,
    /// folder of public keys to trust, or the file of one; may be repeated (default: /etc/zlayer/keys and
    /// the user's own); a daemon that runs goes by those that it was started with
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// install what nobody signed: whoever can write the file owns the device; a daemon that runs goes by what it was
    /// started with
    #[argh(switch)]
    allow_unsigned: bool,
    /// engine settings of this device: compact or wide (default compact)
    #[argh(option, default = "String::from(\"compact\")")]
    profile: String,
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    pub(super) data_dir: Option<PathBuf>,
}

/// Go back to the generation that was active before: the daemon of the data folder serves it at once, or, where none
/// runs, from its next start.
#[derive(FromArgs)]
#[argh(subcommand, name = "rollback")]
pub(super) struct Rollback {
    /// the number of another generation to go to; zlayer generations shows them
    #[argh(option)]
    to: Option<u64>,
    /// folder of public keys to trust, or the file of one; may be repeated (default: /etc/zlayer/keys and
    /// the user's own); a daemon that runs goes by those that it was started with
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// go back to what nobody signed, too; a daemon that runs goes by what it was started with
    #[argh(switch)]
    allow_unsigned: bool,
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    pub(super) data_dir: Option<PathBuf>,
}

/// Remove all generations from a data folder: its daemon serves nothing then. The store and the log stay.
#[derive(FromArgs)]
#[argh(subcommand, name = "uninstall")]
pub(super) struct Uninstall {
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    pub(super) data_dir: Option<PathBuf>,
}

impl Install {
    /// Installs the bundle, and tells as which generation.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(super) fn run(self) -> Result<()> {
        let profile = { self.profile.parse() }
            .map_err(|error: UnknownProfile| Error::Usage(format!("--profile: {error}")))?;
        let installation = installation(self.data_dir, self.keys, self.allow_unsigned);
        let (name, mut from) = input::open(&self.bundle)?;
        let change = Change::Install(Upload {
            name: &name,
            from: &mut from,
        });
        if let Some(told) = admin::change(&installation.data_dir, change)? {
            logger::say(&format!("zlayer: installed {told}\n"));
            return Ok(());
        }
        let installed = installation.install(&name, from, profile)?;
        let what = format!(
            "installed {} as generation {}",
            called(&installed),
            installed.generation
        );
        tell(&what, &installed, &installation);
        Ok(())
    }
}

impl Rollback {
    /// Goes back, and tells to which generation.
    ///
    /// # Errors
    ///
    /// There is none, or it is refused.
    pub(super) fn run(self) -> Result<()> {
        let installation = installation(self.data_dir, self.keys, self.allow_unsigned);
        if let Some(told) = admin::change(&installation.data_dir, Change::RollBack(self.to))? {
            logger::say(&format!("zlayer: went to {told}\n"));
            return Ok(());
        }
        let installed = installation.roll_back(self.to)?;
        let what = format!(
            "went to generation {}, {}",
            installed.generation,
            called(&installed)
        );
        tell(&what, &installed, &installation);
        Ok(())
    }
}

impl Uninstall {
    /// Removes what is installed.
    ///
    /// # Errors
    ///
    /// There is nothing, or it cannot be removed.
    pub(super) fn run(self) -> Result<()> {
        let installation = installation(self.data_dir, Vec::new(), false);
        if let Some(told) = admin::change(&installation.data_dir, Change::Uninstall)? {
            logger::say(&format!(
                "zlayer: removed {told}; nothing is served any more\n"
            ));
            return Ok(());
        }
        installation.uninstall()?;
        let folder = installation.data_dir.display();
        logger::say(&format!(
            "zlayer: nothing is installed in {folder} any more\n"
        ));
        Ok(())
    }
}

pub(super) fn installation(
    data_dir: Option<PathBuf>,
    keys: Vec<PathBuf>,
    allow_unsigned: bool,
) -> Installation {
    Installation {
        data_dir: data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
        key_dirs: run::key_dirs(keys, false),
        allow_unsigned,
    }
}

/// A deployment and its release, if its owner counts them.
fn called(installed: &Installed) -> String {
    match installed.release {
        0 => installed.deployment.clone(),
        release => format!("{} release {release}", installed.deployment),
    }
}

fn tell(what: &str, installed: &Installed, installation: &Installation) {
    let folder = installation.data_dir.display();
    let known = match installed.variables.is_empty() {
        true => String::new(),
        // What this command's own environment has is of no use to it.
        false => format!(", and has to know {} then", installed.variables.join(", ")),
    };
    logger::say(&format!(
        "zlayer: {what}; a daemon with --data-dir {folder} serves it from its next start{known}\n"
    ));
}
