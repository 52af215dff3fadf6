//! What a trust list says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TrustListError;
use crate::{EngineVersion, KeyId, PublicKey, hex};

/// Most keys, revoked keys and revoked digests that a list holds, of each.
pub const TRUST_ENTRIES_MAX: usize = 128;
/// Most root keys that a list names.
pub const TRUST_ROOTS_MAX: usize = 8;
/// The largest encoded content, in bytes: keys and digests of 32, ids of 8, and little beside them.
pub(super) const MAX_MANIFEST: usize = 10 << 10;

/// Which keys a device trusts from now on, and what it runs no more. It replaces the list before it as a whole.
///
/// Fields are encoded in this order, as postcard. There is one encoding of each list: entries are sorted, and none
/// is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustList {
    /// Only goes up: a device takes no list whose number is lower than that of the one it has.
    pub number: u64,
    /// Keys whose signatures count, beside those in the device's key folders.
    pub keys: Vec<PublicKey>,
    /// Keys whose signatures do not count, wherever their files lie.
    pub revoked_keys: Vec<KeyId>,
    /// Digests of artifacts' code, of heads of bundles and of files in bundles that do not run, whoever
    /// signed them.
    pub revoked_digests: Vec<[u8; 32]>,
    /// The lowest release of the engine whose code may run.
    pub engine_floor: Option<EngineVersion>,
    /// The root keys that sign later lists, instead of those that counted until now. None: they stay.
    pub roots: Vec<PublicKey>,
}

impl TrustList {
    /// Sorts all entries, and leaves out what is there twice.
    pub fn sort(&mut self) {
        for keys in [&mut self.keys, &mut self.roots] {
            keys.sort();
            keys.dedup();
        }
        self.revoked_keys.sort();
        self.revoked_keys.dedup();
        self.revoked_digests.sort();
        self.revoked_digests.dedup();
    }

    /// Whether signatures of this key do not count.
    pub fn revokes(&self, key: &PublicKey) -> bool {
        self.revoked_keys.contains(&key.id())
    }

    /// Whether what has this digest may not run.
    pub fn revokes_digest(&self, digest: &[u8; 32]) -> bool {
        self.revoked_digests.contains(digest)
    }

    /// The digests that it revokes, as `info` and `inspect` show them.
    pub fn digests(&self) -> Vec<String> {
        let all = self.revoked_digests.iter();
        all.map(|digest| hex::encode(digest)).collect()
    }

    /// The list as it stands in a file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, TrustListError> {
        self.check()?;
        let failed = |error| TrustListError::Manifest(format!("cannot be encoded: {error}"));
        postcard::to_allocvec(self).map_err(failed)
    }

    /// Reads a list that fills all of `bytes`, and is written as [`TrustList::encode`] writes it.
    pub(super) fn decode(bytes: &[u8]) -> Result<TrustList, TrustListError> {
        let list = postcard::from_bytes::<TrustList>(bytes)
            .map_err(|error| TrustListError::Manifest(format!("cannot be decoded: {error}")))?;
        match list.encode()? == bytes {
            true => Ok(list),
            false => Err(TrustListError::Manifest(
                "is not written the one way that there is".to_owned(),
            )),
        }
    }

    /// Both sides check alike, so that whoever makes a list is told what a device would say.
    fn check(&self) -> Result<(), TrustListError> {
        let wrong = |what: String| Err(TrustListError::Manifest(what));
        if self.number == 0 {
            return wrong("has the number 0; the first one is 1".to_owned());
        }
        for (what, count, most) in [
            ("keys", self.keys.len(), TRUST_ENTRIES_MAX),
            ("revoked keys", self.revoked_keys.len(), TRUST_ENTRIES_MAX),
            (
                "revoked digests",
                self.revoked_digests.len(),
                TRUST_ENTRIES_MAX,
            ),
            ("root keys", self.roots.len(), TRUST_ROOTS_MAX),
        ] {
            if count > most {
                return wrong(format!("has {count} {what}, and may have {most}"));
            }
        }
        let sorted = is_sorted(&self.keys)
            && is_sorted(&self.roots)
            && is_sorted(&self.revoked_keys)
            && is_sorted(&self.revoked_digests);
        if !sorted {
            return wrong("has entries that are not in order, or twice".to_owned());
        }
        for key in self.keys.iter().chain(&self.roots) {
            if !key.is_sound() {
                let number = hex::encode(key.as_bytes());
                return wrong(format!(
                    "names {number}, which is not an Ed25519 public key"
                ));
            }
        }
        match self.keys.iter().find(|key| self.revokes(key)) {
            Some(key) => wrong(format!("both trusts and revokes key {}", key.id())),
            None => Ok(()),
        }
    }
}

/// A line for each thing that it says. Nothing in it can hold a control character.
impl fmt::Display for TrustList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: &dyn fmt::Display| writeln!(f, "{what:<16}{value}");
        line("number", &self.number)?;
        for key in &self.keys {
            line("trusts", &format_args!("key {}", key.id()))?;
        }
        for key in &self.revoked_keys {
            line("revokes", &format_args!("key {key}"))?;
        }
        for digest in self.digests() {
            line("revokes", &format_args!("digest {digest}"))?;
        }
        if let Some(floor) = self.engine_floor {
            line("engine floor", &floor)?;
        }
        for key in &self.roots {
            line("next list by", &format_args!("root key {}", key.id()))?;
        }
        Ok(())
    }
}

/// A digest that is written as 64 hexadecimal digits.
pub fn digest_of_text(text: &str) -> Option<[u8; 32]> {
    hex::decode(text)
}

/// Whether each is larger than the one before it.
fn is_sorted<T: Ord>(all: &[T]) -> bool {
    all.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).public()
    }

    #[test]
    fn the_largest_list_has_its_place() {
        let keys = |from: u8, count: usize| (from..).take(count).map(key).collect();
        let mut list = TrustList {
            number: u64::MAX,
            keys: keys(0, TRUST_ENTRIES_MAX),
            revoked_keys: (128..=255).map(|seed| key(seed).id()).collect(),
            revoked_digests: (0..128).map(|byte| [byte; 32]).collect(),
            engine_floor: Some(EngineVersion {
                major: u32::MAX,
                minor: u32::MAX,
                patch: u32::MAX,
            }),
            roots: keys(100, TRUST_ROOTS_MAX),
        };
        list.sort();
        let bytes = list.encode().unwrap();
        assert!(bytes.len() <= MAX_MANIFEST, "{}", bytes.len());
        assert_eq!(TrustList::decode(&bytes).unwrap(), list);
    }

    #[test]
    fn what_contradicts_itself_is_refused_on_both_sides() {
        let list = TrustList {
            number: 1,
            keys: vec![key(1)],
            ..TrustList::default()
        };
        assert!(list.encode().is_ok());
        let mut both = list.clone();
        both.revoked_keys.push(key(1).id());
        let mut twice = list.clone();
        twice.keys.push(key(1));
        let mut weak = list.clone();
        weak.roots.push(PublicKey::from_bytes([0; 32]));
        let mut many = list.clone();
        many.revoked_digests = vec![[0; 32]; TRUST_ENTRIES_MAX + 1];
        let none = TrustList { number: 0, ..list };
        for (list, said) in [
            (both, "both trusts and revokes"),
            (twice, "not in order, or twice"),
            (weak, "not an Ed25519 public key"),
            (many, "may have 128"),
            (none, "the first one is 1"),
        ] {
            let told = list.encode().unwrap_err().to_string();
            assert!(told.contains(said), "{told}");
            let bytes = postcard::to_allocvec(&list).unwrap();
            let told = TrustList::decode(&bytes).unwrap_err().to_string();
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_list() {
        let list = TrustList {
            number: 5,
            ..TrustList::default()
        };
        let bytes = list.encode().unwrap();
        // The same number in two bytes, and something behind the end.
        let long = [&[0x85, 0x00], &bytes[1..]].concat();
        let told = TrustList::decode(&long).unwrap_err().to_string();
        assert!(told.contains("the one way"), "{told}");
        assert!(TrustList::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
