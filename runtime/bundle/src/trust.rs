//! Whose artifacts may run.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{Exposure, KeyError, PublicKey, own_account};

/// The public keys whose artifacts are accepted.
///
/// An empty store accepts nothing.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    keys: Vec<PublicKey>,
    searched: Vec<PathBuf>,
    unsigned: bool,
}

impl TrustStore {
    /// A store that accepts nothing.
    pub fn empty() -> TrustStore {
        TrustStore::default()
    }

    /// Trusts every `*.pub` file in the folder `path`, or the one that `path` names, and returns the
    /// keys that are left out, each with the reason: a file that is no key, or that others than root
    /// and this process's account could have written. A folder that does not exist has none.
    ///
    /// # Errors
    ///
    /// When the folder, or the one file, cannot be read or others could exchange what is in it; and
    /// when no further file can be opened, since any of the keys would be missing then. Nothing is
    /// added then.
    pub fn load(&mut self, path: &Path) -> Result<Vec<KeyError>, KeyError> {
        self.load_as(path, own_account())
    }

    fn load_as(&mut self, path: &Path, uid: u32) -> Result<Vec<KeyError>, KeyError> {
        if !self.searched.iter().any(|searched| searched == path) {
            self.searched.push(path.to_owned());
        }
        let io = |error| KeyError::io(path, error);
        let found = match path.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error)),
        };
        if let Some((above, exposure)) = Exposure::above(path) {
            return Err(KeyError::untrusted(&above, exposure));
        }
        if !found.is_dir() {
            self.add(PublicKey::read_trusted(path, uid)?);
            return Ok(Vec::new());
        }
        if let Some(exposure) = Exposure::of_folder(&found, uid) {
            return Err(KeyError::untrusted(path, exposure));
        }
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path).map_err(io)?.collect();
        let mut files: Vec<_> = entries.map_err(io)?.iter().map(DirEntry::path).collect();
        files.retain(|file| file.extension() == Some(OsStr::new("pub")));
        // What is said of them comes in the same order each time.
        files.sort();
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for file in files {
            match PublicKey::read_trusted(&file, uid) {
                Ok(key) => keys.push(key),
                Err(KeyError::Io { path, error }) if has_no_descriptor(&error) => {
                    return Err(KeyError::Io { path, error });
                }
                Err(error) => left_out.push(error),
            }
        }
        keys.into_iter().for_each(|key| self.add(key));
        Ok(left_out)
    }

    /// Trusts one key.
    pub fn add(&mut self, key: PublicKey) {
        if !self.trusts(&key) {
            self.keys.push(key);
        }
    }

    /// Whether artifacts without any signature are accepted. A signature that is there is
    /// checked all the same, and must be by a trusted key. Off in a new store.
    pub fn allow_unsigned(&mut self, allow: bool) {
        self.unsigned = allow;
    }

    /// Whether artifacts without any signature are accepted.
    pub fn allows_unsigned(&self) -> bool {
        self.unsigned
    }

    /// Whether artifacts signed by `key` are accepted.
    pub fn trusts(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// The folders that keys were looked for in, for error messages.
    pub(crate) fn searched(&self) -> Vec<PathBuf> {
        self.searched.clone()
    }
}

/// Whether neither the process nor the system may open one file more.
fn has_no_descriptor(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Where a user's own keys are: `$XDG_CONFIG_HOME/zlayer/keys`, or `~/.config/zlayer/keys`.
/// `None` when the environment names no home. The folder may not exist yet.
pub fn user_key_dir() -> Option<PathBuf> {
    key_dir(
        std::env::var_os("XDG_CONFIG_HOME"),
        std::env::var_os("HOME"),
    )
}

/// As [`user_key_dir`], from the two variables. The base directory specification has
/// relative paths ignored.
fn key_dir(
    config_home: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute =
        |value: Option<std::ffi::OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(config_home)
        .or_else(|| absolute(home).map(|home| home.join(".config")))
        .map(|config| config.join("zlayer").join("keys"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn temp_dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("zlayer-trust-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn names(left_out: &[KeyError]) -> Vec<String> {
        left_out.iter().map(KeyError::to_string).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_pub_file_is_trusted_and_nothing_else() {
        let dir = temp_dir("all");
        let keys = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).public());
        std::fs::write(dir.join("a.pub"), keys[0].to_text("first")).unwrap();
        std::fs::write(dir.join("b.pub"), keys[1].to_text("")).unwrap();
        std::fs::write(dir.join("c.txt"), keys[2].to_text("")).unwrap();
        let mut trust = TrustStore::empty();
        assert!(trust.load(&dir).unwrap().is_empty());
        assert!(trust.trusts(&keys[0]) && trust.trusts(&keys[1]) && !trust.trusts(&keys[2]));
        // Some editors begin a text with a byte order mark.
        let marked = format!("\u{feff}{}", keys[2].to_text(""));
        std::fs::write(dir.join("c.txt"), marked).unwrap();
        // One file may be named as well, and need not end with `.pub`.
        assert!(trust.load(&dir.join("c.txt")).unwrap().is_empty());
        assert!(trust.trusts(&keys[2]));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_missing_folder_has_no_keys() {
        let mut trust = TrustStore::empty();
        let missing = Path::new("/nonexistent/keys");
        assert!(trust.load(missing).unwrap().is_empty());
        assert_eq!(trust.searched(), [PathBuf::from("/nonexistent/keys")]);
    }

    #[test]
    fn a_file_that_is_no_key_is_left_out_and_named() {
        let dir = temp_dir("malformed");
        let key = SecretKey::from_seed([1; 32]).public();
        std::fs::write(dir.join("good.pub"), key.to_text("")).unwrap();
        for bytes in [&b"nonsense"[..], b"\xff\xfe", &[b'a'; 5000]] {
            std::fs::write(dir.join("bad.pub"), bytes).unwrap();
            let mut trust = TrustStore::empty();
            let left_out = names(&trust.load(&dir).unwrap());
            assert!(
                left_out.len() == 1 && left_out[0].contains("bad.pub"),
                "{left_out:?}"
            );
            assert!(trust.trusts(&key));
            // Whoever names it wants that one.
            assert!(TrustStore::empty().load(&dir.join("bad.pub")).is_err());
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_only_looks_like_a_file_is_left_out_and_never_waited_for() {
        let dir = temp_dir("odd");
        let key = SecretKey::from_seed([1; 32]).public();
        std::fs::write(dir.join("good.pub"), key.to_text("")).unwrap();
        std::fs::create_dir(dir.join("folder.pub")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.join("device.pub")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.join("gone.pub")).unwrap();
        let pipe = dir.join("pipe.pub");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let mut trust = TrustStore::empty();
        let left_out = names(&trust.load(&dir).unwrap());
        let named = ["device.pub", "folder.pub", "gone.pub", "pipe.pub"];
        assert_eq!(left_out.len(), named.len(), "{left_out:?}");
        for (said, name) in left_out.iter().zip(named) {
            assert!(said.contains(name), "{left_out:?}");
        }
        assert!(trust.trusts(&key));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn keys_that_others_could_exchange_are_not_trusted() {
        let dir = temp_dir("exposed");
        let key = SecretKey::from_seed([1; 32]).public();
        let file = dir.join("a.pub");
        std::fs::write(&file, key.to_text("")).unwrap();
        let load = |uid| {
            let mut trust = TrustStore::empty();
            let loaded = trust.load_as(&dir, uid);
            (loaded.map(|out| names(&out)), trust.trusts(&key))
        };
        let own = own_account();
        set_mode(&file, 0o666);
        let (loaded, trusted) = load(own);
        let said = &loaded.unwrap()[0];
        assert!(
            !trusted && said.contains("a.pub: its mode is 0666"),
            "{said}"
        );
        assert!(said.contains("chmod go-w "), "{said}");
        set_mode(&file, 0o644);
        set_mode(&dir, 0o777);
        let (loaded, trusted) = load(own);
        let said = loaded.unwrap_err().to_string();
        assert!(!trusted && said.contains("its mode is 0777"), "{said}");
        set_mode(&dir, 0o755);
        assert_eq!(load(own).0.unwrap(), [""; 0]);
        assert!(load(own).1);
        // To another account, unless it is root's.
        let (loaded, trusted) = load(own + 1);
        assert_eq!((loaded.is_ok(), trusted), (own == 0, own == 0));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn user_keys_follow_the_environment() {
        let os = |text: &str| Some(std::ffi::OsString::from(text));
        assert_eq!(key_dir(os("/c"), os("/h")), Some("/c/zlayer/keys".into()));
        assert_eq!(
            key_dir(None, os("/h")),
            Some("/h/.config/zlayer/keys".into())
        );
        assert_eq!(
            key_dir(os("relative"), os("/h")),
            Some("/h/.config/zlayer/keys".into())
        );
        assert_eq!(key_dir(os(""), os("")), None);
        assert_eq!(key_dir(None, None), None);
    }
}
