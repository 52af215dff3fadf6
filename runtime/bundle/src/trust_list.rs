//! Trust lists: which keys a device trusts from now on, and what it runs no more, signed by a root key.
//!
//! ```text
//! [magic: 8][format: 2][signature length: 2][manifest length: 4][manifest, postcard][signature block: 0 or 96]
//! ```
//!
//! Numbers are little-endian. A file holds one list, or several behind one another: in front of the one that
//! counts stand those that each brought other root keys, so that a device that has seen none of them can follow
//! from the root key that it knows. No date is in a list: a device's clock may be wrong, so it counts numbers.

mod chain;
mod content;
mod error;
#[cfg(test)]
mod mutations;

pub use chain::{TrustFile, VerifiedTrust};
pub use content::{TRUST_ENTRIES_MAX, TRUST_ROOTS_MAX, TrustList, digest_of_text};
pub use error::TrustListError;

use content::MAX_MANIFEST;

use crate::signature::{self, SIGNATURE, SignatureState};
use crate::{FileKind, SecretKey};

/// The largest file, in bytes: a list takes 10 KiB at the most and some 200 bytes as a rule, and a root key is
/// changed a few times in a device's life.
pub const MAX_TRUST_FILE: usize = 64 << 10;

/// The first bytes of every list. The line feed shows a transfer that rewrote line ends.
pub const TRUST_LIST_MAGIC: [u8; 8] = *b"ZLTRUST\n";

/// The format of lists that this crate writes, and the only one that it reads.
const FORMAT: u16 = 1;

/// Length of what stands before the manifest, in bytes.
const FRONT: usize = 16;

/// What every signed message begins with, so that a signature made for anything else can never be taken
/// for one over a list.
const DOMAIN: &[u8] = b"zlayer trust list v1\0";

/// A list as it stands in a file, read but not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTrustList {
    /// What it says.
    pub list: TrustList,
    /// Who signed that, if anybody did.
    pub signature: SignatureState,
    bytes: Vec<u8>,
}

impl SignedTrustList {
    /// Reads the list that `bytes` begin with, and answers what stands behind it.
    fn read(bytes: &[u8]) -> Result<(SignedTrustList, &[u8]), TrustListError> {
        if !bytes.starts_with(&TRUST_LIST_MAGIC) {
            let begin = &bytes[..bytes.len().min(FRONT)];
            return Err(TrustListError::NotAList(FileKind::of(begin)));
        }
        let Some((front, rest)) = bytes.split_first_chunk::<FRONT>() else {
            return Err(TrustListError::Truncated);
        };
        let found = u16::from_le_bytes([front[8], front[9]]);
        if found != FORMAT {
            return Err(TrustListError::UnknownFormat {
                found,
                known: FORMAT,
            });
        }
        let signature_len = usize::from(u16::from_le_bytes([front[10], front[11]]));
        let manifest_len = u32::from_le_bytes([front[12], front[13], front[14], front[15]]);
        let manifest_len = usize::try_from(manifest_len).unwrap_or(usize::MAX);
        if manifest_len > MAX_MANIFEST {
            return Err(TrustListError::Manifest(format!(
                "takes {manifest_len} bytes and the limit is {MAX_MANIFEST}"
            )));
        }
        if signature_len != 0 && signature_len != SIGNATURE {
            return Err(TrustListError::Truncated);
        }
        if rest.len() < manifest_len + signature_len {
            return Err(TrustListError::Truncated);
        }
        let (bytes, behind) = bytes.split_at(FRONT + manifest_len + signature_len);
        let (signed, block) = bytes.split_at(FRONT + manifest_len);
        let signature = match <&[u8; SIGNATURE]>::try_from(block) {
            Ok(block) => signature::check(block, &message(signed)),
            Err(_) => SignatureState::Unsigned,
        };
        let list = TrustList::decode(&signed[FRONT..]);
        // What was damaged makes no sense on that account, and it is damage that is to be told.
        let list = list.map_err(|error| match signature {
            SignatureState::Invalid(key) => TrustListError::BadSignature { key: key.id() },
            _ => error,
        });
        let read = SignedTrustList {
            list: list?,
            signature,
            bytes: bytes.to_vec(),
        };
        Ok((read, behind))
    }
}

/// A list with this content. Without a key it is unsigned, and no device takes it. The same input always gives
/// the same bytes.
///
/// # Errors
///
/// When no device would take what it says.
pub fn seal_trust_list(
    list: &TrustList,
    root: Option<&SecretKey>,
) -> Result<Vec<u8>, TrustListError> {
    let manifest = list.encode()?;
    let signature_len = if root.is_some() { SIGNATURE as u16 } else { 0 };
    let mut bytes = Vec::from(TRUST_LIST_MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(signature_len.to_le_bytes());
    // `encode` bounds it to far less than a u32 holds.
    bytes.extend((manifest.len() as u32).to_le_bytes());
    bytes.extend(manifest);
    if let Some(root) = root {
        let block = signature::sign(root, &message(&bytes));
        bytes.extend(block);
    }
    Ok(bytes)
}

/// What a signature covers: all that stands before it.
fn message(signed: &[u8]) -> Vec<u8> {
    [DOMAIN, signed].concat()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn list() -> TrustList {
        TrustList {
            number: 7,
            keys: vec![SecretKey::from_seed([1; 32]).public()],
            ..TrustList::default()
        }
    }

    fn root() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    fn accepted(bytes: &[u8]) -> Result<TrustList, TrustListError> {
        let verified = TrustFile::read(bytes)?.verify(&[root().public()])?;
        Ok(verified.list().clone())
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let bytes = seal_trust_list(&list(), Some(&root())).unwrap();
        assert_eq!(accepted(&bytes).unwrap(), list());
        assert_eq!(
            bytes,
            seal_trust_list(&list(), Some(&root())).unwrap(),
            "the same input gives the same bytes"
        );
    }

    #[test]
    fn one_bit_changed_anywhere_is_refused() {
        let good = seal_trust_list(&list(), Some(&root())).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(accepted(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn one_that_ends_early_or_late_is_refused() {
        let good = seal_trust_list(&list(), Some(&root())).unwrap();
        for len in 0..good.len() {
            assert!(accepted(&good[..len]).is_err(), "{len} bytes");
        }
        let told = accepted(&good[..good.len() - 1]).unwrap_err();
        assert!(matches!(told, TrustListError::Truncated), "{told}");
        let told = accepted(&[&good[..], b"x"].concat()).unwrap_err();
        assert!(matches!(told, TrustListError::NotAList(_)), "{told}");
    }

    #[test]
    fn a_signature_over_anything_else_is_none_over_a_list() {
        // The same message without what a list's begins with.
        let mut bytes = seal_trust_list(&list(), None).unwrap();
        bytes[10] = SIGNATURE as u8;
        let block = signature::sign(&root(), &bytes);
        bytes.extend(block);
        let told = accepted(&bytes).unwrap_err();
        assert!(
            matches!(told, TrustListError::BadSignature { .. }),
            "{told}"
        );
    }
}
