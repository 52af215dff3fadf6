//! Why an artifact is refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::keys::KeyId;
use crate::trust::Revoked;
use crate::{ENGINE_VERSION, EngineVersion, Profile, Target, hex};

/// Why an artifact is refused. Each case has an exit code of its own, so that a script
/// can tell a missing key from a damaged download.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Exit code 10: the file could not be read.
    Io(io::Error),
    /// Exit code 11: there is no trailer. The file is something else, or came from the
    /// engine's own compiler, or its trailer was stripped.
    NoTrailer,
    /// Exit code 11, too: it is WebAssembly.
    NotCompiled,
    /// Exit code 12: the file ends too early, or has other bytes behind its trailer.
    Truncated,
    /// Exit code 13: the trailer or the manifest has a format that this release does not know.
    UnknownFormat {
        /// The format that the file states.
        found: u16,
        /// The newest format that this release reads.
        known: u16,
    },
    /// Exit code 14: the manifest makes no sense. Holds what is wrong with it.
    Manifest(String),
    /// Exit code 15: there is no signature, or it was stripped.
    Unsigned,
    /// Exit code 16: the signature is by a key that is not trusted here.
    UntrustedKey {
        /// The key that the file names.
        key: KeyId,
        /// Where trusted keys were looked for.
        searched: Vec<PathBuf>,
    },
    /// Exit code 17: the signature does not belong to this manifest.
    BadSignature {
        /// The key that the file names.
        key: KeyId,
    },
    /// Exit code 18: the code is not the code that was signed.
    Altered,
    /// Exit code 19: the code is for another processor.
    WrongTarget {
        /// What the file was compiled for.
        found: Target,
        /// What was asked for.
        wanted: Target,
    },
    /// Exit code 20: the code was compiled by another engine release.
    WrongEngine {
        /// The release that compiled the file.
        found: String,
        /// The release that is linked here.
        wanted: &'static str,
    },
    /// Exit code 21: the code was compiled with other engine settings.
    WrongProfile {
        /// The settings that the file was compiled with.
        found: Profile,
        /// The settings that are in use here.
        wanted: Profile,
    },
    /// Exit code 22: the signature is by a key that a trust list revokes.
    RevokedKey {
        /// The key that the file names.
        key: KeyId,
        /// The number of the list.
        list: u64,
    },
    /// Exit code 23: a trust list revokes this very code.
    Revoked {
        /// Its digest.
        digest: [u8; 32],
        /// The number of the list.
        list: u64,
    },
    /// Exit code 24: an engine compiled the code whose code does not run any more.
    EngineBelowFloor {
        /// The release that compiled the file.
        found: String,
        /// The lowest release whose code runs.
        floor: EngineVersion,
        /// The number of the list that says so. `None`: this program does.
        list: Option<u64>,
    },
    /// Exit code 24, too: this program's own engine is below the floor, so nothing may run in it.
    OwnEngineBelowFloor {
        /// The release that is linked here.
        own: &'static str,
        /// The lowest release whose code runs.
        floor: EngineVersion,
        /// The number of the list that says so.
        list: Option<u64>,
    },
}

impl ArtifactError {
    /// The exit code that both programs use for this case, 10 to 24.
    pub fn exit_code(&self) -> u8 {
        match self {
            ArtifactError::Io(_) => 10,
            ArtifactError::NoTrailer | ArtifactError::NotCompiled => 11,
            ArtifactError::Truncated => 12,
            ArtifactError::UnknownFormat { .. } => 13,
            ArtifactError::Manifest(_) => 14,
            ArtifactError::Unsigned => 15,
            ArtifactError::UntrustedKey { .. } => 16,
            ArtifactError::BadSignature { .. } => 17,
            ArtifactError::Altered => 18,
            ArtifactError::WrongTarget { .. } => 19,
            ArtifactError::WrongEngine { .. } => 20,
            ArtifactError::WrongProfile { .. } => 21,
            ArtifactError::RevokedKey { .. } => 22,
            ArtifactError::Revoked { .. } => 23,
            ArtifactError::EngineBelowFloor { .. } | ArtifactError::OwnEngineBelowFloor { .. } => {
                24
            }
        }
    }
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactError::Io(error) => write!(f, "the artifact cannot be read: {error}"),
            ArtifactError::NoTrailer => f.write_str(
                "no trailer: the file was not made by zlayer-precompile, or its trailer was \
                 stripped; build it again with `zlayer-precompile build`",
            ),
            ArtifactError::NotCompiled => f.write_str(
                "it is WebAssembly, which no device runs as it is, and its name does not say so: \
                 compile it with `zlayer-precompile build`, or name it .wasm to have it compiled where \
                 that is possible",
            ),
            ArtifactError::Truncated => f.write_str(
                "the artifact ends too early or has other bytes behind its trailer: copy it again",
            ),
            ArtifactError::UnknownFormat { found, known } => write!(
                f,
                "the artifact has format {found}, and this release reads format {known}: build it \
                 again with the zlayer-precompile of this release"
            ),
            ArtifactError::Manifest(what) => {
                write!(f, "the manifest {what}; build the artifact again")
            }
            ArtifactError::Unsigned => f.write_str(
                "the artifact has no signature: sign it with `zlayer-precompile sign`, or allow \
                 unsigned artifacts",
            ),
            ArtifactError::UntrustedKey { key, searched } => {
                write!(
                    f,
                    "the artifact is signed by key {key}, which is not trusted here: "
                )?;
                if searched.is_empty() {
                    return f.write_str("no key folder was given to look in");
                }
                f.write_str("put its .pub file into ")?;
                for (index, dir) in searched.iter().enumerate() {
                    let or = if index > 0 { " or " } else { "" };
                    let there = if dir.is_dir() {
                        ""
                    } else {
                        ", a folder that is not there yet"
                    };
                    write!(f, "{or}{}{there}", dir.display())?;
                }
                Ok(())
            }
            ArtifactError::BadSignature { key } => write!(
                f,
                "the signature by key {key} does not fit the manifest: the file was changed after \
                 it was signed; copy it again, or sign it anew"
            ),
            ArtifactError::Altered => f.write_str(
                "the code is not the code that was signed: the file was damaged or changed; copy \
                 it again",
            ),
            ArtifactError::WrongTarget { found, wanted } => write!(
                f,
                "compiled for {found}, and {wanted} is needed here: build it with --target {wanted}"
            ),
            ArtifactError::WrongEngine { found, wanted } => write!(
                f,
                "compiled by engine {found}, and {wanted} is needed here: build it with the \
                 zlayer-precompile of this release"
            ),
            ArtifactError::WrongProfile { found, wanted } => write!(
                f,
                "compiled with profile {found}, and {wanted} is in use here: build it with \
                 --profile {wanted}"
            ),
            ArtifactError::RevokedKey { key, list } => write!(
                f,
                "the artifact is signed by key {key}, which trust list {list} revokes: build it again, or sign it \
                 with a key that is trusted"
            ),
            ArtifactError::Revoked { digest, list } => write!(
                f,
                "trust list {list} revokes this very code, digest {}: build the plugin's mended version",
                hex::encode(digest)
            ),
            ArtifactError::EngineBelowFloor { found, floor, list } => {
                write!(f, "compiled by engine {found}, and none below {floor} runs here")?;
                by_list(f, *list)?;
                write!(
                    f,
                    ", for what older ones compiled may get out of the sandbox: compile it again with the \
                     zlayer-precompile of this release, whose engine is {ENGINE_VERSION}"
                )
            }
            ArtifactError::OwnEngineBelowFloor { own, floor, list } => {
                write!(f, "none below engine {floor} runs")?;
                by_list(f, *list)?;
                write!(
                    f,
                    ", and this program's own is {own}: update zlayer itself, and compile again with its \
                     zlayer-precompile"
                )
            }
        }
    }
}

fn by_list(f: &mut fmt::Formatter<'_>, list: Option<u64>) -> fmt::Result {
    match list {
        Some(number) => write!(f, " by trust list {number}"),
        None => Ok(()),
    }
}

impl From<Revoked> for ArtifactError {
    fn from(revoked: Revoked) -> ArtifactError {
        match revoked {
            Revoked::Key(key, list) => ArtifactError::RevokedKey { key, list },
            Revoked::Digest(digest, list) => ArtifactError::Revoked { digest, list },
        }
    }
}

impl std::error::Error for ArtifactError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ArtifactError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ArtifactError {
    fn from(error: io::Error) -> ArtifactError {
        ArtifactError::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ENGINE_FLOOR, SecretKey};

    #[test]
    fn exit_codes_are_distinct_and_above_the_general_ones() {
        let key = SecretKey::from_seed([1; 32]).public().id();
        let all = [
            ArtifactError::Io(io::Error::other("x")),
            ArtifactError::NoTrailer,
            ArtifactError::Truncated,
            ArtifactError::UnknownFormat { found: 2, known: 1 },
            ArtifactError::Manifest("is odd".to_owned()),
            ArtifactError::Unsigned,
            ArtifactError::UntrustedKey {
                key,
                searched: Vec::new(),
            },
            ArtifactError::BadSignature { key },
            ArtifactError::Altered,
            ArtifactError::WrongTarget {
                found: Target::Armv7,
                wanted: Target::Aarch64,
            },
            ArtifactError::WrongEngine {
                found: "1".to_owned(),
                wanted: "2",
            },
            ArtifactError::WrongProfile {
                found: Profile::Wide,
                wanted: Profile::Compact,
            },
            ArtifactError::RevokedKey { key, list: 1 },
            ArtifactError::Revoked {
                digest: [0; 32],
                list: 1,
            },
            ArtifactError::EngineBelowFloor {
                found: "1".to_owned(),
                floor: ENGINE_FLOOR,
                list: None,
            },
        ];
        let codes: Vec<u8> = all.iter().map(ArtifactError::exit_code).collect();
        assert_eq!(codes, (10..=24).collect::<Vec<u8>>());
    }

    #[test]
    fn an_untrusted_key_says_where_its_file_goes() {
        let key = SecretKey::from_seed([1; 32]).public().id();
        let searched = vec![PathBuf::from("/"), PathBuf::from("/no/such/folder")];
        let text = ArtifactError::UntrustedKey { key, searched }.to_string();
        assert!(text.contains(&key.to_string()), "{text}");
        let whither = "into / or /no/such/folder, a folder that is not there yet";
        assert!(text.ends_with(whither), "{text}");
    }
}
