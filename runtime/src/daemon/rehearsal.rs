//! What is looked at before root hands the data folder to another account: a start that fails here leaves the
//! folder as it was, so that it can be tried again, by root alone too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{artifacts, trust_list};
use crate::account::Account;
use crate::config::Config;
use crate::data_dir::unreachable_for;
use crate::error::Result;

/// Looks as `account` whether it could start, if the data folder is not that account's already.
///
/// # Errors
///
/// A plugin, a key or the folder is not for it to use, or a plugin is refused.
pub(super) fn rehearse(config: &Config, account: &Account) -> Result<()> {
    let Some(data) = config.data_dir.as_deref() else {
        return Ok(());
    };
    let uid = account.ids().0.as_raw();
    if fs::metadata(data).is_ok_and(|found| found.uid() == uid) {
        return Ok(());
    }
    let way = match data.exists() {
        true => data.to_owned(),
        false => nearest(data).join("."),
    };
    // The account may not read it before the folder is its own.
    let has_list = trust_list::is_there(data);
    account.act_as(|| {
        fs::symlink_metadata(way).map_err(|error| unreachable_for(data, uid, error))?;
        artifacts::look(config, has_list)
    })
}

/// The last folder on the way to `path` that is there.
fn nearest(path: &Path) -> &Path {
    let there = path.ancestors().skip(1).find(|above| above.exists());
    // A relative path begins here.
    there.unwrap_or(Path::new("."))
}
