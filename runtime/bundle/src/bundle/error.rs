//! Why a bundle is refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::trust::Revoked;
use crate::{FileKind, KeyId, Profile, Target, hex};

/// Why a bundle is refused. The exit codes are those of
/// [`ArtifactError`](crate::ArtifactError) for the same reasons.
#[derive(Debug)]
#[non_exhaustive]
pub enum BundleError {
    /// Exit code 10: it cannot be read.
    Io(io::Error),
    /// Exit code 10, too: what it holds cannot be written.
    Write(io::Error),
    /// Exit code 11: it is something else.
    NotABundle(FileKind),
    /// Exit code 12: it ends too early.
    Truncated,
    /// Exit code 12, too: there are bytes behind its last blob.
    TooLong,
    /// Exit code 13: it has a format that this release does not know.
    UnknownFormat {
        /// The format that it states.
        found: u16,
        /// The one that this release reads.
        known: u16,
    },
    /// Exit code 14: its manifest makes no sense. Holds what is wrong with it.
    Manifest(String),
    /// Exit code 15: there is no signature, or it was stripped.
    Unsigned,
    /// Exit code 16: the signature is by a key that is not trusted here.
    UntrustedKey {
        /// The key that the bundle names.
        key: KeyId,
        /// Where trusted keys were looked for.
        searched: Vec<PathBuf>,
    },
    /// Exit code 17: the signature does not belong to this manifest.
    BadSignature {
        /// The key that the bundle names.
        key: KeyId,
    },
    /// Exit code 18: a blob is not what was signed.
    Altered,
    /// Exit code 19: its artifacts are for another processor.
    WrongTarget {
        /// What it was packed for.
        found: Target,
        /// What is needed.
        wanted: Target,
    },
    /// Exit code 21: its artifacts were compiled with other engine settings.
    WrongProfile {
        /// The settings that it was packed with.
        found: Profile,
        /// The settings that are in use here.
        wanted: Profile,
    },
    /// Exit code 22: the signature is by a key that a trust list revokes.
    RevokedKey {
        /// The key that the bundle names.
        key: KeyId,
        /// The number of the list.
        list: u64,
    },
    /// Exit code 23: a trust list revokes this very bundle, or a file in it.
    Revoked {
        /// The digest of its head, or of the file.
        digest: [u8; 32],
        /// The number of the list.
        list: u64,
    },
}

impl BundleError {
    /// The exit code that both programs use for this case, 10 to 23.
    pub fn exit_code(&self) -> u8 {
        match self {
            BundleError::Io(_) | BundleError::Write(_) => 10,
            BundleError::NotABundle(_) => 11,
            BundleError::Truncated | BundleError::TooLong => 12,
            BundleError::UnknownFormat { .. } => 13,
            BundleError::Manifest(_) => 14,
            BundleError::Unsigned => 15,
            BundleError::UntrustedKey { .. } => 16,
            BundleError::BadSignature { .. } => 17,
            BundleError::Altered => 18,
            BundleError::WrongTarget { .. } => 19,
            BundleError::WrongProfile { .. } => 21,
            BundleError::RevokedKey { .. } => 22,
            BundleError::Revoked { .. } => 23,
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleError::Io(error) => write!(f, "the bundle cannot be read: {error}"),
            BundleError::Write(error) => {
                write!(f, "what the bundle holds cannot be written: {error}")
            }
            BundleError::NotABundle(FileKind::Bundle | FileKind::Unknown) => f.write_str(
                "it is no bundle: make one of a deployment.yaml with `zlayer-precompile pack`",
            ),
            BundleError::NotABundle(kind) => write!(f, "it is no bundle but {kind}"),
            BundleError::Truncated => f.write_str("the bundle ends too early: copy it again"),
            BundleError::TooLong => {
                f.write_str("the bundle has bytes behind its end: copy it again")
            }
            BundleError::UnknownFormat { found, known } => write!(
                f,
                "the bundle has format {found}, and this release reads format {known}: pack it again with the \
                 zlayer-precompile of this release"
            ),
            BundleError::Manifest(what) => {
                write!(f, "the manifest of the bundle {what}; pack it again")
            }
            BundleError::Unsigned => f.write_str(
                "the bundle has no signature: pack it with --key FILE, or allow unsigned ones",
            ),
            BundleError::UntrustedKey { key, searched } => {
                write!(
                    f,
                    "the bundle is signed by key {key}, which is not trusted here: "
                )?;
                if searched.is_empty() {
                    return f.write_str("no key folder was given to look in");
                }
                f.write_str("put its .pub file into ")?;
                for (index, folder) in searched.iter().enumerate() {
                    let or = if index > 0 { " or " } else { "" };
                    write!(f, "{or}{}", folder.display())?;
                }
                Ok(())
            }
            BundleError::BadSignature { key } => write!(
                f,
                "the signature by key {key} does not fit the bundle: it was changed after it was signed; copy it \
                 again, or pack it anew"
            ),
            BundleError::Altered => f.write_str(
                "a file in the bundle is not the one that was signed: it was damaged or changed; copy it again",
            ),
            BundleError::WrongTarget { found, wanted } => write!(
                f,
                "the bundle is for {found}, and {wanted} is needed here: pack it with --target {wanted}"
            ),
            BundleError::WrongProfile { found, wanted } => write!(
                f,
                "the bundle is for the profile {found}, and {wanted} is in use here: pack it with --profile {wanted}"
            ),
            BundleError::RevokedKey { key, list } => write!(
                f,
                "the bundle is signed by key {key}, which trust list {list} revokes: pack it with a key that is \
                 trusted"
            ),
            BundleError::Revoked { digest, list } => write!(
                f,
                "trust list {list} revokes this bundle, or a file in it, by the digest {}: install a newer release",
                hex::encode(digest)
            ),
        }
    }
}

impl From<Revoked> for BundleError {
    fn from(revoked: Revoked) -> BundleError {
        match revoked {
            Revoked::Key(key, list) => BundleError::RevokedKey { key, list },
            Revoked::Digest(digest, list) => BundleError::Revoked { digest, list },
        }
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BundleError::Io(error) | BundleError::Write(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for BundleError {
    fn from(error: io::Error) -> BundleError {
        BundleError::Io(error)
    }
}
