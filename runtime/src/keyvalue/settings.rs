//! How much a namespace may hold, and how safely.

pub use zlayer_bundle::Durability;

use super::parts::WHOLE_BYTES_MAX;

/// Largest value that a quota may allow, in bytes: the store's share of memory has room for that.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(VALUE_BYTES_MAX < WHOLE_BYTES_MAX);

/// Bounds on what one namespace may hold.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Bytes of one value (default 1 MiB).
    pub value_bytes: usize,
    /// Bytes of all keys and values together (default 64 MiB).
    pub bytes: u64,
    /// Number of keys (default 100,000).
    pub keys: u64,
    /// Bytes of keys that one `list_keys` may return (default 64 MiB, so that in practice the
    /// plugin's memory is the bound).
    pub list_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            value_bytes: 1 << 20,
            bytes: 64 << 20,
            keys: 100_000,
            list_bytes: 64 << 20,
        }
    }
}

/// How much a namespace may hold, and how safely.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The bounds on its content.
    pub quota: Quota,
    /// How safe an acknowledged change is.
    pub durability: Durability,
    /// Bytes that a plugin's changes may have written to flash in a day (default
    /// [`DAY_BYTES`]).
    pub day_bytes: u64,
}

/// What a plugin's changes may have written to flash in a day, where nobody says another: 2 GiB. In
/// five years that is 3.7 TB, a third of what an eMMC of 8 GB for 1,500 cycles takes; a counter that
/// is hit all day long, with a commit a second, has a sixth of it written.
pub const DAY_BYTES: u64 = 2 << 30;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            quota: Quota::default(),
            durability: Durability::default(),
            day_bytes: DAY_BYTES,
        }
    }
}
