//! Files that plugins come in: taken in, checked, compiled where that is possible.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use zlayer_bundle::{
    ArtifactError, KeyError, Profile, Target, TrustStore, VerifiedArtifact, user_key_dir,
};

use crate::config::{Config, SYSTEM_KEYS};
use crate::data_dir::{DataDir, temporary_folder};
use crate::error::{Error, Result, out_of_files};

/// The tool that turns a `.wasm` into what the daemon can run.
pub const PRECOMPILE: &str = "zlayer-precompile";

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
        source = compile(path, target, config.profile)?;
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

fn open(path: &Path) -> Result<File> {
    // Looked at before it is opened: opening a named pipe would wait for its other end.
    let opened = std::fs::metadata(path).and_then(|found| {
        if found.is_file() {
            File::open(path)
        } else if found.is_dir() {
            Err(std::io::ErrorKind::IsADirectory.into())
        } else {
            Err(std::io::Error::other("not a regular file"))
        }
    });
    opened.map_err(|error| Error::device(format!("cannot open {}", path.display()), error))
}

fn is_wasm(file: &File) -> std::io::Result<bool> {
    let mut magic = [0; 4];
    let count = std::os::unix::fs::FileExt::read_at(file, &mut magic, 0)?;
    Ok(&magic[..count] == b"\0asm")
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

/// Has a `.wasm` compiled by the host tool, if this machine has it, and opens the result.
fn compile(path: &Path, target: Target, profile: Profile) -> Result<File> {
    let folder = temporary_folder()
        .map_err(|error| Error::device("cannot make a folder for the compiled plugin", error))?;
    let compiled = || {
        let mut command = precompile_command();
        command
            .arg("build")
            .arg(path)
            .args(["--target", target.name(), "--profile", profile.name(), "-o"])
            .arg(&folder);
        // Standard output is for what this daemon has to say.
        command.stdout(std::io::stderr());
        let status = command
            .status()
            .map_err(|error| without_compiler(path, error))?;
        if !status.success() {
            return Err(Error::Forwarded(exit_code(status)));
        }
        let made = std::fs::read_dir(&folder).and_then(|mut entries| entries.next().transpose());
        match made {
            Ok(Some(entry)) => open(&entry.path()),
            Ok(None) => Err(Error::device(
                format!("{PRECOMPILE} made nothing of {}", path.display()),
                std::io::ErrorKind::NotFound.into(),
            )),
            Err(error) => Err(Error::device(
                format!("cannot read {}", folder.display()),
                error,
            )),
        }
    };
    let result = compiled();
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        log::warn!("cannot remove {}: {error}", folder.display());
    }
    result
}

/// The host tool: beside this program, else wherever PATH has it.
pub fn precompile_command() -> Command {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join(PRECOMPILE)));
    let found: PathBuf = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PRECOMPILE.into());
    Command::new(found)
}

/// What to tell someone whose machine has no compiler.
pub fn without_compiler(path: &Path, error: std::io::Error) -> Error {
    let target = Target::host().map_or("TARGET", Target::name);
    Error::device(
        format!(
            "{} is WebAssembly, which a device cannot compile, and {PRECOMPILE} is neither beside this program nor on PATH; \
             on the build host run: {PRECOMPILE} build {} --target {target}",
            path.display(),
            path.display()
        ),
        error,
    )
}

/// A child's exit code, or 128 and the signal that ended it.
pub fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
