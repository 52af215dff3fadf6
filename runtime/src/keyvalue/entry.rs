//! How a value is laid out in the database.

use std::time::Duration;

use super::parts::{Head, PART_BYTES};
use super::{KvError, Result};

/// A stored value: a tag byte, the expiry if the tag announces one, and the plugin's bytes.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) value: &'a [u8],
    /// When it expires, in nanoseconds of the store's own time ([`super::clock`]).
    pub(super) expires: Option<u64>,
}

const TAG_PLAIN: u8 = 0;
const TAG_EXPIRES: u8 = 1;

impl Entry<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(self.value.len() + 9);
        match self.expires {
            None => stored.push(TAG_PLAIN),
            Some(at) => {
                stored.push(TAG_EXPIRES);
                stored.extend_from_slice(&at.to_le_bytes());
            }
        }
        stored.extend_from_slice(self.value);
        stored
    }

    /// Returns `None` if [`Entry::encode`] cannot have written these bytes.
    pub(super) fn decode(stored: &[u8]) -> Option<Entry<'_>> {
        match stored.split_first() {
            Some((&TAG_PLAIN, value)) => Some(Entry {
                value,
                expires: None,
            }),
            Some((&TAG_EXPIRES, rest)) => {
                let (at, value) = rest.split_first_chunk::<8>()?;
                Some(Entry {
                    value,
                    expires: Some(u64::from_le_bytes(*at)),
                })
            }
            _ => None,
        }
    }

    /// What stands in the place of a stored value that is so large that it is stored in parts.
    pub(super) fn head(stored: &[u8]) -> Option<Head> {
        let entry = Entry::decode(stored).filter(|_| stored.len() > PART_BYTES)?;
        Some(Head {
            bytes: stored.len(),
            expires: entry.expires,
        })
    }

    /// When a stored value expires, if it does. Here and below it may be whole or in parts.
    pub(super) fn expiry(stored: &[u8]) -> Option<u64> {
        match Head::decode(stored) {
            Some(head) => head.expires,
            None => Entry::decode(stored)?.expires,
        }
    }

    /// Bytes of a stored value.
    pub(super) fn stored_bytes(stored: &[u8]) -> usize {
        Head::decode(stored).map_or(stored.len(), |head| head.bytes)
    }

    /// Whether these bytes are a stored value that has not expired by `now`.
    pub(super) fn is_alive(stored: &[u8], now: u64) -> bool {
        let is_value = Entry::decode(stored).is_some() || Head::decode(stored).is_some();
        is_value && Entry::expiry(stored).is_none_or(|at| at > now)
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// The number that a value stands for, and whether it is stored as decimal text.
pub(super) fn number(value: &[u8]) -> Result<(i64, bool)> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        let parsed = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(number) = parsed {
            return Ok((number, true));
        }
    }
    match <[u8; 8]>::try_from(value) {
        Ok(bytes) => Ok((i64::from_le_bytes(bytes), false)),
        Err(_) => Err(KvError::Storage("not a number".to_owned())),
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_other_bytes_do_not_pass() {
        for expires in [None, Some(0), Some(u64::MAX)] {
            for value in [&b""[..], b"x", &[1; 300]] {
                let stored = Entry { value, expires }.encode();
                let entry = Entry::decode(&stored).unwrap();
                assert_eq!((entry.value, entry.expires), (value, expires));
            }
        }
        for bytes in [&b""[..], b"\x01", b"\x011234567", b"\x02x", b"\xff"] {
            assert!(Entry::decode(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn values_in_parts_are_described_as_whole_ones_are() {
        for expires in [None, Some(7)] {
            let value = &vec![1; PART_BYTES];
            let whole = Entry { value, expires }.encode();
            let head = Entry::head(&whole).unwrap().encode();
            assert!(Entry::decode(&head).is_none() && Entry::head(&head).is_none());
            for stored in [&whole, &head] {
                assert_eq!(Entry::expiry(stored), expires);
                assert_eq!(Entry::stored_bytes(stored), whole.len());
                assert!(Entry::is_alive(stored, 6));
                assert_eq!(Entry::is_alive(stored, 7), expires.is_none());
            }
            let value = &value[..PART_BYTES - 9];
            assert_eq!(Entry::head(&Entry { value, expires }.encode()), None);
        }
        assert!(!Entry::is_alive(b"\xff", 0));
    }

    #[test]
    fn numbers_are_decimal_text_or_eight_bytes() {
        for (value, expected) in [
            (&b"0"[..], (0, true)),
            (b"-12", (-12, true)),
            (b"007", (7, true)),
            (b"12345678", (12_345_678, true)),
            (b"-1234567", (-1_234_567, true)),
            (&[1, 0, 0, 0, 0, 0, 0, 0], (1, false)),
            (b"-abcdefg", (i64::from_le_bytes(*b"-abcdefg"), false)),
        ] {
            assert_eq!(number(value).unwrap(), expected, "{value:?}");
        }
        for value in [
            &b""[..],
            b"-",
            b"+5",
            b"1.0",
            b"99999999999999999999",
            b" 1",
        ] {
            assert!(number(value).is_err(), "{value:?}");
        }
    }
}
