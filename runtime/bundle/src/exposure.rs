//! Who else could change a file or folder that trust rests on.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Others than the owner's group may write.
const OTHERS_WRITE: u32 = 0o002;
/// Members of the group may write.
const GROUP_WRITES: u32 = 0o020;
/// In a folder that all may write to, each may remove only what is his own.
const STICKY: u32 = 0o1000;

/// What lets other accounts than root and the one of this process change a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// It belongs to the account with this number.
    Owner(u32),
    /// Its permission bits let others write to it.
    Mode(u32),
}

impl Exposure {
    /// What exposes a file or a folder to others than root and the account `uid`.
    ///
    /// A group that has the account's own number is the account's alone, as most distributions set
    /// accounts up, and may write.
    pub fn of(found: &Metadata, uid: u32) -> Option<Exposure> {
        if found.uid() != uid && found.uid() != 0 {
            return Some(Exposure::Owner(found.uid()));
        }
        let own_group = uid != 0 && found.gid() == uid;
        let others = match own_group {
            true => OTHERS_WRITE,
            false => OTHERS_WRITE | GROUP_WRITES,
        };
        (found.mode() & others != 0).then_some(Exposure::Mode(found.mode() & 0o7777))
    }

    /// The same of a folder. Where each may remove only what is his own, as in `/tmp` and in what
    /// Kubernetes mounts, the owner of each file in it counts and not who may add others.
    pub fn of_folder(found: &Metadata, uid: u32) -> Option<Exposure> {
        match Exposure::of(found, uid) {
            Some(Exposure::Mode(mode)) if mode & STICKY != 0 => None,
            exposure => exposure,
        }
    }

    /// The first folder above `path` in which anybody could put something else in its place.
    /// Folders that cannot be looked at are passed over.
    pub fn above(path: &Path) -> Option<(PathBuf, Exposure)> {
        let path = path.canonicalize().ok()?;
        path.ancestors().skip(1).find_map(|folder| {
            let mode = folder.metadata().ok()?.mode() & 0o7777;
            let open = mode & OTHERS_WRITE != 0 && mode & STICKY == 0;
            open.then(|| (folder.to_owned(), Exposure::Mode(mode)))
        })
    }

    /// A command that mends it at `path`.
    pub fn mend(self, path: &Path) -> String {
        match self {
            Exposure::Owner(_) => format!("chown root {}", path.display()),
            Exposure::Mode(_) => format!("chmod go-w {}", path.display()),
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exposure::Owner(uid) => write!(f, "it belongs to another account, number {uid}"),
            Exposure::Mode(mode) => {
                write!(f, "its mode is {mode:04o}, so that others can write to it")
            }
        }
    }
}

/// The number of the account that this process runs as.
pub fn own_account() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("zlayer-exposure-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn whoever_else_may_write_is_named() {
        let path = folder("mode");
        let own = fs::metadata(&path).unwrap().uid();
        let seen = |mode: u32, uid: u32| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = fs::metadata(&path).unwrap();
            (Exposure::of(&found, uid), Exposure::of_folder(&found, uid))
        };
        assert_eq!(seen(0o755, own), (None, None));
        assert_eq!(seen(0o700, own), (None, None));
        let open = Some(Exposure::Mode(0o777));
        assert_eq!(seen(0o777, own), (open, open));
        assert_eq!(seen(0o1777, own), (Some(Exposure::Mode(0o1777)), None));
        // To another account a folder of root's is as good as its own, and no other is.
        let to_another = seen(0o755, own + 1).0;
        match own {
            0 => assert_eq!(to_another, None),
            _ => assert_eq!(to_another, Some(Exposure::Owner(own))),
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_above_in_which_anybody_may_exchange_things_is_found() {
        let path = folder("above");
        let below = path.join("a/b");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Exposure::above(&below), None);
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o777)).unwrap();
        let (found, exposure) = Exposure::above(&below).unwrap();
        assert!(found.ends_with("a") && exposure == Exposure::Mode(0o777));
        assert!(exposure.mend(&found).starts_with("chmod go-w /"));
        fs::remove_dir_all(path).unwrap();
    }
}
