//! What was told already, so that the log says it once.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;

use crate::sync;

/// How many different things are told. A plugin that asks for ever new ones fills no log, and no
/// memory: 8 bytes each.
const TOLD: usize = 64;

/// Knows what was told, by its hash.
#[derive(Debug, Default)]
pub(crate) struct Told {
    hasher: RandomState,
    hashes: Mutex<Vec<u64>>,
}

impl Told {
    /// Whether this is the first time that `what` is told. Behind the first 64 things nothing is.
    pub(crate) fn is_first(&self, what: impl Hash) -> bool {
        let hash = self.hasher.hash_one(what);
        let mut hashes = sync::lock(&self.hashes);
        let is_first = hashes.len() < TOLD && !hashes.contains(&hash);
        if is_first {
            hashes.push(hash);
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_and_not_too_many() {
        let told = Told::default();
        assert!(told.is_first(("host", "a")) && told.is_first(("secret", "a")));
        assert!(!told.is_first(("host", "a")));
        let first = (0..1000).filter(|number| told.is_first(number)).count();
        assert_eq!(first, TOLD - 2);
    }
}
