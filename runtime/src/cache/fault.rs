//! What is wrong with a plugin's caching decision, so that the response is not stored.

use std::fmt;

use http::header::HeaderName;

use super::vary::NAMES;
use super::{KEY_BYTES, Policy, TAG_BYTES, TAGS};

/// A limit of the cache that the plugin's decision exceeds, or a name that is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The key is too long.
    Key,
    /// There are too many tags.
    Tags,
    /// A tag is too long.
    Tag,
    /// There are too many names to vary by.
    Names,
    /// One of the names to vary by is not a valid header name.
    Name,
}

impl Fault {
    /// Bytes of the shortest key that is too long.
    pub const SHORTEST_LONG_KEY: usize = KEY_BYTES + 1;

    /// What is wrong with a key that a plugin chose, if anything is.
    pub fn of_key(key: &str) -> Option<Fault> {
        (key.len() > KEY_BYTES).then_some(Fault::Key)
    }

    /// What is wrong with a policy, if anything is. A plugin may say `vary: *`.
    pub fn of_policy(policy: &Policy) -> Option<Fault> {
        let is_name = |name: &String| {
            let name = name.trim_ascii();
            matches!(name, "" | "*") || HeaderName::from_bytes(name.as_bytes()).is_ok()
        };
        if policy.tags.len() > TAGS {
            Some(Fault::Tags)
        } else if policy.tags.iter().any(|tag| tag.len() > TAG_BYTES) {
            Some(Fault::Tag)
        } else if !policy.vary.iter().all(is_name) {
            Some(Fault::Name)
        } else {
            (policy.vary.len() > NAMES).then_some(Fault::Names)
        }
    }

    /// A bit for this fault, for sets of faults in one byte.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Key => write!(f, "its key has more than {KEY_BYTES} bytes"),
            Fault::Tags => write!(f, "it has more than {TAGS} tags"),
            Fault::Tag => write!(f, "a tag of it has more than {TAG_BYTES} bytes"),
            Fault::Names => write!(f, "it varies by more than {NAMES} headers"),
            Fault::Name => f.write_str("it varies by what is no header's name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_told_apart() {
        let tags = |tag: &str, count| Policy {
            tags: vec![tag.to_owned(); count],
            ..Policy::default()
        };
        let vary = |name: &str, count| Policy {
            vary: (0..count).map(|number| format!("{name}{number}")).collect(),
            ..Policy::default()
        };
        for (policy, fault) in [
            (tags("a", TAGS), None),
            (tags("a", TAGS + 1), Some(Fault::Tags)),
            (tags(&"a".repeat(TAG_BYTES + 1), 1), Some(Fault::Tag)),
            (vary("a", NAMES), None),
            (vary("a", NAMES + 1), Some(Fault::Names)),
            (vary("no name", 1), Some(Fault::Name)),
        ] {
            assert_eq!(Fault::of_policy(&policy), fault, "{policy:?}");
        }
        assert_eq!(Fault::of_key(&"k".repeat(KEY_BYTES)), None);
        assert_eq!(Fault::of_key(&"k".repeat(KEY_BYTES + 1)), Some(Fault::Key));
    }
}
