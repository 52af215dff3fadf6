//! What root read at the start, and the account that it becomes may not read again.
//!
//! Texts are kept, and no open files: through one a text that is changed in place would be read anew, and one that is
//! replaced, as most editors do it, would not. So what holds would depend on the editor. Nor does a daemon that gave
//! root up keep a way to what root writes into its own files later. It costs no secrecy: a plugin that is installed next
//! may be granted each of these values, and those of the secrets file lie in the daemon's memory in any case.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::file::{open_regular, text};
use super::{SOURCE_BYTES, Sources, credential, credentials, key_and_source};
use crate::account::Account;
use crate::error::Result;

/// Texts of files that an account may not read.
#[derive(Default)]
pub struct Kept {
    /// The account's number.
    heir: u32,
    texts: BTreeMap<PathBuf, String>,
}

impl Kept {
    /// The text of this file, if it is kept.
    pub(super) fn text(&self, path: &Path) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// The account's number.
    pub(super) fn heir(&self) -> u32 {
        self.heir
    }
}

impl Sources {
    /// Keeps what this process can read and `heir` cannot, which it is about to become: the secrets file, and the
    /// credentials that a flag names or a deployment may. What cannot be kept is told when it is wanted.
    ///
    /// # Errors
    ///
    /// This process cannot become that account.
    pub fn keep_for(&mut self, heir: &Account) -> Result<()> {
        match heir.is_another()? {
            true => self.keep(heir, credentials().as_deref()),
            false => Ok(()),
        }
    }

    fn keep(&mut self, heir: &Account, credentials: Option<&Path>) -> Result<()> {
        let mut files: Vec<PathBuf> = self.file.iter().cloned().collect();
        if let Some(folder) = credentials {
            files.extend(self.candidates(folder));
        }
        let is_denied = |file: &PathBuf| {
            open_regular(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let denied: Vec<PathBuf> =
            heir.act_as(|| Ok(files.into_iter().filter(is_denied).collect()))?;
        self.kept = Kept {
            heir: heir.ids().0.as_raw(),
            texts: BTreeMap::new(),
        };
        // The file has its own bound.
        let mut room = SOURCE_BYTES as usize;
        for path in denied {
            let is_file = self.file.as_ref() == Some(&path);
            let Ok((file, _)) = open_regular(&path) else {
                continue;
            };
            let Ok(text) = text(file, &path) else {
                continue;
            };
            if is_file {
                log::info!(
                    "secrets file {0}: account {1} may not read it, so changes of it hold from the next start; where it \
                     belongs to that account (`chown {1} {0}`), in a folder that it can enter, they hold with each \
                     install",
                    path.display(),
                    self.kept.heir
                );
            } else if text.len() > room {
                log::warn!(
                    "credential {}: account {} may not read it, and all such are more than {} KiB, so it is not kept for \
                     what is installed later; start the unit as that account (User=) instead of --user",
                    path.display(),
                    self.kept.heir,
                    SOURCE_BYTES >> 10
                );
                continue;
            } else {
                room -= text.len();
            }
            self.kept.texts.insert(path, text);
        }
        Ok(())
    }

    /// The credentials that flags name, and those in `folder` with names that a `${NAME}` may have.
    fn candidates(&self, folder: &Path) -> Vec<PathBuf> {
        let named = self.credentials.iter().filter_map(|word| {
            let (_, name) = key_and_source("secret-credential", word).ok()?;
            credential(name, Some(folder)).ok()
        });
        let is_name =
            |name: &str| { name.bytes() }.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let there = fs::read_dir(folder).into_iter().flatten().flatten();
        let there = there.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(is_name)
        });
        let mut all: Vec<PathBuf> = there.collect();
        all.sort();
        // Those first that are wanted for sure.
        let mut found: Vec<PathBuf> = named.collect();
        all.retain(|path| !found.contains(path));
        found.extend(all);
        found
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::data_dir::temporary_folder;

    /// A folder of root's that others may enter, and an account that nobody has; `None` without root's rights.
    fn root_and_heir() -> Option<(PathBuf, Account)> {
        if zlayer_bundle::own_account() != 0 {
            eprintln!("skipped: only root can become another account");
            return None;
        }
        let folder = temporary_folder().unwrap();
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        Some((folder, Account::find("54321").unwrap()))
    }

    fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn an_account_that_may_not_read_the_file_goes_on_with_what_root_read() {
        let Some((folder, heir)) = root_and_heir() else {
            return;
        };
        let path = put(&folder, "secrets", "a=hunter2");
        let mut sources = Sources {
            file: Some(path.clone()),
            ..Sources::default()
        };
        sources.keep(&heir, None).unwrap();
        put(&folder, "secrets", "a=later");
        let read = || {
            let (secrets, _) = sources.read(&[])?;
            Ok(secrets["a"].0.clone())
        };
        assert_eq!(read().unwrap(), "later");
        assert_eq!(heir.act_as(read).unwrap(), "hunter2");
        // What was taken away is not known any more.
        fs::remove_file(path).unwrap();
        assert!(heir.act_as(read).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_of_the_account_is_accepted_and_not_kept() {
        let Some((folder, heir)) = root_and_heir() else {
            return;
        };
        let path = put(&folder, "secrets", "a=hunter2");
        std::os::unix::fs::chown(&path, Some(54_321), None).unwrap();
        let mut sources = Sources {
            file: Some(path.clone()),
            ..Sources::default()
        };
        let refused = sources.read(&[]).err().unwrap().to_string();
        assert!(refused.contains("belongs to another user"), "{refused}");
        sources.owner = Some(54_321);
        assert!(sources.read(&[]).is_ok());
        sources.keep(&heir, None).unwrap();
        assert_eq!(sources.kept.text(&path), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn of_credentials_those_are_kept_that_are_wanted_or_may_be() {
        let Some((folder, heir)) = root_and_heir() else {
            return;
        };
        let large = "x".repeat(40 << 10);
        let (wanted, other) = (put(&folder, "A", "hunter2"), put(&folder, "B", &large));
        // Of both there is no room, and this one is for sure.
        let named = put(&folder, "api-key", &large);
        let key = put(&folder, "site.key", "hunter2");
        let mut sources = Sources {
            credentials: vec!["b=api-key".to_owned()],
            ..Sources::default()
        };
        sources.keep(&heir, Some(&folder)).unwrap();
        let is_kept = [wanted, other, named, key].map(|path| sources.kept.text(&path).is_some());
        assert_eq!(is_kept, [true, false, true, false]);
        fs::remove_dir_all(folder).unwrap();
    }
}
