//! Whose artifacts may run.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{
    ENGINE_FLOOR, EngineVersion, Exposure, KeyError, KeyId, PublicKey, SignatureState, TrustList,
    own_account,
};

/// What the name of a root key's file ends with. Programs that know no root keys look at `*.pub` alone, and so
/// never take one for a key that may sign code.
const ROOT: &str = "root";

/// The public keys whose artifacts are accepted.
///
/// An empty store accepts nothing.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    keys: Vec<PublicKey>,
    roots: Vec<PublicKey>,
    searched: Vec<PathBuf>,
    unsigned: bool,
    list: Option<TrustList>,
}

/// Why something is not run although its signature, or that none is needed, would let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The key is revoked by the list of this number.
    Key(KeyId, u64),
    /// The thing itself is.
    Digest([u8; 32], u64),
}

impl TrustStore {
    /// A store that accepts nothing.
    pub fn empty() -> TrustStore {
        TrustStore::default()
    }

    /// Trusts every `*.pub` file in the folder `path`, or the one that `path` names, and returns the
    /// keys that are left out, each with the reason: a file that is no key, or that others than root
    /// and this process's account could have written. A folder that does not exist has none. `*.root`
    /// files are root keys, which sign trust lists and nothing else.
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
            let key = read(path, uid)?;
            self.add_one(path, key);
            return Ok(Vec::new());
        }
        if let Some(exposure) = Exposure::of_folder(&found, uid) {
            return Err(KeyError::untrusted(path, exposure));
        }
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path).map_err(io)?.collect();
        let mut files: Vec<_> = entries.map_err(io)?.iter().map(DirEntry::path).collect();
        files.retain(|file| is_root(file) || file.extension() == Some(OsStr::new("pub")));
        // What is said of them comes in the same order each time.
        files.sort();
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for file in files {
            match read(&file, uid) {
                Ok(key) => keys.push((file, key)),
                Err(KeyError::Io { path, error }) if has_no_descriptor(&error) => {
                    return Err(KeyError::Io { path, error });
                }
                Err(error) => left_out.push(error),
            }
        }
        for (file, key) in keys {
            self.add_one(&file, key);
        }
        Ok(left_out)
    }

    /// Trusts one key.
    pub fn add(&mut self, key: PublicKey) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    fn add_one(&mut self, file: &Path, key: PublicKey) {
        match is_root(file) {
            true if self.roots.contains(&key) => {}
            true => self.roots.push(key),
            false => self.add(key),
        }
    }

    /// The root keys that were found.
    pub fn roots(&self) -> &[PublicKey] {
        &self.roots
    }

    /// Has a trust list decide: keys that it names count, those that it revokes do not, and those that it says
    /// nothing of count as before. It is the caller's to know that a root key leads to it.
    pub fn heed(&mut self, list: TrustList) {
        self.list = Some(list);
    }

    /// The trust list that decides, if there is one.
    pub fn list(&self) -> Option<&TrustList> {
        self.list.as_ref()
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
        let is_listed = |list: &TrustList| list.keys.contains(key);
        self.revoked(key).is_none()
            && (self.keys.contains(key) || self.list.as_ref().is_some_and(is_listed))
    }

    /// The number of the list that revokes `key`, wherever its file lies.
    pub fn revoked(&self, key: &PublicKey) -> Option<u64> {
        let list = self.list.as_ref().filter(|list| list.revokes(key));
        list.map(|list| list.number)
    }

    /// Whether the signer is revoked that a file names.
    pub(crate) fn check_signer(&self, signature: &SignatureState) -> Result<(), Revoked> {
        let key = signature.key();
        match key.and_then(|key| Some((key, self.revoked(&key)?))) {
            Some((key, number)) => Err(Revoked::Key(key.id(), number)),
            None => Ok(()),
        }
    }

    /// Whether something with this digest is revoked.
    pub(crate) fn check_digest(&self, digest: &[u8; 32]) -> Result<(), Revoked> {
        match self
            .list
            .as_ref()
            .filter(|list| list.revokes_digest(digest))
        {
            Some(list) => Err(Revoked::Digest(*digest, list.number)),
            None => Ok(()),
        }
    }

    /// The lowest release of the engine whose code runs: this program's own bound, or the list's where that is
    /// higher. With it comes the number of the list that says so.
    pub fn engine_floor(&self) -> (EngineVersion, Option<u64>) {
        let of_list = self.list.as_ref();
        let of_list = of_list.and_then(|list| Some((list.engine_floor?, Some(list.number))));
        match of_list.filter(|(floor, _)| *floor > ENGINE_FLOOR) {
            Some(floor) => floor,
            None => (ENGINE_FLOOR, None),
        }
    }

    /// The folders that keys were looked for in, for error messages.
    pub(crate) fn searched(&self) -> Vec<PathBuf> {
        self.searched.clone()
    }
}

/// Whether a file holds a root key, by its name.
fn is_root(file: &Path) -> bool {
    file.extension() == Some(OsStr::new(ROOT))
}

/// Reads the key in a file that is named for what it holds.
fn read(file: &Path, uid: u32) -> Result<PublicKey, KeyError> {
    match is_root(file) {
        true => PublicKey::read_trusted(file, uid, PublicKey::parse_root),
        false => PublicKey::read_trusted(file, uid, PublicKey::parse),
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
    fn root_keys_sign_lists_and_nothing_else() {
        let dir = temp_dir("root");
        let [signing, root] = [1, 2].map(|seed| SecretKey::from_seed([seed; 32]).public());
        std::fs::write(dir.join("a.pub"), signing.to_text("")).unwrap();
        std::fs::write(dir.join("fleet.root"), root.to_root_text("")).unwrap();
        // Neither is taken for the other.
        std::fs::write(dir.join("b.pub"), root.to_root_text("")).unwrap();
        std::fs::write(dir.join("c.root"), signing.to_text("")).unwrap();
        let mut trust = TrustStore::empty();
        let left_out = names(&trust.load(&dir).unwrap());
        assert!(
            left_out.len() == 2
                && left_out[0].contains("b.pub is malformed: it is a public root key")
                && left_out[1].contains("c.root is malformed: it is a public key"),
            "{left_out:?}"
        );
        assert!(trust.trusts(&signing) && !trust.trusts(&root));
        assert_eq!(trust.roots(), [root]);
        let mut trust = TrustStore::empty();
        trust.load(&dir.join("fleet.root")).unwrap();
        assert!(trust.roots() == [root] && !trust.trusts(&root));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_list_decides_over_what_it_names() {
        let [a, b, c] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).public());
        let mut trust = TrustStore::empty();
        trust.add(a);
        trust.add(c);
        trust.heed(TrustList {
            number: 7,
            keys: vec![b],
            revoked_keys: vec![a.id()],
            ..TrustList::default()
        });
        assert_eq!((trust.trusts(&a), trust.revoked(&a)), (false, Some(7)));
        assert!(trust.trusts(&b) && trust.trusts(&c));
        // Whatever is done to it afterwards.
        trust.add(a);
        assert!(!trust.trusts(&a));
    }

    #[test]
    fn the_higher_floor_counts() {
        let mut trust = TrustStore::empty();
        assert_eq!(trust.engine_floor(), (ENGINE_FLOOR, None));
        let mut set = |floor: &str| {
            trust.heed(TrustList {
                number: 3,
                engine_floor: floor.parse().ok(),
                ..TrustList::default()
            });
            trust.engine_floor()
        };
        assert_eq!(set("36.0.7"), (ENGINE_FLOOR, None));
        let higher = "99.0.0".parse().unwrap();
        assert_eq!(set("99.0.0"), (higher, Some(3)));
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
