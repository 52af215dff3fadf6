//! What `zlayer run` is to serve: plugins, a deployment, a bundle, or what is installed.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};

use zlayer_bundle::{BundleError, BundleHead, Profile, VerifiedBundle};

use crate::config::Source;
use crate::daemon::{self, Packed, Trustees};
use crate::error::{Error, Result};
use crate::generations::Generations;

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

/// Whom this device trusts, and what it runs.
pub(super) struct Terms<'a> {
    pub(super) trustees: Trustees<'a>,
    pub(super) profile: Profile,
}

/// Finds what is meant, and reads what it says of itself.
///
/// # Errors
///
/// It is not there, or is refused.
pub(super) fn find(given: Given, terms: &Terms<'_>) -> Result<Source> {
    match given {
        Given::Plugins(files) => Ok(Source::Files(files)),
        Given::Bundle(path) => {
            let file = daemon::open_regular(&path)?;
            bundle(path, file, terms)
        }
        Given::Deployment(path) => {
            let target = daemon::target()?;
            daemon::may_compile(&path, "pack", target, terms.trustees.key_dirs)?;
            let Packed { file } = daemon::pack(&path, target, terms.profile)?;
            bundle(path, file, terms)
        }
        Given::Nothing => match terms.trustees.data_dir {
            Some(data_dir) => installed(data_dir, terms),
            None => Ok(Source::Files(Vec::new())),
        },
    }
}

fn bundle(path: PathBuf, mut file: File, terms: &Terms<'_>) -> Result<Source> {
    let head = BundleHead::read(&mut file).map_err(|source| refused(&path, source))?;
    let head = Box::new(terms.verify(&path, head)?);
    let blobs = head.manifest().blobs.iter().map(|blob| blob.len);
    let whole = blobs.fold(head.bytes().len() as u64, u64::saturating_add);
    let found = file.metadata();
    let found = found.map_err(|error| refused(&path, error.into()))?.len();
    match found.cmp(&whole) {
        Ordering::Less => Err(refused(&path, BundleError::Truncated)),
        Ordering::Greater => Err(refused(&path, BundleError::TooLong)),
        Ordering::Equal => Ok(Source::Bundle { path, file, head }),
    }
}

fn installed(data_dir: &Path, terms: &Terms<'_>) -> Result<Source> {
    if data_dir.as_os_str().is_empty() {
        return Err(Error::Usage(
            "--data-dir: is empty; name a folder".to_owned(),
        ));
    }
    let generations = Generations::of(data_dir);
    let Some(number) = generations.active()? else {
        return Err(Error::Usage(format!(
            "what shall be served? Nothing is installed in {0}: `zlayer install APP.zlb --data-dir {0}` does that; \
             or name a plugin, a bundle or a deployment.yaml",
            data_dir.display()
        )));
    };
    let head = generations.head(number)?;
    let shown = PathBuf::from(format!("generation {number}"));
    let head = Box::new(terms.verify(&shown, head)?);
    Ok(Source::Generation { number, head })
}

impl Terms<'_> {
    /// Checks who signed a bundle, and what it is for.
    pub(super) fn verify(&self, path: &Path, head: BundleHead) -> Result<VerifiedBundle> {
        let trust = daemon::trusted(&self.trustees, false)?;
        let head = head
            .verify(&trust)
            .map_err(|source| refused(path, source))?;
        let (target, manifest) = (daemon::target()?, head.manifest());
        if manifest.target != target {
            let found = manifest.target;
            return Err(refused(
                path,
                BundleError::WrongTarget {
                    found,
                    wanted: target,
                },
            ));
        }
        if manifest.profile != self.profile {
            return Err(refused(
                path,
                BundleError::WrongProfile {
                    found: manifest.profile,
                    wanted: self.profile,
                },
            ));
        }
        if head.signer().is_none() {
            log::warn!(
                "{}: NOBODY SIGNED THIS BUNDLE; what it holds runs because of --allow-unsigned",
                path.display()
            );
        }
        Ok(head)
    }
}

fn refused(path: &Path, source: BundleError) -> Error {
    Error::Bundle {
        path: path.to_owned(),
        source,
    }
}
