//! Large values, which the database holds in parts.
//!
//! fjall has a value whole in memory many times at a moment: in the journal's buffer, in the block
//! that is being written, and once for each table that takes part in a merge. So that this does not
//! grow with the values, one that is larger than [`PART_BYTES`] is cut up. Its key then holds a
//! [`Head`], and its parts have keys of their own. Both change in the same batch, so they always
//! fit together.

/// The length of each part but the last. Databases on flash depend on it: it must not change.
pub(super) const PART_BYTES: usize = 32 << 10;
/// The most bytes of a value in parts with all that is stored of it. A head that says more is damaged.
pub(super) const WHOLE_BYTES_MAX: usize = 2 << 20;
/// Keys of parts begin with this. No namespace has an empty name, so no key of a plugin begins
/// with a zero byte.
pub(super) const PART_KEY: &[u8] = b"\0part\0";
/// What a head begins with: a tag that no whole value has.
const TAG_HEAD: u8 = 2;

/// What stands in the place of a value that is stored in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the whole stored value.
    pub(super) bytes: usize,
    /// When it expires, in nanoseconds of the store's own time.
    pub(super) expires: Option<u64>,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut head = vec![TAG_HEAD];
        head.extend_from_slice(&(self.bytes as u64).to_le_bytes());
        head.extend(self.expires.into_iter().flat_map(u64::to_le_bytes));
        head
    }

    /// Returns `None` if [`Head::encode`] cannot have written these bytes.
    pub(super) fn decode(stored: &[u8]) -> Option<Head> {
        let (bytes, rest) = stored.strip_prefix(&[TAG_HEAD])?.split_first_chunk()?;
        let bytes = usize::try_from(u64::from_le_bytes(*bytes)).ok()?;
        let expires = match rest {
            [] => None,
            rest => Some(u64::from_le_bytes(rest.try_into().ok()?)),
        };
        let whole = PART_BYTES + 1..=WHOLE_BYTES_MAX;
        whole.contains(&bytes).then_some(Head { bytes, expires })
    }

    /// The keys of its parts, in order, where `key` is the one that holds the head. What expires
    /// has the time in the keys of its parts, so that they are removed with it.
    pub(super) fn part_keys(&self, key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let expires = self.expires.unwrap_or(u64::MAX).to_be_bytes();
        let start = [PART_KEY, key, &expires].concat();
        // A value has so few parts that their number fits.
        let count = self.bytes.div_ceil(PART_BYTES) as u16;
        (0..count).map(move |number| [&start[..], &number.to_be_bytes()].concat())
    }
}

/// When the part with this key expires, if it is the key of one that does.
pub(super) fn part_expiry(key: &[u8]) -> Option<u64> {
    let (rest, _number) = key.strip_prefix(PART_KEY)?.split_last_chunk::<2>()?;
    let (_key, expires) = rest.split_last_chunk()?;
    Some(u64::from_be_bytes(*expires)).filter(|at| *at != u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_and_other_bytes_do_not_pass() {
        for bytes in [PART_BYTES + 1, 3 * PART_BYTES, WHOLE_BYTES_MAX] {
            for expires in [None, Some(0), Some(u64::MAX)] {
                let head = Head { bytes, expires };
                assert_eq!(Head::decode(&head.encode()), Some(head));
            }
        }
        for bytes in [0, PART_BYTES, WHOLE_BYTES_MAX + 1, usize::MAX] {
            let expires = None;
            assert_eq!(Head::decode(&Head { bytes, expires }.encode()), None);
        }
        for damaged in [&b""[..], b"\x02", b"\x01", &[2; 10]] {
            assert_eq!(Head::decode(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn parts_expire_with_their_value_and_have_keys_of_their_own() {
        let bytes = 2 * PART_BYTES + 1;
        for (expires, shown) in [(None, None), (Some(5), Some(5)), (Some(u64::MAX), None)] {
            let head = Head { bytes, expires };
            let keys: Vec<_> = head.part_keys(b"plugin\0k").collect();
            assert_eq!(keys.len(), 3);
            assert!(keys.is_sorted() && keys[0] != keys[1]);
            assert!(keys.iter().all(|key| part_expiry(key) == shown));
            let others: Vec<_> = head.part_keys(b"plugin\0kk").collect();
            assert!(others.iter().all(|key| !keys.contains(key)));
        }
        for key in [&b"\0clock"[..], b"\0part\0", b"plugin\0k"] {
            assert_eq!(part_expiry(key), None);
        }
    }
}
