//! Whom a daemon trusts.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zlayer_bundle::{KeyError, TrustFile, TrustList, TrustStore, own_account};

use super::trust_list::{installed, replace};
use crate::config::Config;
use crate::error::{Error, Result, WhichList, out_of_files};

/// Where it stands whom a device trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trustees<'a> {
    /// Folders of public keys, or files of one.
    pub key_dirs: &'a [PathBuf],
    /// Whether what nobody signed is taken.
    pub allow_unsigned: bool,
    /// The data folder, which may hold a list of what is trusted and revoked.
    pub data_dir: Option<&'a Path>,
}

impl<'a> Trustees<'a> {
    /// Those of a daemon with this configuration.
    pub fn of(config: &'a Config) -> Trustees<'a> {
        Trustees {
            key_dirs: &config.key_dirs,
            allow_unsigned: config.allow_unsigned,
            data_dir: config.data_dir.as_deref(),
        }
    }
}

/// The public keys whose signatures count, and what does not run whoever signed it. Keys that are left out are told
/// where the caller wants that. It is read anew each time: a list that was installed meanwhile counts.
///
/// # Errors
///
/// A folder cannot be read, or others could change what is in it; or a trust list is installed that no root key
/// leads to.
pub fn trusted(trustees: &Trustees<'_>, tell: bool) -> Result<TrustStore> {
    let mut trust = keys(trustees.key_dirs, tell)?;
    trust.allow_unsigned(trustees.allow_unsigned);
    if let Some(data_dir) = trustees.data_dir
        && let Some(list) = installed(data_dir, trust.roots(), trustees.key_dirs)?
    {
        trust.heed(list.list().clone());
    }
    Ok(trust)
}

/// The keys in folders, or files of one.
pub(super) fn keys(key_dirs: &[PathBuf], tell: bool) -> Result<TrustStore> {
    let mut trust = TrustStore::empty();
    for folder in key_dirs {
        let loaded = trust.load(folder).map_err(|error| match error {
            KeyError::Io { path, error } if out_of_files(&error) => Error::device(
                format!("cannot read the key file {}", path.display()),
                error,
            ),
            KeyError::Io { path, error } if error.kind() == ErrorKind::PermissionDenied => {
                Error::Usage(format!(
                    "--keys: account {} cannot read {1} ({error}); let it: `chmod a+rX {1}`, and `chmod a+x` the folders \
                     above that keep it out",
                    own_account(),
                    path.display()
                ))
            }
            other => Error::Usage(format!("--keys: {other}")),
        });
        for left_out in loaded?.iter().filter(|_| tell) {
            log::warn!("{left_out}; this key is left out");
        }
    }
    Ok(trust)
}

/// Installs a trust list, which people know by its `name`, in a data folder: it counts whenever something is verified from then on. Answers the list
/// that counts. The caller holds the folder's lock, or is the daemon that holds it.
///
/// # Errors
///
/// No root key in the key folders leads to it, a newer one is installed, or it cannot be written. What was installed
/// before counts then.
pub fn install_list(
    data_dir: &Path,
    key_dirs: &[PathBuf],
    name: &Path,
    bytes: &[u8],
) -> Result<TrustList> {
    let refused = |source| Error::TrustList {
        which: WhichList::Given(name.to_owned()),
        source,
    };
    let file = TrustFile::read(bytes).map_err(refused)?;
    let known = keys(key_dirs, true)?;
    let before = installed(data_dir, known.roots(), key_dirs)?;
    let next = match &before {
        Some(before) => before.follow(file),
        None => file.verify(known.roots()),
    };
    let next = next.map_err(refused)?;
    if before.as_ref() != Some(&next) {
        replace(data_dir, &next)?;
    }
    Ok(next.list().clone())
}

/// The list that is installed in a data folder, checked with the root keys in these folders, to be shown.
///
/// # Errors
///
/// It cannot be read, or no root key leads to it.
pub fn listed(data_dir: &Path, key_dirs: &[PathBuf]) -> Result<Option<TrustList>> {
    let known = keys(key_dirs, true)?;
    let list = installed(data_dir, known.roots(), key_dirs)?;
    Ok(list.map(|list| list.list().clone()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use zlayer_bundle::{SecretKey, seal_trust_list};

    use super::*;

    /// A device: its data folder and its key folder, in a folder of this test's.
    struct Device {
        folder: PathBuf,
    }

    impl Device {
        fn new(name: &str) -> Device {
            let folder = std::env::temp_dir();
            let folder = folder.join(format!("zlayer-list-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            for name in ["data", "keys"] {
                fs::create_dir_all(folder.join(name)).unwrap();
            }
            Device { folder }
        }

        fn data(&self) -> PathBuf {
            self.folder.join("data")
        }

        fn keys(&self) -> [PathBuf; 1] {
            [self.folder.join("keys")]
        }

        fn has_root(&self, seed: u8) {
            let text = key(seed).public().to_root_text("");
            fs::write(self.keys()[0].join("fleet.root"), text).unwrap();
        }

        fn install(&self, bytes: &[u8]) -> Result<TrustList> {
            install_list(&self.data(), &self.keys(), Path::new("1.trust"), bytes)
        }

        fn trust(&self) -> Result<TrustStore> {
            let (data, keys) = (self.data(), self.keys());
            let trustees = Trustees {
                key_dirs: &keys,
                allow_unsigned: false,
                data_dir: Some(&data),
            };
            trusted(&trustees, false)
        }
    }

    impl Drop for Device {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn list(number: u64, trusted: u8, by: u8) -> Vec<u8> {
        let list = TrustList {
            number,
            keys: vec![key(trusted).public()],
            ..TrustList::default()
        };
        seal_trust_list(&list, Some(&key(by))).unwrap()
    }

    fn code(of: Result<TrustList>) -> (u8, String) {
        let error = of.unwrap_err();
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn a_list_counts_from_the_next_verification_on() {
        let device = Device::new("counts");
        assert!(!device.trust().unwrap().trusts(&key(1).public()));
        let (code_of, told) = code(device.install(&list(1, 1, 9)));
        assert!(
            code_of == 16 && told.contains("no root key is installed"),
            "{told}"
        );
        device.has_root(9);
        device.install(&list(1, 1, 9)).unwrap();
        assert!(device.trust().unwrap().trusts(&key(1).public()));
        device.install(&list(2, 2, 9)).unwrap();
        let trust = device.trust().unwrap();
        assert!(trust.trusts(&key(2).public()) && !trust.trusts(&key(1).public()));
        let mode = fs::metadata(device.data().join("trust"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o400);
    }

    #[test]
    fn each_refusal_has_its_code_and_leaves_what_counted() {
        let device = Device::new("refusals");
        device.has_root(9);
        device.install(&list(5, 1, 9)).unwrap();
        let mut damaged = list(6, 2, 9);
        damaged[20] ^= 1;
        for (bytes, expected) in [
            (b"nonsense".to_vec(), 11),
            (list(6, 2, 9)[..50].to_vec(), 12),
            (damaged, 17),
            (list(6, 2, 8), 16),
            (list(4, 2, 9), 25),
            (list(5, 2, 9), 26),
        ] {
            let (found, told) = code(device.install(&bytes));
            assert_eq!(found, expected, "{told}");
            assert!(told.starts_with("1.trust: "), "{told}");
            assert!(device.trust().unwrap().trusts(&key(1).public()));
        }
        // The same once more is no refusal.
        assert_eq!(device.install(&list(5, 1, 9)).unwrap().number, 5);
    }

    #[test]
    fn where_the_list_cannot_be_checked_nothing_is_trusted() {
        let device = Device::new("unchecked");
        device.has_root(9);
        device.install(&list(5, 1, 9)).unwrap();
        fs::remove_file(device.keys()[0].join("fleet.root")).unwrap();
        let told = device.trust().unwrap_err().to_string();
        assert!(
            told.contains("data/trust") && told.contains("zlayer trust"),
            "{told}"
        );
        device.has_root(8);
        assert_eq!(device.trust().unwrap_err().exit_code(), 16);
        device.has_root(9);
        assert!(device.trust().is_ok());
        // Somebody else could have written it.
        let open = Permissions::from_mode(0o644);
        fs::set_permissions(device.data().join("trust"), open).unwrap();
        let told = device.trust().unwrap_err().to_string();
        assert!(told.contains("chmod 400"), "{told}");
    }

    #[test]
    fn a_changed_root_key_is_remembered() {
        let device = Device::new("rotated");
        device.has_root(9);
        let rotation = TrustList {
            number: 1,
            roots: vec![key(7).public()],
            ..TrustList::default()
        };
        let rotation = seal_trust_list(&rotation, Some(&key(9))).unwrap();
        device.install(&rotation).unwrap();
        let (found, told) = code(device.install(&list(2, 1, 9)));
        assert_eq!(found, 16, "{told}");
        device.install(&list(2, 1, 7)).unwrap();
        assert!(device.trust().unwrap().trusts(&key(1).public()));
        device.install(&list(3, 2, 7)).unwrap();
        assert!(device.trust().unwrap().trusts(&key(2).public()));
    }
}
