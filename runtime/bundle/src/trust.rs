//! Whose artifacts may run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::{KeyError, PublicKey};

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

    /// Trusts every `*.pub` file in `dir` and answers how many there are. A folder that
    /// does not exist has none.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or any of the files is not a public key: a device
    /// whose keys are damaged should say so, not silently trust fewer of them. Nothing
    /// is added then.
    pub fn load_dir(&mut self, dir: &Path) -> Result<usize, KeyError> {
        if !self.searched.iter().any(|searched| searched == dir) {
            self.searched.push(dir.to_owned());
        }
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(KeyError::io(dir, error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| KeyError::io(dir, error))?.path();
            if path.extension() == Some(OsStr::new("pub")) {
                keys.push(PublicKey::read(&path)?);
            }
        }
        let count = keys.len();
        for key in keys {
            self.add(key);
        }
        Ok(count)
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

    #[test]
    fn every_pub_file_is_trusted_and_nothing_else() {
        let dir = temp_dir("all");
        let keys = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).public());
        std::fs::write(dir.join("a.pub"), keys[0].to_text("first")).unwrap();
        std::fs::write(dir.join("b.pub"), keys[1].to_text("")).unwrap();
        std::fs::write(dir.join("c.txt"), keys[2].to_text("")).unwrap();
        let mut trust = TrustStore::empty();
        assert_eq!(trust.load_dir(&dir).unwrap(), 2);
        assert!(trust.trusts(&keys[0]) && trust.trusts(&keys[1]) && !trust.trusts(&keys[2]));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_missing_folder_has_no_keys() {
        let mut trust = TrustStore::empty();
        assert_eq!(trust.load_dir(Path::new("/nonexistent/keys")).unwrap(), 0);
        assert_eq!(trust.searched(), [PathBuf::from("/nonexistent/keys")]);
    }

    #[test]
    fn a_malformed_file_names_itself_and_adds_nothing() {
        let dir = temp_dir("malformed");
        let key = SecretKey::from_seed([1; 32]).public();
        std::fs::write(dir.join("good.pub"), key.to_text("")).unwrap();
        for bytes in [&b"nonsense"[..], b"\xff\xfe", &[b'a'; 5000]] {
            std::fs::write(dir.join("bad.pub"), bytes).unwrap();
            let mut trust = TrustStore::empty();
            let error = trust.load_dir(&dir).unwrap_err().to_string();
            assert!(error.contains("bad.pub"), "{error}");
            assert!(!trust.trusts(&key));
        }
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
