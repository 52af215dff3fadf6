//! What can go wrong before and beside serving, and whose fault it is.

mod unknown;

use std::fmt;
use std::path::PathBuf;

use zlayer_bundle::{ArtifactError, BundleError, TrustListError};

pub use unknown::Unknown;

/// Exit code of what went well.
pub const EXIT_SUCCESS: u8 = 0;
/// Exit code for trouble with the device: ports, folders, memory, threads.
pub const EXIT_DEVICE: u8 = 1;
/// Exit code for flags that cannot be understood.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for a plugin that is well signed but cannot be run here.
pub const EXIT_PLUGIN: u8 = 3;
/// Exit code of `zlayer status` for a daemon that answers and is not well.
pub const EXIT_UNHEALTHY: u8 = 4;
/// Exit code of a daemon that a second signal ended while it drained.
pub const EXIT_SIGNALLED: u8 = 130;

/// Why the daemon did not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A flag or its value is wrong.
    Usage(String),
    /// The deployment wants to know what this device does not.
    Unknown(Unknown),
    /// The artifact was refused before a byte of it was mapped.
    Artifact {
        /// The file as it was named.
        path: PathBuf,
        /// What is wrong with it.
        source: ArtifactError,
    },
    /// The bundle was refused.
    Bundle {
        /// The file as it was named.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// A trust list was refused, or the one that is installed cannot be checked.
    TrustList {
        /// Which of both.
        which: WhichList,
        /// What is wrong with it.
        source: TrustListError,
    },
    /// The plugin is authentic but cannot be linked or loaded here.
    Plugin {
        /// The plugin's name.
        name: String,
        /// The engine's words.
        reason: String,
    },
    /// The device refused something: a port, a folder, a file.
    Device {
        /// What was tried, with the name of the thing, and what would mend it.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something on the device is as it should not be, and starting would do harm.
    Refused(String),
    /// The daemon that was asked refused, for this reason, which would end a program of its own with this code.
    Told {
        /// The exit code.
        code: u8,
        /// What the daemon said.
        reason: String,
    },
    /// The tool that a `.wasm` was handed to ended with this code, after its own message.
    Forwarded(u8),
}

/// The daemon's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A [`Error::Device`] in one call.
    pub fn device(what: impl Into<String>, source: std::io::Error) -> Error {
        Error::Device {
            what: what.into(),
            source,
        }
    }

    /// The same, of a daemon that runs: it may mend less while it does.
    pub fn while_running(self) -> Error {
        match self {
            Error::Unknown(unknown) => Error::Unknown(Unknown {
                is_running: true,
                ..unknown
            }),
            other => other,
        }
    }

    /// The process's exit code: 1 device, 2 usage, 3 plugin, 10 and up those of
    /// [`ArtifactError::exit_code`], [`BundleError::exit_code`] and [`TrustListError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Unknown(_) => EXIT_USAGE,
            Error::Artifact { source, .. } => source.exit_code(),
            Error::Bundle { source, .. } => source.exit_code(),
            Error::TrustList { source, .. } => source.exit_code(),
            Error::Plugin { .. } => EXIT_PLUGIN,
            Error::Device { .. } | Error::Refused(_) => EXIT_DEVICE,
            Error::Forwarded(code) | Error::Told { code, .. } => *code,
        }
    }
}

/// Which trust list is meant.
#[derive(Debug)]
pub enum WhichList {
    /// One that was given, by this name.
    Given(PathBuf),
    /// That of a data folder.
    Installed {
        /// Its file.
        path: PathBuf,
        /// Where root keys were looked for.
        key_dirs: Vec<PathBuf>,
    },
}

/// Whether the process may not open one file more: the limit's fault, whatever was to be opened.
pub fn out_of_files(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(message) | Error::Refused(message) => f.write_str(message),
            Error::Unknown(unknown) => write!(f, "{unknown}"),
            Error::Artifact { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Bundle { path, source } => write!(f, "{}: {source}", path.display()),
            Error::TrustList {
                which: WhichList::Given(path),
                source,
            } => write!(f, "{}: {source}", path.display()),
            Error::TrustList {
                which: WhichList::Installed { path, key_dirs },
                source,
            } => {
                let searched: Vec<_> = { key_dirs.iter() }
                    .map(|dir| dir.display().to_string())
                    .collect();
                write!(
                    f,
                    "the trust list that is installed, {}, cannot be checked, so nothing is trusted: {source}; root \
                     keys were looked for in {}: if the daemon has others, name them with --keys as it does; if the \
                     list is damaged, remove it and install the newest one with `zlayer trust`",
                    path.display(),
                    searched.join(", ")
                )
            }
            Error::Plugin { name, reason } => write!(f, "plugin {name}: {reason}"),
            Error::Device { what, source } => {
                write!(f, "{what}: {source}")?;
                match out_of_files(source) {
                    true => f.write_str("; raise `ulimit -n` (systemd: LimitNOFILE=)"),
                    false => Ok(()),
                }
            }
            Error::Told { reason, .. } => f.write_str(reason),
            Error::Forwarded(code) => write!(f, "zlayer-precompile ended with code {code}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Artifact { source, .. } => Some(source),
            Error::Bundle { source, .. } => Some(source),
            Error::TrustList { source, .. } => Some(source),
            Error::Device { source, .. } => Some(source),
            Error::Usage(_)
            | Error::Unknown(_)
            | Error::Refused(_)
            | Error::Plugin { .. }
            | Error::Told { .. }
            | Error::Forwarded(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_open_no_more_files_is_told_the_limit() {
        let of = |errno: rustix::io::Errno| Error::device("cannot open it", errno.into());
        let told = of(rustix::io::Errno::MFILE).to_string();
        assert!(
            told.contains("ulimit -n") && told.contains("LimitNOFILE"),
            "{told}"
        );
        assert!(!of(rustix::io::Errno::ACCESS).to_string().contains("ulimit"));
    }
}
