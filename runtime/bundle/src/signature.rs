//! The signature block of artifacts and bundles.

use crate::{PublicKey, SecretKey};

/// Length of a signature block, in bytes: public key, then signature.
pub(crate) const SIGNATURE: usize = 32 + 64;

/// Who signed a manifest. A valid signature by an unknown key is worth nothing: trust is
/// another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureState {
    /// There is no signature.
    Unsigned,
    /// The signature belongs to the manifest and was made with this key.
    Valid(PublicKey),
    /// The file names this key, but the signature does not fit.
    Invalid(PublicKey),
}

impl SignatureState {
    /// The key that the file names, whether or not its signature fits.
    pub fn key(&self) -> Option<PublicKey> {
        match self {
            SignatureState::Unsigned => None,
            SignatureState::Valid(key) | SignatureState::Invalid(key) => Some(*key),
        }
    }

    /// Whether there is a signature that fits.
    pub fn is_valid(&self) -> bool {
        matches!(self, SignatureState::Valid(_))
    }
}

/// The signature block of a message.
pub(crate) fn sign(key: &SecretKey, message: &[u8]) -> Vec<u8> {
    [key.public().as_bytes().as_slice(), &key.sign(message)].concat()
}

/// Whether the block belongs to the message.
pub(crate) fn check(block: &[u8; SIGNATURE], message: &[u8]) -> SignatureState {
    let (mut key, mut signature) = ([0; 32], [0; 64]);
    key.copy_from_slice(&block[..32]);
    signature.copy_from_slice(&block[32..]);
    let key = PublicKey::from_bytes(key);
    if key.verifies(message, &signature) {
        SignatureState::Valid(key)
    } else {
        SignatureState::Invalid(key)
    }
}
