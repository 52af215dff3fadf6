//! Files that plugins come in: taken in, checked, compiled where that is possible.

use std::ffi::OsStr;
use std::path::Path;

use zlayer_bundle::{ArtifactError, KeyError, Target, TrustStore, VerifiedArtifact, user_key_dir};

use super::compile::{PRECOMPILE, compile, is_wasm, open};
use crate::config::{Config, SYSTEM_KEYS};
use crate::data_dir::DataDir;
use crate::error::{Error, Result, out_of_files};

/// The public keys whose signatures count. Which ones do not is told with the `first` plugin.
fn trusted(config: &Config, first: bool) -> Result<TrustStore> {
    let mut trust = TrustStore::empty();
    for folder in &config.key_dirs {
        let loaded = trust.load(folder).map_err(|error| match error {
            KeyError::Io { path, error } if out_of_files(&error) => Error::device(
                format!("cannot read the key file {}", path.display()),
                error,
            ),
            other => Error::Usage(format!("--keys: {other}")),
        });
        // Once, and not for each plugin.
        for left_out in loaded?.iter().filter(|_| first) {
            log::warn!("{left_out}; this key is left out");
        }
    }
    trust.allow_unsigned(config.allow_unsigned);
    Ok(trust)
}

/// Checks the files as far as that can be done without keeping anything of them.
pub(super) fn look(config: &Config) -> Result<()> {
    let Some(target) = Target::host() else {
        return Ok(());
    };
    let trust = trusted(config, false)?;
    for path in &config.artifacts {
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

/// Takes the artifact at this place in and checks it: the daemon's own copy is opened once, verified and later mapped
/// through that one descriptor.
pub(super) fn verify(place: usize, config: &Config, data: &DataDir) -> Result<VerifiedArtifact> {
    let path = config.artifacts[place].as_path();
    let refused = |source: ArtifactError| Error::Artifact {
        path: path.to_owned(),
        source,
    };
    let Some(target) = Target::host() else {
        return Err(Error::Usage(
            "this build of zlayer is for a processor that no artifact is made for".to_owned(),
        ));
    };
    let mut source = open(path)?;
    let unreadable = |error| Error::device(format!("cannot read {}", path.display()), error);
    if is_wasm(&source).map_err(unreadable)? {
        if path.extension() != Some(OsStr::new("wasm")) {
            return Err(refused(ArtifactError::NotCompiled));
        }
        may_compile(path, target, config)?;
        let usable = |kept| {
            // Signed by a key that is the user's no longer, it is made anew.
            let trust = trusted(config, false).ok();
            let checked =
                trust.map(|trust| VerifiedArtifact::verify(kept, &trust, target, config.profile));
            checked.is_some_and(|checked| checked.is_ok())
        };
        source = compile(path, &mut source, (target, config.profile), usable)?;
    }
    // Now, since compiling may have made the user's development key.
    let trust = trusted(config, place == 0)?;
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

/// Whether a `.wasm` may be compiled here, and signed with the user's development key: not where keys
/// were installed, since then what runs is for their owner to say.
fn may_compile(path: &Path, target: Target, config: &Config) -> Result<()> {
    let own = user_key_dir();
    let mut installed = config.key_dirs.iter().filter(|keys| {
        let is_there = keys.as_path() != Path::new(SYSTEM_KEYS)
            // Who cannot tell takes it for there.
            || keys.try_exists().unwrap_or(true);
        own.as_ref() != Some(keys) && is_there
    });
    match installed.next() {
        None => Ok(()),
        Some(keys) => Err(Error::Usage(format!(
            "{0} is WebAssembly, and is not compiled here: keys are installed in {1}, so what runs has to be \
             signed with one of them; on the build host run: {PRECOMPILE} build {0} --target {target} --key FILE",
            path.display(),
            keys.display()
        ))),
    }
}
