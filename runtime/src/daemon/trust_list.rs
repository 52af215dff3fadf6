//! The file of the trust list in a data folder.

use std::io;
use std::path::{Path, PathBuf};

use zlayer_bundle::{MAX_TRUST_FILE, PublicKey, TrustFile, TrustListError, VerifiedTrust};

use crate::error::{Error, Result, WhichList};
use crate::generations::Folder;

/// The name of the file in a data folder.
const FILE: &str = "trust";
/// Bytes of it that are read: one more than it may have.
pub(super) const MOST: u64 = MAX_TRUST_FILE as u64 + 1;

/// The list that is installed in a data folder, followed from these root keys, which these folders hold. None: there is none.
///
/// # Errors
///
/// It cannot be read, or no root key leads to it. It may revoke anything then, so nothing is trusted.
pub(super) fn installed(
    data_dir: &Path,
    roots: &[PublicKey],
    key_dirs: &[PathBuf],
) -> Result<Option<VerifiedTrust>> {
    let refused = |source| Error::TrustList {
        which: WhichList::Installed {
            path: data_dir.join(FILE),
            key_dirs: key_dirs.to_vec(),
        },
        source,
    };
    let bytes = match Folder::open(data_dir).and_then(|data| data.read(FILE, MOST)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            // No generation's fault, and no reason to go back to another one.
            return Err(refused(TrustListError::Unreadable(error.to_string())));
        }
    };
    let verified = TrustFile::read(&bytes).and_then(|file| file.verify(roots));
    verified.map(Some).map_err(refused)
}

/// Whether a list is installed, as far as this account can see.
pub(super) fn is_there(data_dir: &Path) -> bool {
    data_dir.join(FILE).symlink_metadata().is_ok()
}

/// Replaces it as a whole: a power cut leaves the old one or the new one.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn replace(data_dir: &Path, list: &VerifiedTrust) -> Result<()> {
    let written = Folder::open(data_dir).and_then(|data| data.replace_text(FILE, &list.bytes()));
    written.map_err(|error| {
        let path = data_dir.join(FILE);
        Error::device(
            format!("cannot write the trust list {}", path.display()),
            error,
        )
    })
}
