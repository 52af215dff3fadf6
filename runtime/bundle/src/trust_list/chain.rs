//! From the root keys that a device knows to the list that counts.

use super::{MAX_TRUST_FILE, SignedTrustList, TRUST_LIST_MAGIC, TrustList, TrustListError};
use crate::signature::SignatureState;
use crate::{FileKind, PublicKey};

/// What a file of trust lists holds, read but not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFile {
    /// Each number is higher than the one before, and all but the last bring root keys. There is at least one.
    lists: Vec<SignedTrustList>,
}

impl TrustFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it is no list, or does not make sense. A bad signature is not an error here but a
    /// [`SignatureState`].
    pub fn read(bytes: &[u8]) -> Result<TrustFile, TrustListError> {
        let is_list = bytes.starts_with(&TRUST_LIST_MAGIC);
        if is_list && bytes.len() > MAX_TRUST_FILE {
            return Err(TrustListError::Manifest(format!(
                "takes more than {MAX_TRUST_FILE} bytes"
            )));
        }
        let (first, mut rest) = SignedTrustList::read(bytes)?;
        let mut lists = vec![first];
        while !rest.is_empty() {
            let read = SignedTrustList::read(rest);
            let (next, behind) = read.map_err(|error| match error {
                // What the file is was clear before.
                TrustListError::NotAList(_) => TrustListError::NotAList(FileKind::Unknown),
                other => other,
            })?;
            lists.push(next);
            rest = behind;
        }
        let pairs = || lists.iter().zip(lists.iter().skip(1));
        if pairs().any(|(one, next)| one.list.number >= next.list.number) {
            return Err(TrustListError::Manifest(
                "stands behind one whose number is not lower".to_owned(),
            ));
        }
        if pairs().any(|(one, _)| one.list.roots.is_empty()) {
            return Err(TrustListError::Manifest(
                "stands behind one that brings no root key, and is not needed".to_owned(),
            ));
        }
        Ok(TrustFile { lists })
    }

    /// The list that counts.
    pub fn last(&self) -> &SignedTrustList {
        // There is at least one.
        &self.lists[self.lists.len() - 1]
    }

    /// How many lists in front of the last one bring root keys.
    pub fn changes_of_roots(&self) -> usize {
        self.lists.len() - 1
    }

    /// Whether each was signed by the key that it names, whosever that is.
    ///
    /// # Errors
    ///
    /// One was changed since, or nobody signed it.
    pub fn check_signatures(&self) -> Result<(), TrustListError> {
        self.lists.iter().try_for_each(|one| signer(one).map(drop))
    }

    /// Follows the lists from these root keys. Those in front that were signed before any of them counted say
    /// nothing to whoever has the later keys.
    ///
    /// # Errors
    ///
    /// None of the keys leads to the last list, or a signature does not fit.
    pub fn verify(self, roots: &[PublicKey]) -> Result<VerifiedTrust, TrustListError> {
        if roots.is_empty() {
            return Err(TrustListError::NoRoot);
        }
        let is_known =
            |one: &SignedTrustList| { one.signature.key() }.is_some_and(|key| roots.contains(&key));
        let last = self.lists.len() - 1;
        let first = self.lists.iter().position(is_known).unwrap_or(last);
        let mut verified = VerifiedTrust {
            lists: Vec::new(),
            roots: roots.to_vec(),
        };
        for one in self.lists.into_iter().skip(first) {
            verified.take(one)?;
        }
        Ok(verified)
    }

    /// As [`verify`](TrustFile::verify), from whoever signed the first list: whether a device that takes this one
    /// takes all.
    ///
    /// # Errors
    ///
    /// One is signed by a root key that those before it have replaced, or a signature does not fit.
    pub fn verify_from_first(self) -> Result<VerifiedTrust, TrustListError> {
        let first = signer(&self.lists[0])?;
        self.verify(&[first])
    }

    /// The file, for one more list behind it: what brings root keys.
    pub fn before_next(&self) -> Vec<u8> {
        let bringing = self.lists.iter().filter(|one| !one.list.roots.is_empty());
        bringing.flat_map(|one| one.bytes.iter().copied()).collect()
    }
}

/// A trust list that a root key of this device leads to. Only [`TrustFile::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTrust {
    /// As in a [`TrustFile`].
    lists: Vec<SignedTrustList>,
    roots: Vec<PublicKey>,
}

impl VerifiedTrust {
    /// The list that counts.
    pub fn list(&self) -> &TrustList {
        // There is at least one: whatever fails to be taken makes no `VerifiedTrust`.
        &self.lists[self.lists.len() - 1].list
    }

    /// The root keys that sign the next one.
    pub fn roots(&self) -> &[PublicKey] {
        &self.roots
    }

    /// All of it as it stands in a file.
    pub fn bytes(&self) -> Vec<u8> {
        let lists = self.lists.iter();
        lists.flat_map(|one| one.bytes.iter().copied()).collect()
    }

    /// Whether `next` may take its place, and what counts then. The same list again changes nothing.
    ///
    /// # Errors
    ///
    /// It is older, is another one of the same number, or no root key that counts now leads to it.
    pub fn follow(&self, next: TrustFile) -> Result<VerifiedTrust, TrustListError> {
        let installed = self.list().number;
        let last = next.last();
        let found = last.list.number;
        // Whatever its number: it was damaged, and that is to be told.
        signer(last)?;
        if found < installed {
            return Err(TrustListError::Older { found, installed });
        }
        if found == installed {
            return match last == &self.lists[self.lists.len() - 1] {
                true => Ok(self.clone()),
                false => Err(TrustListError::OtherContent { number: found }),
            };
        }
        let mut verified = self.clone();
        verified.lists.retain(|one| !one.list.roots.is_empty());
        for one in next.lists {
            if one.list.number > installed {
                verified.take(one)?;
            }
        }
        match verified.bytes().len() <= MAX_TRUST_FILE {
            true => Ok(verified),
            false => Err(TrustListError::Manifest(format!(
                "takes more than {MAX_TRUST_FILE} bytes with the {} changes of root keys in front of it: put the \
                 present root key's file into the key folder, and remove the file of the old list",
                verified.lists.len() - 1
            ))),
        }
    }

    /// Adds a list that a root key of now has signed.
    fn take(&mut self, one: SignedTrustList) -> Result<(), TrustListError> {
        let key = signer(&one)?;
        if !self.roots.contains(&key) {
            return Err(TrustListError::UnknownRoot {
                number: one.list.number,
                key: key.id(),
            });
        }
        if !one.list.roots.is_empty() {
            self.roots.clone_from(&one.list.roots);
        }
        self.lists.push(one);
        Ok(())
    }
}

/// Who signed it, if somebody did.
fn signer(one: &SignedTrustList) -> Result<PublicKey, TrustListError> {
    match one.signature {
        SignatureState::Valid(key) => Ok(key),
        SignatureState::Invalid(key) => Err(TrustListError::BadSignature { key: key.id() }),
        SignatureState::Unsigned => Err(TrustListError::Unsigned),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::{SecretKey, seal_trust_list};

    fn root(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    /// A list of this number by the root key of this seed, which brings those of `roots`.
    fn sealed(number: u64, by: u8, roots: &[u8]) -> Vec<u8> {
        let mut list = TrustList {
            number,
            roots: roots.iter().map(|seed| root(*seed).public()).collect(),
            ..TrustList::default()
        };
        list.sort();
        seal_trust_list(&list, Some(&root(by))).unwrap()
    }

    fn read(lists: &[Vec<u8>]) -> TrustFile {
        TrustFile::read(&lists.concat()).unwrap()
    }

    fn verified(lists: &[Vec<u8>], roots: &[u8]) -> Result<VerifiedTrust, TrustListError> {
        let roots: Vec<_> = roots.iter().map(|seed| root(*seed).public()).collect();
        read(lists).verify(&roots)
    }

    fn unknown(number: u64, by: u8) -> TrustListError {
        TrustListError::UnknownRoot {
            number,
            key: root(by).public().id(),
        }
    }

    #[test]
    fn a_list_by_a_root_key_counts_and_no_other() {
        let list = sealed(1, 1, &[]);
        assert_eq!(verified(from_ref(&list), &[2, 1]).unwrap().list().number, 1);
        assert_eq!(verified(from_ref(&list), &[2]), Err(unknown(1, 1)));
        assert_eq!(verified(&[list], &[]), Err(TrustListError::NoRoot));
        let unsigned = TrustList {
            number: 1,
            ..TrustList::default()
        };
        let unsigned = seal_trust_list(&unsigned, None).unwrap();
        assert_eq!(verified(&[unsigned], &[1]), Err(TrustListError::Unsigned));
    }

    #[test]
    fn numbers_only_go_up() {
        let installed = verified(&[sealed(5, 1, &[])], &[1]).unwrap();
        let follow = |number, roots: &[u8]| installed.follow(read(&[sealed(number, 1, roots)]));
        assert_eq!(follow(6, &[]).unwrap().list().number, 6);
        assert_eq!(follow(5, &[]).unwrap(), installed);
        let told = follow(5, &[3]).unwrap_err();
        assert_eq!(told, TrustListError::OtherContent { number: 5 });
        let told = follow(4, &[]).unwrap_err();
        let older = TrustListError::Older {
            found: 4,
            installed: 5,
        };
        assert_eq!(told, older);
        let told = installed.follow(read(&[sealed(9, 2, &[])])).unwrap_err();
        assert_eq!(told, unknown(9, 2));
    }

    #[test]
    fn new_root_keys_take_the_place_of_the_old_ones() {
        let first = verified(&[sealed(1, 1, &[])], &[1]).unwrap();
        let rotated = first.follow(read(&[sealed(2, 1, &[2])])).unwrap();
        assert_eq!(rotated.roots(), [root(2).public()]);
        // The old one signs nothing any more, whatever lies in the key folder.
        let told = rotated.follow(read(&[sealed(3, 1, &[])])).unwrap_err();
        assert_eq!(told, unknown(3, 1));
        let third = rotated.follow(read(&[sealed(3, 2, &[])])).unwrap();
        // What is kept leads there from the old root key and from the new one.
        for roots in [&[1_u8] as &[u8], &[2], &[1, 2]] {
            let roots: Vec<_> = roots.iter().map(|seed| root(*seed).public()).collect();
            let kept = TrustFile::read(&third.bytes()).unwrap();
            let kept = kept.verify(&roots).unwrap();
            assert_eq!((kept.list().number, kept.roots()), (3, third.roots()));
        }
        let fourth = third.follow(read(&[sealed(4, 2, &[])])).unwrap();
        assert_eq!(fourth.lists.len(), 2, "the third is not needed any more");
    }

    #[test]
    fn who_missed_a_change_of_root_keys_gets_it_with_the_next_list() {
        let first = verified(&[sealed(1, 1, &[])], &[1]).unwrap();
        let (second, fifth) = (sealed(2, 1, &[2]), sealed(5, 2, &[]));
        let told = first.follow(read(from_ref(&fifth))).unwrap_err();
        assert_eq!(told, unknown(5, 2));
        let both = read(&[second.clone(), fifth.clone()]);
        assert_eq!(both.before_next(), second);
        let now = first.follow(both.clone()).unwrap();
        assert_eq!(now.list().number, 5);
        // Nor may a file that says otherwise how it came to its root keys undo what counts.
        let forged = read(&[sealed(6, 1, &[3]), sealed(7, 3, &[])]);
        assert_eq!(now.follow(forged).unwrap_err(), unknown(6, 1));
        let forged = read(&[sealed(2, 1, &[3]), sealed(7, 3, &[])]);
        assert_eq!(now.follow(forged).unwrap_err(), unknown(7, 3));
        // Who has none begins anywhere.
        let fresh = both.verify(&[root(1).public()]).unwrap();
        assert_eq!(fresh.roots(), [root(2).public()]);
    }

    #[test]
    fn a_file_whose_lists_make_no_sense_together_is_refused() {
        for lists in [
            [sealed(2, 1, &[1]), sealed(2, 1, &[])],
            [sealed(2, 1, &[1]), sealed(1, 1, &[])],
            [sealed(1, 1, &[]), sealed(2, 1, &[])],
        ] {
            let told = TrustFile::read(&lists.concat()).unwrap_err();
            assert!(matches!(told, TrustListError::Manifest(_)), "{told}");
        }
    }
}
