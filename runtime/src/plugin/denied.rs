//! Tells why the system does not let a plugin's code be executed, and what mends it.

use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use zlayer_bundle::VerifiedArtifact;

use crate::error::Error;

/// What the engine says when it may not make code executable; a test fails if that text changes.
const REFUSED: &str = "make memory executable";

/// The device's error behind the `reason` for which the engine could not load an artifact, if the
/// device was it.
pub(super) fn by_device(reason: &str, artifact: &VerifiedArtifact) -> Option<Error> {
    let file = artifact.file();
    // Who cannot tell has not found that it is the mount.
    let noexec = fstatvfs(file).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOEXEC));
    let (what, source) = told(reason, noexec)?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let path = path.map_or_else(
        |_| "the plugin".to_owned(),
        |path| path.display().to_string(),
    );
    Some(Error::device(format!("{path}: {what}"), source))
}

/// What to say of a reason that is a refusal, where the mount says `noexec` or not.
fn told(reason: &str, noexec: bool) -> Option<(&'static str, io::Error)> {
    // EPERM is what systemd's filter answers, EACCES the kernel itself, on every Linux.
    let numbers = [1, 13].into_iter();
    let number = { numbers }.find(|number| reason.contains(&format!("(os error {number})")))?;
    if !reason.contains(REFUSED) {
        return None;
    }
    let what = match noexec {
        true => {
            "a plugin's machine code is mapped from there, and that file system is mounted noexec; mount it \
             with exec, or choose a folder on another one with --data-dir"
        }
        false => {
            "this system forbids the process executable memory, which a plugin's machine code needs; switch \
             that off for this service (systemd: MemoryDenyWriteExecute=no; SELinux: allow execmem and execmod)"
        }
    };
    Some((what, io::Error::from_raw_os_error(number)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_cause() {
        let reason = "unable to make memory executable: Permission denied (os error 13)";
        let (what, source) = told(reason, true).unwrap();
        assert!(
            what.contains("noexec") && what.contains("--data-dir"),
            "{what}"
        );
        assert_eq!(source.raw_os_error(), Some(13));
        let reason = "unable to make memory executable: Operation not permitted (os error 1)";
        let (what, source) = told(reason, false).unwrap();
        assert!(what.contains("MemoryDenyWriteExecute=no"), "{what}");
        assert_eq!(source.raw_os_error(), Some(1));
    }

    #[test]
    fn other_failures_are_the_plugins() {
        for reason in [
            "unable to make memory executable: Cannot allocate memory (os error 12)",
            "cannot open the artifact: Permission denied (os error 13)",
            "unable to make memory executable",
        ] {
            assert!(told(reason, true).is_none(), "{reason}");
        }
    }
}
