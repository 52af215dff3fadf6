//! The check that stands between a file and the loader.

use std::fs::File;

use crate::digest::CodeDigest;
use crate::signature::SignatureState;
use crate::trailer::Trailer;
use crate::{
    ArtifactError, ENGINE_VERSION, EngineVersion, Manifest, Profile, PublicKey, Target, TrustStore,
};

/// An open artifact that may be loaded as code.
///
/// Only [`VerifiedArtifact::verify`] makes one. It holds the descriptor through which the
/// file was checked. Load through that descriptor, since the path may name another
/// file by now, and keep the file from being written to: what was checked is what is
/// mapped only as long as nobody changes it.
#[derive(Debug)]
pub struct VerifiedArtifact {
    file: File,
    manifest: Manifest,
    signer: Option<PublicKey>,
}

impl VerifiedArtifact {
    /// Checks an artifact: trailer, whether it is revoked, signature against `trust`, digest of the
    /// code, then target, engine release and profile. The first thing that is wrong is the answer.
    ///
    /// The file is read once, piece by piece, without moving its cursor.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the artifact, or that it cannot be read.
    pub fn verify(
        file: File,
        trust: &TrustStore,
        target: Target,
        profile: Profile,
    ) -> Result<VerifiedArtifact, ArtifactError> {
        let Trailer {
            manifest,
            signature,
        } = Trailer::from_file(&file)?;
        // Whether this is its code is checked below: what is said of it is refused in any case.
        check_revoked(&manifest, &signature, trust)?;
        let signer = match signature {
            SignatureState::Unsigned if trust.allows_unsigned() => None,
            SignatureState::Unsigned => return Err(ArtifactError::Unsigned),
            SignatureState::Valid(key) | SignatureState::Invalid(key) if !trust.trusts(&key) => {
                return Err(ArtifactError::UntrustedKey {
                    key: key.id(),
                    searched: trust.searched(),
                });
            }
            SignatureState::Invalid(key) => {
                return Err(ArtifactError::BadSignature { key: key.id() });
            }
            SignatureState::Valid(key) => Some(key),
        };
        check_digest(&file, &manifest)?;
        if manifest.target != target {
            return Err(ArtifactError::WrongTarget {
                found: manifest.target,
                wanted: target,
            });
        }
        check_engine(&manifest.engine_version, trust)?;
        if manifest.profile != profile {
            return Err(ArtifactError::WrongProfile {
                found: manifest.profile,
                wanted: profile,
            });
        }
        Ok(VerifiedArtifact {
            file,
            manifest,
            signer,
        })
    }

    /// What the artifact says about itself, which is now known to be true or, for an
    /// unsigned one, at least to be consistent.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The descriptor that was checked.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whose signature it carries. `None` only when unsigned artifacts are allowed.
    pub fn signer(&self) -> Option<&PublicKey> {
        self.signer.as_ref()
    }
}

/// Reads what an artifact says about itself, and whether a signature belongs to that.
/// Nothing of it is verified against any trust, and the code itself is not read.
///
/// # Errors
///
/// When the file cannot be read or has no trailer that makes sense.
pub fn read_manifest(file: &File) -> Result<(Manifest, SignatureState), ArtifactError> {
    let trailer = Trailer::from_file(file)?;
    Ok((trailer.manifest, trailer.signature))
}

/// Whether a trust list revokes the key that an artifact names, or its code. That the code has this digest, and that
/// the key signed it, is to be checked beside this.
///
/// # Errors
///
/// It does.
pub fn check_revoked(
    manifest: &Manifest,
    signature: &SignatureState,
    trust: &TrustStore,
) -> Result<(), ArtifactError> {
    trust.check_signer(signature)?;
    Ok(trust.check_digest(&manifest.digest)?)
}

/// Compares the release of the engine that compiled an artifact with what may run.
///
/// # Errors
///
/// It, or this program's own, is below the floor, or it is another one than this program's.
pub fn check_engine(found: &str, trust: &TrustStore) -> Result<(), ArtifactError> {
    let (floor, list) = trust.engine_floor();
    let is_below = |version: &str| version.parse().is_ok_and(|one: EngineVersion| one < floor);
    // Nothing that can be compiled for this program may run.
    if is_below(ENGINE_VERSION) {
        return Err(ArtifactError::OwnEngineBelowFloor {
            own: ENGINE_VERSION,
            floor,
            list,
        });
    }
    let found = found.to_owned();
    if is_below(&found) {
        return Err(ArtifactError::EngineBelowFloor { found, floor, list });
    }
    match found == ENGINE_VERSION {
        true => Ok(()),
        false => Err(ArtifactError::WrongEngine {
            found,
            wanted: ENGINE_VERSION,
        }),
    }
}

/// Compares the code in `file` with the digest in its manifest.
///
/// # Errors
///
/// [`ArtifactError::Altered`] when they differ, or that the file cannot be read.
pub fn check_digest(file: &File, manifest: &Manifest) -> Result<(), ArtifactError> {
    if CodeDigest::of_file(file, manifest.artifact_len)? == manifest.digest {
        Ok(())
    } else {
        Err(ArtifactError::Altered)
    }
}

/// As [`check_digest`], for the bytes of an artifact.
///
/// # Errors
///
/// [`ArtifactError::Altered`] when they differ.
pub fn check_digest_of(bytes: &[u8], manifest: &Manifest) -> Result<(), ArtifactError> {
    let length = usize::try_from(manifest.artifact_len).ok();
    let code = length.and_then(|length| bytes.get(..length));
    match code.map(CodeDigest::of) == Some(manifest.digest) {
        true => Ok(()),
        false => Err(ArtifactError::Altered),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{SecretKey, TrustList, seal};
    use std::io::{Seek as _, Write as _};
    use std::os::unix::fs::FileExt as _;

    const TARGET: Target = Target::X86_64;
    const PROFILE: Profile = Profile::Compact;

    fn key() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    fn trust() -> TrustStore {
        let mut trust = TrustStore::empty();
        trust.add(key().public());
        trust
    }

    fn manifest() -> Manifest {
        Manifest::new("hello", "1.0.0", TARGET, PROFILE)
    }

    /// A fake artifact of 256 bytes, begun like a real one.
    fn artifact() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\xc8".to_vec();
        bytes.extend((0..248_u32).map(|n| (n * 7 % 251) as u8));
        bytes
    }

    fn sealed() -> Vec<u8> {
        seal(artifact(), manifest(), Some(&key())).unwrap()
    }

    /// A file that no path names.
    fn file(bytes: &[u8]) -> File {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zlayer-artifact-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn verify(bytes: &[u8]) -> Result<VerifiedArtifact, ArtifactError> {
        VerifiedArtifact::verify(file(bytes), &trust(), TARGET, PROFILE)
    }

    #[test]
    fn a_signed_artifact_passes() {
        let verified = verify(&sealed()).unwrap();
        assert_eq!(verified.manifest().name, "hello");
        assert_eq!(verified.signer(), Some(&key().public()));
        assert_eq!(
            verified.file().metadata().unwrap().len(),
            sealed().len() as u64
        );
    }

    #[test]
    fn the_cursor_stays_where_it_was() {
        let mut file = file(&sealed());
        file.seek(std::io::SeekFrom::Start(17)).unwrap();
        let mut verified = VerifiedArtifact::verify(file, &trust(), TARGET, PROFILE).unwrap();
        assert_eq!(verified.file.stream_position().unwrap(), 17);
    }

    #[test]
    fn one_byte_changed_anywhere_is_refused() {
        let good = sealed();
        let file = file(&good);
        for (at, byte) in good.iter().enumerate() {
            // Another bit each time: every byte and every bit has its turn.
            file.write_all_at(&[byte ^ (1 << (at % 8))], at as u64)
                .unwrap();
            let copy = file.try_clone().unwrap();
            let result = VerifiedArtifact::verify(copy, &trust(), TARGET, PROFILE);
            assert!(result.is_err(), "byte {at} changed");
            file.write_all_at(&[*byte], at as u64).unwrap();
        }
        assert!(VerifiedArtifact::verify(file, &trust(), TARGET, PROFILE).is_ok());
    }

    #[test]
    fn truncation_anywhere_is_refused() {
        let good = sealed();
        let file = file(&good);
        for len in (0..good.len()).rev() {
            file.set_len(len as u64).unwrap();
            let copy = file.try_clone().unwrap();
            let result = VerifiedArtifact::verify(copy, &trust(), TARGET, PROFILE);
            assert!(result.is_err(), "cut to {len} bytes");
        }
    }

    #[test]
    fn appended_bytes_are_refused() {
        let good = sealed();
        for tail in [
            &b"\0"[..],
            b"\n",
            &[0xff; 24],
            &good[good.len() - 24..],
            &good,
        ] {
            assert!(
                verify(&[&good, tail].concat()).is_err(),
                "{} bytes more",
                tail.len()
            );
        }
    }

    #[test]
    fn the_trailer_of_another_artifact_is_refused() {
        let mut other = artifact();
        other[200] ^= 1;
        let trailer = &sealed()[artifact().len()..];
        let error = verify(&[&other, trailer].concat()).unwrap_err();
        assert!(matches!(error, ArtifactError::Altered), "{error}");
        other.push(0);
        let error = verify(&[&other, trailer].concat()).unwrap_err();
        assert!(matches!(error, ArtifactError::Truncated), "{error}");
    }

    #[test]
    fn a_stripped_signature_is_refused_unless_allowed() {
        let unsigned = seal(artifact(), manifest(), None).unwrap();
        let error = verify(&unsigned).unwrap_err();
        assert!(matches!(error, ArtifactError::Unsigned), "{error}");

        let mut trust = trust();
        trust.allow_unsigned(true);
        let verified = VerifiedArtifact::verify(file(&unsigned), &trust, TARGET, PROFILE).unwrap();
        assert_eq!(verified.signer(), None);
    }

    #[test]
    fn allowing_unsigned_still_checks_a_signature_that_is_there() {
        let mut trust = TrustStore::empty();
        trust.allow_unsigned(true);
        let error = VerifiedArtifact::verify(file(&sealed()), &trust, TARGET, PROFILE);
        assert!(matches!(
            error.unwrap_err(),
            ArtifactError::UntrustedKey { .. }
        ));
        // The digest too.
        let mut altered = seal(artifact(), manifest(), None).unwrap();
        altered[100] ^= 1;
        let error = VerifiedArtifact::verify(file(&altered), &trust, TARGET, PROFILE);
        assert!(matches!(error.unwrap_err(), ArtifactError::Altered));
    }

    #[test]
    fn an_untrusted_key_is_named() {
        let stranger = SecretKey::from_seed([8; 32]);
        let error = verify(&seal(artifact(), manifest(), Some(&stranger)).unwrap()).unwrap_err();
        assert!(
            matches!(error, ArtifactError::UntrustedKey { .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&stranger.public().id().to_string())
        );
    }

    #[test]
    fn a_changed_manifest_is_a_bad_signature() {
        let mut bytes = sealed();
        let name = bytes
            .windows(5)
            .position(|window| window == b"hello")
            .unwrap();
        bytes[name] = b'j';
        let error = verify(&bytes).unwrap_err();
        assert!(
            matches!(error, ArtifactError::BadSignature { .. }),
            "{error}"
        );
    }

    #[test]
    fn target_engine_and_profile_must_fit() {
        let refused = |manifest: Manifest| {
            verify(&seal(artifact(), manifest, Some(&key())).unwrap()).unwrap_err()
        };
        let error = refused(Manifest {
            target: Target::Armv7,
            ..manifest()
        });
        assert!(
            matches!(error, ArtifactError::WrongTarget { .. }),
            "{error}"
        );
        let error = refused(Manifest {
            engine_version: "48.0.9".to_owned(),
            ..manifest()
        });
        assert!(
            matches!(error, ArtifactError::WrongEngine { .. }),
            "{error}"
        );
        let error = refused(Manifest {
            profile: Profile::Wide,
            ..manifest()
        });
        assert!(
            matches!(error, ArtifactError::WrongProfile { .. }),
            "{error}"
        );
    }

    #[test]
    fn what_is_revoked_does_not_run_whoever_signed_it() {
        let revoking = |list: TrustList| {
            let mut trust = trust();
            trust.allow_unsigned(true);
            trust.heed(TrustList { number: 7, ..list });
            trust
        };
        let by_key = revoking(TrustList {
            revoked_keys: vec![key().public().id()],
            ..TrustList::default()
        });
        let error = VerifiedArtifact::verify(file(&sealed()), &by_key, TARGET, PROFILE);
        let error = error.unwrap_err();
        assert!(
            matches!(error, ArtifactError::RevokedKey { list: 7, .. }),
            "{error}"
        );
        // The code itself, under another signature or none.
        let digest = CodeDigest::of(&artifact());
        let by_digest = revoking(TrustList {
            revoked_digests: vec![digest],
            ..TrustList::default()
        });
        for bytes in [sealed(), seal(artifact(), manifest(), None).unwrap()] {
            let error = VerifiedArtifact::verify(file(&bytes), &by_digest, TARGET, PROFILE);
            let error = error.unwrap_err();
            assert!(
                matches!(error, ArtifactError::Revoked { list: 7, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn what_an_older_engine_compiled_is_below_the_floor() {
        let compiled_by = |engine: &str| Manifest {
            engine_version: engine.to_owned(),
            ..manifest()
        };
        let refused = |engine: &str, trust: &TrustStore| {
            let bytes = seal(artifact(), compiled_by(engine), Some(&key())).unwrap();
            let refused = VerifiedArtifact::verify(file(&bytes), trust, TARGET, PROFILE);
            refused.unwrap_err()
        };
        // Of the program itself, without any list.
        let error = refused("43.0.0", &trust());
        assert!(
            error
                .to_string()
                .contains("engine 43.0.0, and none below 43.0.1"),
            "{error}"
        );
        let heeding = |floor: &str| {
            let mut trust = trust();
            trust.heed(TrustList {
                number: 7,
                engine_floor: floor.parse().ok(),
                ..TrustList::default()
            });
            trust
        };
        let error = refused("47.0.0", &heeding("48.0.0"));
        assert!(
            error
                .to_string()
                .contains("none below 48.0.0 runs here by trust list 7"),
            "{error}"
        );
        // Where the program itself is below it, compiling again is no help.
        for engine in ["47.0.0", ENGINE_VERSION, "99.0.0"] {
            let error = refused(engine, &heeding("99.0.0"));
            assert!(
                matches!(error, ArtifactError::OwnEngineBelowFloor { .. })
                    && error.to_string().contains("update zlayer itself"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_manifest_is_read_without_any_trust() {
        let (manifest, signature) = read_manifest(&file(&sealed())).unwrap();
        assert_eq!(manifest.name, "hello");
        assert_eq!(signature, SignatureState::Valid(key().public()));
    }
}
