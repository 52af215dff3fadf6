//! Files that plugins come in: taken in, checked, compiled where that is possible.

use std::ffi::OsStr;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zlayer_bundle::{
    ArtifactError, BundleError, Target, VerifiedArtifact, VerifiedBundle, user_key_dir,
};

use super::compile::{PRECOMPILE, compile, is_wasm, open};
use super::trust::{Trustees, trusted};
use crate::config::{Config, SYSTEM_KEYS, Source};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::generations::{Blobs, Generations};

/// Checks the files as far as that can be done without keeping anything of them, and without the data folder, which
/// is not this account's yet. Whom its trust list trusts, if it `has_list`, is not known before.
pub(super) fn look(config: &Config, has_list: bool) -> Result<()> {
    let without_data = Trustees {
        data_dir: None,
        ..Trustees::of(config)
    };
    // Keys that this account cannot read would be missed once the folder is its own.
    let trust = trusted(&without_data, false)?;
    if has_list {
        return Ok(());
    }
    // Whoever signed a bundle was looked at when its head was read.
    let Source::Files(files) = &config.source else {
        return Ok(());
    };
    let target = target()?;
    for path in files {
        let file = open(path)?;
        let unreadable = |error| Error::device(format!("cannot read {}", path.display()), error);
        if is_wasm(&file).map_err(unreadable)? {
            continue;
        }
        let checked = VerifiedArtifact::verify(file, &trust, target, config.profile);
        checked.map_err(|source| Error::Artifact {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Takes the artifacts of all services in, in their order, and checks them: of each the daemon's own copy is opened
/// once, verified and later mapped through that one descriptor.
pub(super) fn take_in(config: &Config, data: &DataDir) -> Result<Vec<VerifiedArtifact>> {
    match &config.source {
        Source::Files(files) => {
            let taken = files.iter().enumerate();
            let taken = taken.map(|(place, path)| from_file(place, path, config, data));
            let taken = taken.collect();
            data.remove_copies_from(files.len());
            taken
        }
        Source::Bundle { path, file, head } => {
            let blobs = Blobs::make(data.path())?;
            // Whoever looked at its head has left the cursor somewhere.
            let mut from = file;
            let unreadable =
                |error| Error::device(format!("cannot read {}", path.display()), error);
            from.seek(SeekFrom::Start(head.bytes().len() as u64))
                .map_err(unreadable)?;
            data.remove_copies_from(0);
            let generations = Generations::of(data.path());
            // What earlier runs of other bundles left is in the way of nobody but the next ones.
            if let Err(error) = generations.forget_blobs_but(&head.manifest().blobs) {
                log::warn!("what is not needed any more is not removed: {error}");
            }
            blobs.take_all(&head.manifest().blobs, from, path)?;
            from_blobs(head, &blobs, path, config)
        }
        Source::Nothing { .. } => {
            // Whoever installs the first one later should not be who finds out.
            if let Err(error) = trusted(&Trustees::of(config), true) {
                log::error!("whatever is installed will be refused: {error}");
            }
            data.remove_copies_from(0);
            Ok(Vec::new())
        }
        Source::Generation { number, head } => {
            data.remove_copies_from(0);
            let blobs = Blobs::make(data.path())?;
            let shown = PathBuf::from(format!("generation {number}"));
            from_blobs(head, &blobs, &shown, config).map_err(Error::kept)
        }
    }
}

/// The artifacts of a bundle whose blobs are kept.
fn from_blobs(
    head: &VerifiedBundle,
    blobs: &Blobs,
    path: &Path,
    config: &Config,
) -> Result<Vec<VerifiedArtifact>> {
    let trust = trusted(&Trustees::of(config), true)?;
    let target = target()?;
    let manifest = head.manifest();
    let places = 0..manifest.deployment.services.len();
    let taken = places.map(|place| {
        // The head's own check has seen to it that each service has one.
        let Some(blob) = manifest.artifact(place) else {
            let what = "does not say which artifact is whose".to_owned();
            return Err(Error::Bundle {
                path: path.to_owned(),
                source: BundleError::Manifest(what),
            });
        };
        let file = blobs.open(blob)?;
        VerifiedArtifact::verify(file, &trust, target, config.profile).map_err(|source| {
            Error::Artifact {
                path: {
                    let name = manifest.deployment.services[place].name.as_deref();
                    format!("service '{}'", name.unwrap_or_default()).into()
                },
                source,
            }
        })
    });
    taken.collect()
}

/// The processor that this program runs on.
///
/// # Errors
///
/// No artifact is made for it.
pub fn target() -> Result<Target> {
    Target::host().ok_or_else(|| {
        Error::Usage(
            "this build of zlayer is for a processor that no artifact is made for".to_owned(),
        )
    })
}

/// Takes in the artifact at this place.
fn from_file(
    place: usize,
    path: &Path,
    config: &Config,
    data: &DataDir,
) -> Result<VerifiedArtifact> {
    let refused = |source: ArtifactError| Error::Artifact {
        path: path.to_owned(),
        source,
    };
    let target = target()?;
    let mut source = open(path)?;
    let unreadable = |error| Error::device(format!("cannot read {}", path.display()), error);
    if is_wasm(&source).map_err(unreadable)? {
        if path.extension() != Some(OsStr::new("wasm")) {
            return Err(refused(ArtifactError::NotCompiled));
        }
        may_compile(path, "build", target, &config.key_dirs)?;
        source = compile(path, (target, config.profile))?;
    }
    // Now, since compiling may have made the user's development key.
    // Which keys do not count is told once, and not for each plugin.
    let trust = trusted(&Trustees::of(config), place == 0)?;
    let check = |copy| VerifiedArtifact::verify(copy, &trust, target, config.profile);
    let kept = match data.kept_copy(place, &source).map(check) {
        // Flash wears out: the copy no longer holds what its trailer says, and the file may.
        Some(Err(ArtifactError::Altered | ArtifactError::Io(_))) => {
            log::warn!(
                "the kept copy of {} is damaged: it is made anew",
                path.display()
            );
            None
        }
        kept => kept,
    };
    let checked = match kept {
        Some(checked) => checked,
        None => {
            // Only what looks like an artifact is worth the flash it is written to.
            zlayer_bundle::read_manifest(&source).map_err(refused)?;
            check(data.keep_copy(place, &mut source)?)
        }
    };
    let artifact = checked.map_err(refused)?;
    match artifact.signer() {
        Some(key) => log::debug!("{}: signed by {}", path.display(), key.id()),
        None => log::warn!(
            "{}: NOBODY SIGNED THIS PLUGIN; it runs native code because of --allow-unsigned",
            path.display()
        ),
    }
    Ok(artifact)
}

/// Whether a `.wasm` or what a `deployment.yaml` names may be compiled here (by this `verb` of the host tool), and signed with the user's development key: not where keys
/// were installed, since then what runs is for their owner to say.
///
/// # Errors
///
/// Keys were installed.
pub fn may_compile(path: &Path, verb: &str, target: Target, key_dirs: &[PathBuf]) -> Result<()> {
    let own = user_key_dir();
    let mut installed = key_dirs.iter().filter(|keys| {
        let is_there = keys.as_path() != Path::new(SYSTEM_KEYS)
            // Who cannot tell takes it for there.
            || keys.try_exists().unwrap_or(true);
        own.as_ref() != Some(keys) && is_there
    });
    match installed.next() {
        None => Ok(()),
        Some(keys) => Err(Error::Usage(format!(
            "{0} is not compiled here: keys are installed in {1}, so what runs has to be \
             signed with one of them; on the build host run: {PRECOMPILE} {verb} {0} --target {target} --key FILE",
            path.display(),
            keys.display()
        ))),
    }
}
