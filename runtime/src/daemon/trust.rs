//! Whom a daemon trusts.

use std::path::PathBuf;

use zlayer_bundle::{KeyError, TrustStore};

use crate::error::{Error, Result, out_of_files};

/// The public keys in these folders and files, whose signatures count. Those that are left out are told where
/// the caller wants that.
///
/// # Errors
///
/// A folder cannot be read, or others could change what is in it.
pub fn trusted(key_dirs: &[PathBuf], allow_unsigned: bool, tell: bool) -> Result<TrustStore> {
    let mut trust = TrustStore::empty();
    for folder in key_dirs {
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
    trust.allow_unsigned(allow_unsigned);
    Ok(trust)
}
