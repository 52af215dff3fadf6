//! How a value is laid out in the database.

use std::time::Duration;

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

    /// When a stored value expires, if it does.
    pub(super) fn expiry(stored: &[u8]) -> Option<u64> {
        Entry::decode(stored)?.expires
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
