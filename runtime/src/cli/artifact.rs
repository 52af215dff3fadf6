//! `zlayer wasm info FILE.cwasm` and `validate` on a device, which has no compiler: what an artifact
//! says of itself, and whether it would run here.

use std::fs::File;
use std::path::{Path, PathBuf};

use zlayer_bundle::{
    ArtifactError, ByteSize, Capabilities, Manifest, Profile, Role, SignatureState, Target,
    TrustStore, VerifiedArtifact, check_digest, open_regular, read_manifest,
};

use crate::error::{Error, Result};
use crate::logger;

/// A compiled file, and the folders or files of keys that count.
pub(super) struct Artifact {
    path: PathBuf,
    keys: Vec<PathBuf>,
}

impl Artifact {
    /// What `words` name behind the verb: one file, and `--keys`. None where that is no compiled file,
    /// or where they ask for more than can be told here.
    pub(super) fn named(words: &[String], default_keys: Vec<PathBuf>) -> Option<Artifact> {
        let (mut path, mut keys) = (None, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--keys" => keys.push(PathBuf::from(words.next()?)),
                flag if flag.starts_with('-') => return None,
                file if path.is_none() => path = Some(PathBuf::from(file)),
                _ => return None,
            }
        }
        let path = path.filter(|path| is_compiled(path))?;
        if keys.is_empty() {
            keys = default_keys;
        }
        Some(Artifact { path, keys })
    }

    /// Shows what it says of itself, and checks it against its own signature.
    ///
    /// # Errors
    ///
    /// It is damaged, or its signature is not of its manifest. Whether its signer is trusted is shown.
    pub(super) fn show(&self) -> Result<()> {
        let file = self.open()?;
        let (manifest, signature) = read_manifest(&file).map_err(|error| self.refused(error))?;
        let trust = self.trust()?;
        let signed = match &signature {
            SignatureState::Unsigned => "none: refused without --allow-unsigned".to_owned(),
            SignatureState::Valid(key) if trust.trusts(key) => {
                format!("valid, by {}, which is trusted here", key.id())
            }
            SignatureState::Valid(key) => {
                format!("valid, by {}, which is not trusted here", key.id())
            }
            SignatureState::Invalid(key) => format!("INVALID, names {}", key.id()),
        };
        logger::say(&shown(&manifest, &signed));
        if let SignatureState::Invalid(key) = signature {
            return Err(self.refused(ArtifactError::BadSignature { key: key.id() }));
        }
        check_digest(&file, &manifest).map_err(|error| self.refused(error))
    }

    /// Checks it as a daemon would that runs it, with the profile that it was built for.
    ///
    /// # Errors
    ///
    /// What the daemon would refuse it with.
    pub(super) fn validate(&self) -> Result<()> {
        let file = self.open()?;
        let (manifest, _) = read_manifest(&file).map_err(|error| self.refused(error))?;
        let target = Target::host().unwrap_or(manifest.target);
        let profile: Profile = manifest.profile;
        let verified = VerifiedArtifact::verify(file, &self.trust()?, target, profile)
            .map_err(|error| self.refused(error))?;
        let signer = verified.signer();
        let signer = signer.map_or_else(|| "nobody".to_owned(), |key| key.id().to_string());
        let Manifest {
            name,
            version,
            target,
            profile,
            ..
        } = verified.manifest();
        logger::say(&format!(
            "{}: valid artifact: {name} {version} for {target}, profile {profile}, signed by {signer}\n",
            self.path.display()
        ));
        Ok(())
    }

    fn open(&self) -> Result<File> {
        let what = || format!("cannot open {}", self.path.display());
        let opened = open_regular(&self.path).map(|(file, _)| file);
        opened.map_err(|error| Error::device(what(), error))
    }

    fn trust(&self) -> Result<TrustStore> {
        let mut trust = TrustStore::empty();
        for keys in &self.keys {
            let left_out = trust.load(keys);
            for left_out in left_out.map_err(|error| Error::Usage(format!("--keys: {error}")))? {
                log::warn!("{left_out}; this key is left out");
            }
        }
        Ok(trust)
    }

    fn refused(&self, source: ArtifactError) -> Error {
        Error::Artifact {
            path: self.path.clone(),
            source,
        }
    }
}

/// Whether a file is compiled code, by its first bytes. Errors are left to whoever opens it next.
fn is_compiled(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = |file: File| std::os::unix::fs::FileExt::read_exact_at(&file, &mut magic, 0);
    let opened = open_regular(path).map(|(file, _)| file);
    opened.and_then(read).is_ok() && magic == *b"\x7fELF"
}

/// A line for each thing that a manifest says. It holds no control characters, or it would not have
/// been read.
fn shown(manifest: &Manifest, signed: &str) -> String {
    let roles: Vec<_> = manifest.roles.iter().map(|role| role.name()).collect();
    let most = manifest.memory_max.map(|bytes| ByteSize(bytes).to_string());
    let memory = format!(
        "{} at first, {}",
        ByteSize(manifest.memory_initial),
        most.map_or("no bound of its own".to_owned(), |most| format!(
            "at most {most}"
        ))
    );
    let board = manifest.board.as_ref().map(ToString::to_string);
    let rows = [
        ("name", manifest.name.clone()),
        ("version", manifest.version.clone()),
        ("target", manifest.target.to_string()),
        ("profile", manifest.profile.to_string()),
        ("cpu flags", manifest.cpu_flags.join(" ")),
        ("board", board.unwrap_or_default()),
        ("engine", manifest.engine_version.clone()),
        ("signature", signed.to_owned()),
        ("digest", manifest.digest_text()),
        ("roles", roles.join(", ")),
        ("memory", memory),
        (
            "uses",
            Capabilities::imported(&manifest.imports).to_string(),
        ),
        (
            "granted",
            format!("{} by its roles", Role::capabilities_of(&manifest.roles)),
        ),
        ("imports", manifest.imports.join("\n           ")),
    ];
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(label, value)| format!("{label:<10} {value}\n"))
        .collect()
}
