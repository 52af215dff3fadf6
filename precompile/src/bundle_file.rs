//! A bundle as a file: read whole and compared with what it says about itself.

use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use zlayer_bundle::{
    ArtifactError, BundleError, BundleHead, SignatureState, Trailer, TrustStore, check_digest_of,
    check_engine, check_revoked, copy_blob,
};

use crate::input::open_input;

/// A bundle whose files are those that its head names. Whether anybody trusts its signer is another matter.
#[derive(Debug)]
pub struct BundleFile {
    /// What stands in front of the artifacts.
    pub head: BundleHead,
    /// Its length in bytes.
    pub length: u64,
    /// What each blob says about itself, in their order.
    pub artifacts: Vec<Trailer>,
}

impl BundleFile {
    /// Reads a bundle to its end, an artifact at a time.
    ///
    /// # Errors
    ///
    /// [`BundleError`] where it is damaged or no bundle, [`ArtifactError`] where what it holds is no artifact
    /// for the device that it is for, and that it cannot be read.
    pub fn read(path: &Path) -> Result<BundleFile> {
        let shown = || path.display().to_string();
        let (file, _) = open_input(path, "give the .zlb file")?;
        let mut from = BufReader::new(file);
        let head = BundleHead::read(&mut from).with_context(shown)?;
        let mut length = head.bytes().len() as u64;
        let mut artifacts = Vec::new();
        for blob in &head.manifest.blobs {
            // It grows with what comes, whatever the head says.
            let mut bytes = Vec::new();
            copy_blob(blob, &mut from, &mut bytes).with_context(shown)?;
            let artifact = artifact(&bytes, &head);
            artifacts.push(artifact.with_context(|| format!("{}: blob {}", shown(), blob.name()))?);
            length += blob.len;
        }
        if from.read(&mut [0]).map_err(BundleError::Io)? > 0 {
            return Err(BundleError::TooLong).with_context(shown);
        }
        Ok(BundleFile {
            head,
            length,
            artifacts,
        })
    }

    /// Holds it and all that is in it to a trust list, as a device would.
    ///
    /// # Errors
    ///
    /// It, its signer or something in it is revoked, or below the list's engine floor.
    pub fn check_revoked(&self, trust: &TrustStore) -> Result<()> {
        self.head.check_revoked(trust)?;
        for artifact in &self.artifacts {
            let manifest = &artifact.manifest;
            let checked = check_revoked(manifest, &artifact.signature, trust)
                .and_then(|()| check_engine(&manifest.engine_version, trust));
            checked.with_context(|| format!("plugin {}", manifest.name))?;
        }
        Ok(())
    }

    /// Whether it and all that is in it is what its signer has signed, where there is one.
    ///
    /// # Errors
    ///
    /// A signature does not fit.
    pub fn check_signatures(&self) -> Result<()> {
        if let SignatureState::Invalid(key) = &self.head.signature {
            return Err(BundleError::BadSignature { key: key.id() }.into());
        }
        for artifact in &self.artifacts {
            if let SignatureState::Invalid(key) = &artifact.signature {
                let error = ArtifactError::BadSignature { key: key.id() };
                return Err(error).with_context(|| format!("plugin {}", artifact.manifest.name));
            }
        }
        Ok(())
    }

    /// What the artifact of the service at this place says about itself.
    pub fn artifact(&self, service: usize) -> Option<&Trailer> {
        let blob = *self.head.manifest.artifacts.get(service)?;
        self.artifacts.get(usize::try_from(blob).ok()?)
    }
}

fn artifact(bytes: &[u8], head: &BundleHead) -> Result<Trailer, ArtifactError> {
    let artifact = Trailer::from_bytes(bytes)?;
    let manifest = &artifact.manifest;
    check_digest_of(bytes, manifest)?;
    let (target, profile) = (head.manifest.target, head.manifest.profile);
    if manifest.target != target {
        return Err(ArtifactError::WrongTarget {
            found: manifest.target,
            wanted: target,
        });
    }
    if manifest.profile != profile {
        return Err(ArtifactError::WrongProfile {
            found: manifest.profile,
            wanted: profile,
        });
    }
    check_engine(&manifest.engine_version, &TrustStore::empty())?;
    Ok(artifact)
}
