//! The trust list of a data folder: a root key signs which keys count, and what runs no more.
//!
//! It is read anew whenever something is verified, so that one that is installed counts from then on.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zlayer_bundle::{
    BundleError, ENGINE_VERSION, EngineVersion, MAX_TRUST_FILE, PublicKey, TrustFile, TrustList,
    VerifiedTrust,
};

use super::compile::open;
use super::installation::{Installation, STANDARD_INPUT};
use super::trust::{keys, trusted};
use crate::error::{Error, Result};
use crate::generations::{Folder, Generations};

/// The name of the file in a data folder.
const FILE: &str = "trust";
/// Bytes of it that are read: one more than it may have.
const MOST: u64 = MAX_TRUST_FILE as u64 + 1;

/// The list that is installed in a data folder, followed from these root keys. None: there is none.
///
/// # Errors
///
/// It cannot be read, or no root key leads to it. It may revoke anything then, so nothing is trusted.
pub(super) fn installed(data_dir: &Path, roots: &[PublicKey]) -> Result<Option<VerifiedTrust>> {
    let path = || data_dir.join(FILE);
    let bytes = match Folder::open(data_dir).and_then(|data| data.read(FILE, MOST)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::device(
                format!("cannot read the trust list {}", path().display()),
                error,
            ));
        }
    };
    let verified = TrustFile::read(&bytes).and_then(|file| file.verify(roots));
    verified.map(Some).map_err(|source| Error::TrustList {
        installed: Some(path()),
        source,
    })
}

/// The list that is installed in a data folder, checked with the root keys in these folders, to be shown.
///
/// # Errors
///
/// It cannot be read, or no root key leads to it.
pub fn listed(data_dir: &Path, key_dirs: &[PathBuf]) -> Result<Option<TrustList>> {
    let known = keys(key_dirs, true)?;
    let list = installed(data_dir, known.roots())?;
    Ok(list.map(|list| list.list().clone()))
}

/// Whether a list is installed, as far as this account can see.
pub(super) fn is_there(data_dir: &Path) -> bool {
    data_dir.join(FILE).symlink_metadata().is_ok()
}

/// Installs a trust list in a data folder: it counts whenever something is verified from then on. Answers the list
/// that counts. The caller holds the folder's lock, or is the daemon that holds it.
///
/// # Errors
///
/// No root key in the key folders leads to it, a newer one is installed, or it cannot be written. What was installed
/// before counts then.
pub fn install_list(data_dir: &Path, key_dirs: &[PathBuf], bytes: &[u8]) -> Result<TrustList> {
    let refused = |source| Error::TrustList {
        installed: None,
        source,
    };
    let file = TrustFile::read(bytes).map_err(refused)?;
    let known = keys(key_dirs, true)?;
    let before = installed(data_dir, known.roots())?;
    let next = match &before {
        Some(before) => before.follow(file),
        None => file.verify(known.roots()),
    };
    let next = next.map_err(refused)?;
    if before.as_ref() != Some(&next) {
        let written =
            Folder::open(data_dir).and_then(|data| data.replace_text(FILE, &next.bytes()));
        written.map_err(|error| {
            let path = data_dir.join(FILE);
            Error::device(
                format!("cannot write the trust list {}", path.display()),
                error,
            )
        })?;
    }
    Ok(next.list().clone())
}

impl Installation {
    /// Installs a trust list, a file or [`STANDARD_INPUT`], in the folder of a daemon that does not run. What is
    /// served from there and will not be any more is told.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, or as of [`install_list`].
    pub fn trust(&self, list: &Path) -> Result<TrustList> {
        let bytes = read(list)?;
        // Before a folder is made for what is no list.
        TrustFile::read(&bytes).map_err(|source| Error::TrustList {
            installed: None,
            source,
        })?;
        let _data = self.lock()?;
        let list = install_list(&self.data_dir, &self.key_dirs, &bytes)?;
        for told in self.consequences(&list) {
            log::warn!("{told}");
        }
        Ok(list)
    }

    /// What its owner may not have thought of.
    fn consequences(&self, list: &TrustList) -> Vec<String> {
        let mut told = Vec::new();
        let own = ENGINE_VERSION.parse::<EngineVersion>();
        if let (Ok(own), Some(floor)) = (own, list.engine_floor)
            && own < floor
        {
            told.push(format!(
                "trust list {} lets none below engine {floor} run, and this program's is {own}: it serves nothing \
                 until zlayer itself is updated",
                list.number
            ));
        }
        if let Some((number, error)) = self.refused_now() {
            told.push(format!(
                "generation {number}, which is active, is refused from the next start on: {error}"
            ));
        }
        told
    }

    /// The active generation, if its bundle is refused by now.
    fn refused_now(&self) -> Option<(u64, BundleError)> {
        let generations = Generations::of(&self.data_dir);
        // Whatever cannot be read is told by who starts it.
        let number = generations.active().ok()??;
        let head = generations.head(number).ok()?;
        let trust = trusted(&self.trustees(), false).ok()?;
        let error = head.verify(&trust).err()?;
        Some((number, error))
    }
}

/// What is in a file, or comes over standard input, as far as a list may go.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path == Path::new(STANDARD_INPUT) {
        true => io::stdin().lock().take(MOST).read_to_end(&mut bytes),
        false => open(path)?.take(MOST).read_to_end(&mut bytes),
    };
    read.map_err(|error| Error::device(format!("cannot read {}", path.display()), error))?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use zlayer_bundle::{SecretKey, seal_trust_list};

    use super::super::trust::Trustees;
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
            install_list(&self.data(), &self.keys(), bytes)
        }

        fn trust(&self) -> Result<zlayer_bundle::TrustStore> {
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
        let mode = fs::metadata(device.data().join(FILE))
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
        fs::set_permissions(device.data().join(FILE), open).unwrap();
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
