//! Whether an error is the fault of what was to be served, or of the device that was to serve it.

use std::fmt;

use zlayer_bundle::{ArtifactError, BundleError};

use super::Error;

/// What is wrong with a kept file that is damaged. None: it is not damaged.
fn damage(error: &Error) -> Option<String> {
    const ENDS: &str = "it ends too early, or has something behind its end";
    const OTHER: &str = "it is something else by now";
    const CHANGED: &str = "it is not what was signed";
    let why = match error {
        Error::Bundle { source, .. } => match source {
            BundleError::Truncated | BundleError::TooLong => ENDS,
            BundleError::NotABundle(_) => OTHER,
            BundleError::BadSignature { .. } | BundleError::Altered => CHANGED,
            BundleError::Manifest(what) => return Some(format!("its manifest {what}")),
            BundleError::Io(error) if is_worn(error) => return Some(error.to_string()),
            _ => return None,
        },
        Error::Artifact { source, .. } => match source {
            ArtifactError::Truncated => ENDS,
            ArtifactError::NoTrailer | ArtifactError::NotCompiled => OTHER,
            ArtifactError::BadSignature { .. } | ArtifactError::Altered => CHANGED,
            ArtifactError::Manifest(what) => return Some(format!("its manifest {what}")),
            ArtifactError::Io(error) if is_worn(error) => return Some(error.to_string()),
            _ => return None,
        },
        _ => return None,
    };
    Some(why.to_owned())
}

/// Whether flash has lost what was written there. Any other trouble with reading passes.
fn is_worn(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Error {
    /// Whether what was to be served is at fault itself: it is damaged, or its code cannot be linked. Else the device
    /// is, which lacks a variable, a key, memory or a port: the same may be served as soon as it has them.
    pub fn is_its_own(&self) -> bool {
        match self {
            Error::Kept(_) => true,
            Error::Plugin { .. } => !self.is_of_memory(),
            other => damage(other).is_some(),
        }
    }

    /// Whether whoever is trusted here has said that it is not to run any more.
    pub fn is_revocation(&self) -> bool {
        match self {
            Error::Bundle { source, .. } => matches!(
                source,
                BundleError::RevokedKey { .. } | BundleError::Revoked { .. }
            ),
            Error::Artifact { source, .. } => matches!(
                source,
                ArtifactError::RevokedKey { .. }
                    | ArtifactError::Revoked { .. }
                    | ArtifactError::EngineBelowFloor { .. }
            ),
            _ => false,
        }
    }

    /// Whether a plugin has too little memory here.
    pub fn is_of_memory(&self) -> bool {
        matches!(self, Error::Plugin { reason, .. } if reason.contains("--memory-max"))
    }

    /// The same, of a generation's files that a device keeps: where they are damaged, their bundle mends them.
    #[must_use]
    pub fn kept(self) -> Error {
        match damage(&self) {
            Some(_) => Error::Kept(Box::new(self)),
            None => self,
        }
    }
}

/// Writes what [`Error::Kept`] says of the error within.
pub(super) fn write_kept(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let path = match error {
        Error::Bundle { path, .. } | Error::Artifact { path, .. } => path.display(),
        other => return write!(f, "{other}"),
    };
    let why = damage(error).unwrap_or_default();
    write!(
        f,
        "{path} is damaged: {why}: install its bundle again, or roll back"
    )
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use rustix::io::Errno;

    use super::*;

    fn bundle(source: BundleError) -> Error {
        let path = PathBuf::from("generation 2");
        Error::Bundle { path, source }
    }

    fn artifact(source: ArtifactError) -> Error {
        let path = PathBuf::from("service 'a'");
        Error::Artifact { path, source }
    }

    fn plugin(reason: &str) -> Error {
        Error::Plugin {
            name: "a".to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn what_the_device_lacks_is_no_fault_of_what_it_serves() {
        let full = Errno::MFILE.into();
        for error in [
            Error::Usage("TOKEN is not known".to_owned()),
            Error::Refused("no".to_owned()),
            Error::device("cannot bind", io::Error::from(io::ErrorKind::AddrInUse)),
            bundle(BundleError::Unsigned),
            bundle(BundleError::Io(full)),
            bundle(BundleError::Revoked {
                digest: [0; 32],
                list: 1,
            }),
            artifact(ArtifactError::UnknownFormat { found: 2, known: 1 }),
            plugin("one instance needs 9 KiB, and --memory-max 8 KiB leaves 1 KiB for it"),
        ] {
            assert!(!error.is_its_own(), "{error}");
            assert!(!error.kept().to_string().contains("is damaged"));
        }
        for error in [
            bundle(BundleError::Altered),
            bundle(BundleError::Io(Errno::IO.into())),
            artifact(ArtifactError::NoTrailer),
            artifact(ArtifactError::Manifest("is odd".to_owned())),
            plugin("unknown import"),
        ] {
            assert!(error.is_its_own() && error.kept().is_its_own());
        }
    }

    #[test]
    fn whoever_keeps_what_is_damaged_is_told_to_install_it_again() {
        for error in [
            bundle(BundleError::Truncated),
            artifact(ArtifactError::Truncated),
            artifact(ArtifactError::NoTrailer),
        ] {
            let code = error.exit_code();
            let kept = error.kept();
            assert_eq!(kept.exit_code(), code);
            let told = kept.to_string();
            assert!(
                told.ends_with("install its bundle again, or roll back"),
                "{told}"
            );
            assert!(
                !told.contains("copy") && !told.contains("deployment.yaml"),
                "{told}"
            );
        }
    }
}
