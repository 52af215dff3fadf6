//! Whom a daemon trusts.

use std::path::{Path, PathBuf};

use zlayer_bundle::{KeyError, TrustStore};

use crate::config::Config;
use crate::error::{Error, Result, out_of_files};

/// Where it stands whom a device trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trustees<'a> {
    /// Folders of public keys, or files of one.
    pub key_dirs: &'a [PathBuf],
    /// Whether what nobody signed is taken.
    pub allow_unsigned: bool,
    /// The data folder, which may hold a list of what is trusted and revoked.
    pub data_dir: Option<&'a Path>,
}

impl<'a> Trustees<'a> {
    /// Those of a daemon with this configuration.
    pub fn of(config: &'a Config) -> Trustees<'a> {
        Trustees {
            key_dirs: &config.key_dirs,
            allow_unsigned: config.allow_unsigned,
            data_dir: config.data_dir.as_deref(),
        }
    }
}

/// The public keys whose signatures count. Those that are left out are told where the caller wants that.
///
/// # Errors
///
/// A folder cannot be read, or others could change what is in it.
pub fn trusted(trustees: &Trustees<'_>, tell: bool) -> Result<TrustStore> {
    let mut trust = TrustStore::empty();
    for folder in trustees.key_dirs {
        let loaded = trust.load(folder).map_err(|error| match error {
            KeyError::Io { path, error } if out_of_files(&error) => Error::device(
                format!("cannot read the key file {}", path.display()),
                error,
            ),
            other => Error::Usage(format!("--keys: {other}")),
        });
        for left_out in loaded?.iter().filter(|_| tell) {
            log::warn!("{left_out}; this key is left out");
        }
    }
    trust.allow_unsigned(trustees.allow_unsigned);
    Ok(trust)
}
