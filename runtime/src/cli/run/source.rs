//! What `zlayer run` is to serve: plugins, a deployment, a bundle, or what is installed.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};

use zlayer_bundle::{BundleError, BundleHead, Profile};

use crate::config::Source;
use crate::daemon::{self, Packed, Trustees};
use crate::error::{Error, Result};

/// What is said of a deployment or a bundle beside something else.
pub(super) const ALONE: &str =
    "a deployment or a bundle is served alone: put all plugins into its services";

/// What the words of the command line name.
pub(super) enum Given {
    /// Nothing: what is installed is meant.
    Nothing,
    /// Files of plugins.
    Plugins(Vec<PathBuf>),
    /// A `deployment.yaml`.
    Deployment(PathBuf),
    /// A bundle.
    Bundle(PathBuf),
}

impl Given {
    /// What one file is by its name. `None` if it is none of these.
    pub(super) fn of(file: &Path) -> Option<Given> {
        let path = file.to_owned();
        match file.extension()?.to_str()? {
            "wasm" | "cwasm" => Some(Given::Plugins(vec![path])),
            "yaml" | "yml" => Some(Given::Deployment(path)),
            "zlb" => Some(Given::Bundle(path)),
            _ => None,
        }
    }

    /// Whether a file is a deployment or a bundle by its name.
    pub(super) fn is_whole(file: &Path) -> bool {
        matches!(
            Given::of(file),
            Some(Given::Deployment(_) | Given::Bundle(_))
        )
    }

    /// What several files are.
    ///
    /// # Errors
    ///
    /// A deployment or a bundle is not alone.
    pub(super) fn all(files: Vec<PathBuf>) -> Result<Given> {
        let whole = files
            .iter()
            .filter_map(|file| Given::of(file))
            .find(|given| !matches!(given, Given::Plugins(_)));
        match (whole, files.len()) {
            (_, 0) => Ok(Given::Nothing),
            (Some(whole), 1) => Ok(whole),
            (Some(_), _) => Err(Error::Usage(ALONE.to_owned())),
            (None, _) => Ok(Given::Plugins(files)),
        }
    }
}

/// Finds what is meant, and reads what it says of itself.
///
/// # Errors
///
/// It is not there, or is refused.
pub(super) fn find(given: Given, trustees: &Trustees<'_>, profile: Profile) -> Result<Source> {
    match given {
        Given::Plugins(files) => Ok(Source::Files(files)),
        Given::Bundle(path) => {
            let file = daemon::open_regular(&path)?;
            bundle(path, file, trustees, profile)
        }
        Given::Deployment(path) => {
            let target = daemon::target()?;
            daemon::may_compile(&path, "pack", target, trustees.key_dirs)?;
            let Packed { file } = daemon::pack(&path, target, profile)?;
            bundle(path, file, trustees, profile)
        }
        Given::Nothing => Ok(Source::Files(Vec::new())),
    }
}

fn bundle(
    path: PathBuf,
    mut file: File,
    trustees: &Trustees<'_>,
    profile: Profile,
) -> Result<Source> {
    let refused = |source| Error::Bundle {
        path: path.clone(),
        source,
    };
    let head = BundleHead::read(&mut file).map_err(refused)?;
    let head = daemon::verified(&path, head, trustees, profile)?;
    let blobs = head.manifest().blobs.iter().map(|blob| blob.len);
    let whole = blobs.fold(head.bytes().len() as u64, u64::saturating_add);
    let found = file.metadata();
    let found = found.map_err(|error| refused(error.into()))?.len();
    match found.cmp(&whole) {
        Ordering::Less => Err(refused(BundleError::Truncated)),
        Ordering::Greater => Err(refused(BundleError::TooLong)),
        Ordering::Equal => Ok(Source::Bundle { path, file, head }),
    }
}
