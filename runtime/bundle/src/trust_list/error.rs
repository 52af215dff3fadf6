//! Why a trust list is refused.

use std::fmt;

use crate::{FileKind, KeyId};

/// Why a trust list is refused. The exit codes are those of [`ArtifactError`](crate::ArtifactError) for the same
/// reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustListError {
    /// Exit code 10: the one that is installed cannot be read. Holds why.
    Unreadable(String),
    /// Exit code 11: it is something else.
    NotAList(FileKind),
    /// Exit code 12: it ends too early.
    Truncated,
    /// Exit code 13: it has a format that this release does not know.
    UnknownFormat {
        /// The format that it states.
        found: u16,
        /// The one that this release reads.
        known: u16,
    },
    /// Exit code 14: what it says makes no sense. Holds what is wrong with it.
    Manifest(String),
    /// Exit code 15: nobody signed it.
    Unsigned,
    /// Exit code 16: the device has no root key to check it with.
    NoRoot,
    /// Exit code 16, too: it is signed by a key that is no root key here.
    UnknownRoot {
        /// The number of the list.
        number: u64,
        /// The key that it names.
        key: KeyId,
    },
    /// Exit code 17: the signature does not belong to what it says.
    BadSignature {
        /// The key that the list names.
        key: KeyId,
    },
    /// Exit code 25: a newer one is installed.
    Older {
        /// Its number.
        found: u64,
        /// That of the list that is installed.
        installed: u64,
    },
    /// Exit code 26: one of the same number with other content is installed.
    OtherContent {
        /// The number of both.
        number: u64,
    },
}

impl TrustListError {
    /// The exit code that both programs use for this case.
    pub fn exit_code(&self) -> u8 {
        match self {
            TrustListError::Unreadable(_) => 10,
            TrustListError::NotAList(_) => 11,
            TrustListError::Truncated => 12,
            TrustListError::UnknownFormat { .. } => 13,
            TrustListError::Manifest(_) => 14,
            TrustListError::Unsigned => 15,
            TrustListError::NoRoot | TrustListError::UnknownRoot { .. } => 16,
            TrustListError::BadSignature { .. } => 17,
            TrustListError::Older { .. } => 25,
            TrustListError::OtherContent { .. } => 26,
        }
    }
}

impl fmt::Display for TrustListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustListError::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            TrustListError::NotAList(FileKind::TrustList | FileKind::Unknown) => f.write_str(
                "it is no trust list, or has something else behind its end: make one with \
                 `zlayer-precompile trust-list`, or copy it again",
            ),
            TrustListError::NotAList(kind) => write!(f, "it is no trust list but {kind}"),
            TrustListError::Truncated => f.write_str("the trust list ends too early: copy it again"),
            TrustListError::UnknownFormat { found, known } => write!(
                f,
                "the trust list has format {found}, and this release reads format {known}: make it with the \
                 zlayer-precompile of this release, or update this program"
            ),
            TrustListError::Manifest(what) => write!(f, "the trust list {what}; make it again"),
            TrustListError::Unsigned => {
                f.write_str("the trust list has no signature: sign it with a root key")
            }
            TrustListError::NoRoot => f.write_str(
                "no root key is installed here that a trust list could be checked with: put the public root key, \
                 NAME.root, into the key folder",
            ),
            TrustListError::UnknownRoot { number, key } => write!(
                f,
                "trust list {number} is signed by root key {key}, which is none of those that count here: sign it \
                 with one that does; if an earlier list brought this root key, make this one with --after that list"
            ),
            TrustListError::BadSignature { key } => write!(
                f,
                "the signature by root key {key} does not fit the trust list: it was damaged or changed after it was \
                 signed; copy it again, or make it anew"
            ),
            TrustListError::Older { found, installed } => write!(
                f,
                "trust list {found} is older than {installed}, which is installed here: whoever brings it back would \
                 undo what {installed} revokes; install {installed} or a newer one"
            ),
            TrustListError::OtherContent { number } => write!(
                f,
                "trust list {number} is installed here with other content: two lists have the same number; make the \
                 one that shall count again with a higher --number"
            ),
        }
    }
}

impl std::error::Error for TrustListError {}
