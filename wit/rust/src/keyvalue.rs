//! The plugin's store: a namespace for each service (`zlayer:plugin/keyvalue`).
//!
//! A key is any text of 1 to 1024 bytes without control characters. A key whose time to live has run
//! out is absent to every function here, from that moment on.

pub use crate::bindings::zlayer::plugin::keyvalue::KvError;

use crate::ask;

/// The value of `key`, or nothing when it is absent.
///
/// # Errors
///
/// Those of [`KvError`], as for every function here.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    ask!(keyvalue.get(key))
}

/// The value of `key` as text, or nothing when it is absent.
///
/// # Errors
///
/// A value that is not UTF-8 is [`KvError::Storage`].
pub fn get_string(key: &str) -> Result<Option<String>, KvError> {
    ask!(keyvalue.get_string(key))
}

/// Stores `value` under `key` for good: a time to live is taken off.
///
/// # Errors
///
/// Those of [`KvError`].
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), KvError> {
    ask!(keyvalue.set(key, value.as_ref()))
}

/// Stores text under `key`, as [`set`] does with bytes.
///
/// # Errors
///
/// Those of [`KvError`].
pub fn set_string(key: &str, value: &str) -> Result<(), KvError> {
    ask!(keyvalue.set_string(key, value))
}

/// Stores `value` under `key` until `ttl` nanoseconds have passed; zero of them have passed already.
///
/// # Errors
///
/// Those of [`KvError`].
pub fn set_with_ttl(key: &str, value: impl AsRef<[u8]>, ttl: u64) -> Result<(), KvError> {
    ask!(keyvalue.set_with_ttl(key, value.as_ref(), ttl))
}

/// Removes `key` and says whether it was there.
///
/// # Errors
///
/// Those of [`KvError`].
pub fn delete(key: &str) -> Result<bool, KvError> {
    ask!(keyvalue.delete(key))
}

/// Whether `key` is there. False for a key that could not exist.
pub fn exists(key: &str) -> bool {
    ask!(keyvalue.exists(key))
}

/// Every key that begins with `prefix`, sorted.
///
/// # Errors
///
/// A list that would not fit into the plugin's memory is [`KvError::Storage`].
pub fn list_keys(prefix: &str) -> Result<Vec<String>, KvError> {
    ask!(keyvalue.list_keys(prefix))
}

/// Adds `delta` to the counter `key` and returns the sum, in one step that no other request can come
/// between. An absent key counts as 0 and is stored as eight bytes, the lowest first; decimal text
/// stays decimal text. The sum stops at the ends of the range, and a time to live goes on.
///
/// # Errors
///
/// A value that is no number is [`KvError::Storage`].
pub fn increment(key: &str, delta: i64) -> Result<i64, KvError> {
    ask!(keyvalue.increment(key, delta))
}

/// Stores `new_value` if `key` holds `expected` now, where nothing means that the key is absent, and
/// says whether it did. One step, as [`increment`] is. A time to live goes on.
///
/// # Errors
///
/// Those of [`KvError`].
pub fn compare_and_swap(
    key: &str,
    expected: Option<&[u8]>,
    new_value: impl AsRef<[u8]>,
) -> Result<bool, KvError> {
    ask!(keyvalue.compare_and_swap(key, expected, new_value.as_ref()))
}
