//! `zlayer trust`: the list of what a device trusts and revokes.

use std::path::PathBuf;

use argh::FromArgs;

use super::input;
use super::install::installation;
use crate::admin::{self, Change, Upload};
use crate::daemon::{listed, read_list};
use crate::error::Result;
use crate::logger;

/// Install a trust list, which a root key of the device has signed: it counts whenever something is verified from
/// then on. Without a list: show the one that is installed.
#[derive(FromArgs)]
#[argh(subcommand, name = "trust")]
pub(super) struct Trust {
    /// the list, as zlayer-precompile trust-list makes it, or - for standard input
    #[argh(positional)]
    list: Option<PathBuf>,
    /// folder with the public root keys (*.root), or the file of one; may be repeated (default: /etc/zlayer/keys and
    /// the user's own); a daemon that runs goes by those that it was started with
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    pub(super) data_dir: Option<PathBuf>,
}

impl Trust {
    /// Installs the list, or shows the one that is installed.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(super) fn run(self) -> Result<()> {
        let installation = installation(self.data_dir, self.keys, false);
        let folder = installation.data_dir.display();
        let said = match self.list {
            Some(list) => {
                let (name, from) = input::open(&list)?;
                let bytes = read_list(&name, from)?;
                let change = Change::Trust(Upload {
                    name: &name,
                    from: &mut bytes.as_slice(),
                });
                match admin::change(&installation.data_dir, change)? {
                    Some(told) => format!("zlayer: {told}\n"),
                    None => {
                        let list = installation.trust(&name, &bytes)?;
                        format!("zlayer: trust list {} counts in {folder}\n", list.number)
                    }
                }
            }
            None => match listed(&installation.data_dir, &installation.key_dirs)? {
                Some(list) => list.to_string(),
                None => format!(
                    "zlayer: no trust list is installed in {folder}: the keys in the key folders count\n"
                ),
            },
        };
        logger::say(&said);
        Ok(())
    }
}
