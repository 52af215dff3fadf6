//! How a value lies in the database.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{KvError, Result};

/// A stored value: a tag byte, the expiry if the tag says so, the plugin's bytes.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) value: &'a [u8],
    /// Nanoseconds since the Unix epoch.
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

    /// None if the bytes are not what [`Entry::encode`] writes.
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

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// The number that a value stands for, and whether it is decimal text.
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

pub(super) fn now() -> u64 {
    // A clock before 1970 is a board without one: everything counts from zero then.
    nanos(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
