//! Bundles: a deployment with its artifacts, for one target, in one signed file.
//!
//! ```text
//! [magic: 8][format: 2][signature length: 2][manifest length: 4][manifest, postcard][signature block: 0 or 96][blob]…
//! ```
//!
//! Numbers are little-endian. What is signed comes first and holds the SHA-256 of each blob, so whoever reads a
//! bundle knows before it keeps a byte of a blob whether that may run, and may read it from a pipe.

mod blob;
mod error;
mod manifest;
#[cfg(test)]
mod mutations;

pub use blob::{Blob, copy_blob};
pub use error::BundleError;
pub use manifest::{BundleManifest, MAX_BUNDLE_MANIFEST};

use std::io::{self, Read};

use crate::signature::{self, SIGNATURE, SignatureState};
use crate::{FileKind, PublicKey, SecretKey, TrustStore};

/// The first bytes of every bundle. The line feed shows a transfer that rewrote line ends.
pub(crate) const MAGIC: [u8; 8] = *b"ZLBUNDL\n";

/// The format of bundles that this crate writes, and the only one that it reads.
const FORMAT: u16 = 3;

/// Length of what stands before the manifest, in bytes.
const FRONT: usize = 16;

/// What every signed message begins with, so that a signature made for anything else can never be taken
/// for one over a bundle.
const DOMAIN: &[u8] = b"zlayer bundle v1\0";

/// What stands before the blobs of a bundle, read but not trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleHead {
    /// What the bundle says about itself.
    pub manifest: BundleManifest,
    /// Who signed that, if anybody did.
    pub signature: SignatureState,
    bytes: Vec<u8>,
}

impl BundleHead {
    /// Reads the head of a bundle, and not a byte more.
    ///
    /// # Errors
    ///
    /// When it is no bundle, or its head does not make sense. A bad signature is not an error here but a
    /// [`SignatureState`].
    pub fn read(from: &mut impl Read) -> Result<BundleHead, BundleError> {
        let mut front = [0; FRONT];
        let got = read_full(from, &mut front)?;
        if front[..MAGIC.len().min(got)] != MAGIC[..MAGIC.len().min(got)] || got < MAGIC.len() {
            return Err(BundleError::NotABundle(FileKind::of(&front[..got])));
        }
        if got < FRONT {
            return Err(BundleError::Truncated);
        }
        let format = u16::from_le_bytes([front[8], front[9]]);
        if format != FORMAT {
            return Err(BundleError::UnknownFormat {
                found: format,
                known: FORMAT,
            });
        }
        let signature_len = usize::from(u16::from_le_bytes([front[10], front[11]]));
        let manifest_len =
            u32::from_le_bytes([front[12], front[13], front[14], front[15]]) as usize;
        // Checked before anything is allocated.
        if manifest_len > MAX_BUNDLE_MANIFEST {
            return Err(BundleError::Manifest(format!(
                "takes {manifest_len} bytes and the limit is {MAX_BUNDLE_MANIFEST}"
            )));
        }
        if signature_len != 0 && signature_len != SIGNATURE {
            return Err(BundleError::Truncated);
        }
        let mut bytes = Vec::from(front);
        // In pieces, so that a length alone takes no memory.
        let rest = (manifest_len + signature_len) as u64;
        from.take(rest).read_to_end(&mut bytes)?;
        if bytes.len() != FRONT + manifest_len + signature_len {
            return Err(BundleError::Truncated);
        }
        let (signed, block) = bytes.split_at(FRONT + manifest_len);
        let signature = match <&[u8; SIGNATURE]>::try_from(block) {
            Ok(block) => signature::check(block, &message(signed)),
            Err(_) => SignatureState::Unsigned,
        };
        let manifest = BundleManifest::decode(&signed[FRONT..])?;
        Ok(BundleHead {
            manifest,
            signature,
            bytes,
        })
    }

    /// Checks the signature against `trust`.
    ///
    /// # Errors
    ///
    /// Nobody signed it, or somebody whom nobody trusts here, or it was changed since; or it, or a file in it,
    /// is revoked.
    pub fn verify(self, trust: &TrustStore) -> Result<VerifiedBundle, BundleError> {
        self.check_revoked(trust)?;
        let signer = match self.signature {
            SignatureState::Unsigned if trust.allows_unsigned() => None,
            SignatureState::Unsigned => return Err(BundleError::Unsigned),
            SignatureState::Valid(key) | SignatureState::Invalid(key) if !trust.trusts(&key) => {
                return Err(BundleError::UntrustedKey {
                    key: key.id(),
                    searched: trust.searched(),
                });
            }
            SignatureState::Invalid(key) => {
                return Err(BundleError::BadSignature { key: key.id() });
            }
            SignatureState::Valid(key) => Some(key),
        };
        Ok(VerifiedBundle { head: self, signer })
    }

    /// Whether a trust list revokes the key that it names, it, or a file in it.
    ///
    /// # Errors
    ///
    /// It does.
    pub fn check_revoked(&self, trust: &TrustStore) -> Result<(), BundleError> {
        trust.check_signer(&self.signature)?;
        for blob in &self.manifest.blobs {
            trust.check_digest(&blob.digest)?;
        }
        Ok(trust.check_digest(&self.digest())?)
    }

    /// The SHA-256 of the head, which a trust list may revoke. It stands for the whole bundle, for the digests of
    /// the files are in it.
    pub fn digest(&self) -> [u8; 32] {
        Blob::of(&self.bytes).digest
    }

    /// The same in lower-case hexadecimal digits.
    pub fn digest_text(&self) -> String {
        Blob::of(&self.bytes).name()
    }

    /// The head as it stands in the file: from this alone it can be read and checked again.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The head of a bundle whose owner is trusted here. Only [`BundleHead::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    head: BundleHead,
    signer: Option<PublicKey>,
}

impl VerifiedBundle {
    /// What the bundle says about itself.
    pub fn manifest(&self) -> &BundleManifest {
        &self.head.manifest
    }

    /// The head as it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.head.bytes
    }

    /// The digest by which a trust list may revoke it, in lower-case hexadecimal digits.
    pub fn digest_text(&self) -> String {
        self.head.digest_text()
    }

    /// Whose signature it carries. `None` only when unsigned ones are allowed.
    pub fn signer(&self) -> Option<&PublicKey> {
        self.signer.as_ref()
    }
}

/// The head of a bundle with this manifest; the blobs are to follow, each as its [`Blob`] has it. Without a
/// key it is unsigned. The same input always gives the same bytes.
///
/// # Errors
///
/// When the manifest is too large, or no device would take it.
pub fn seal_bundle(
    manifest: &BundleManifest,
    key: Option<&SecretKey>,
) -> Result<Vec<u8>, BundleError> {
    let manifest = manifest.encode()?;
    let signature_len = if key.is_some() { SIGNATURE as u16 } else { 0 };
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(signature_len.to_le_bytes());
    // `encode` bounds it to far less than a u32 holds.
    bytes.extend((manifest.len() as u32).to_le_bytes());
    bytes.extend(manifest);
    if let Some(key) = key {
        let block = signature::sign(key, &message(&bytes));
        bytes.extend(block);
    }
    Ok(bytes)
}

/// What a signature covers: all that stands before it.
fn message(signed: &[u8]) -> Vec<u8> {
    [DOMAIN, signed].concat()
}

/// Reads until `buffer` is full or there is no more, and answers how much there was.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{Deployment, Profile, Service, Target, TrustList};

    fn key() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    fn trust() -> TrustStore {
        let mut trust = TrustStore::empty();
        trust.add(key().public());
        trust
    }

    fn manifest() -> BundleManifest {
        BundleManifest {
            target: Target::Aarch64,
            profile: Profile::Compact,
            deployment: Deployment {
                name: "d".to_owned(),
                services: vec![Service {
                    name: Some("s".to_owned()),
                    ..Service::default()
                }],
                ..Deployment::default()
            },
            blobs: vec![Blob::of(b"code")],
            artifacts: vec![0],
            images: vec![None],
        }
    }

    fn sealed() -> Vec<u8> {
        seal_bundle(&manifest(), Some(&key())).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<VerifiedBundle, BundleError> {
        BundleHead::read(&mut &*bytes)?.verify(&trust())
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_not_a_byte_more() {
        let bytes = [sealed(), b"code".to_vec()].concat();
        let mut from = bytes.as_slice();
        let head = BundleHead::read(&mut from).unwrap();
        assert_eq!(head.manifest, manifest());
        assert_eq!(from, b"code");
        assert_eq!(head.bytes(), sealed());
        assert_eq!(read(&bytes).unwrap().signer(), Some(&key().public()));
    }

    #[test]
    fn one_bit_changed_anywhere_is_refused() {
        let good = sealed();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(read(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_head_that_ends_early_is_refused() {
        let good = sealed();
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "{len} bytes");
        }
        assert!(matches!(read(&good[..40]), Err(BundleError::Truncated)));
        assert!(matches!(
            read(b"ZLB"),
            Err(BundleError::NotABundle(FileKind::Text))
        ));
    }

    #[test]
    fn who_signed_it_counts() {
        let unsigned = seal_bundle(&manifest(), None).unwrap();
        assert!(matches!(read(&unsigned), Err(BundleError::Unsigned)));
        let mut lax = trust();
        lax.allow_unsigned(true);
        let head = BundleHead::read(&mut unsigned.as_slice()).unwrap();
        assert!(head.verify(&lax).unwrap().signer().is_none());
        let stranger = SecretKey::from_seed([8; 32]);
        let bytes = seal_bundle(&manifest(), Some(&stranger)).unwrap();
        let error = read(&bytes).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&stranger.public().id().to_string())
        );
        assert!(matches!(error, BundleError::UntrustedKey { .. }));
    }

    #[test]
    fn what_is_revoked_is_refused_whoever_signed_it() {
        let bytes = sealed();
        let refused = |list: TrustList| {
            let mut trust = trust();
            trust.heed(TrustList { number: 7, ..list });
            let head = BundleHead::read(&mut bytes.as_slice()).unwrap();
            head.verify(&trust).unwrap_err()
        };
        let error = refused(TrustList {
            revoked_keys: vec![key().public().id()],
            ..TrustList::default()
        });
        assert!(
            matches!(error, BundleError::RevokedKey { list: 7, .. }),
            "{error}"
        );
        for digest in [Blob::of(&bytes).digest, Blob::of(b"code").digest] {
            let error = refused(TrustList {
                revoked_digests: vec![digest],
                ..TrustList::default()
            });
            assert!(
                matches!(error, BundleError::Revoked { list: 7, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_length_that_is_a_lie_takes_no_memory() {
        let mut bad = sealed();
        bad[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read(&bad).unwrap_err();
        assert!(error.to_string().contains("the limit is"), "{error}");
    }
}
