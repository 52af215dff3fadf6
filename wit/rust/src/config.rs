//! The configuration that the deployment gives to the plugin (`zlayer:plugin/config`).

use crate::ask;
use crate::types::common::Error;

/// The value of `key`, or nothing when there is no such key.
pub fn get(key: &str) -> Option<String> {
    ask!(config.get(key))
}

/// The value of `key`.
///
/// # Errors
///
/// There is no such key: the code is `CONFIG_MISSING`, and the message names the key.
pub fn get_required(key: &str) -> Result<String, Error> {
    ask!(config.get_required(key))
}

/// Keys and values for those of `keys` that exist, in the order asked for.
pub fn get_many(keys: &[impl AsRef<str>]) -> Vec<(String, String)> {
    let keys: Vec<String> = keys.iter().map(|key| key.as_ref().to_owned()).collect();
    ask!(config.get_many(&keys))
}

/// Every key that begins with `prefix`, whole, with its value, sorted by key.
pub fn get_prefix(prefix: &str) -> Vec<(String, String)> {
    ask!(config.get_prefix(prefix))
}

/// Whether `key` exists. An empty value exists.
pub fn exists(key: &str) -> bool {
    ask!(config.exists(key))
}

/// The value as a truth value: `true`, `1` and `yes`, or `false`, `0` and `no`, in any letter case.
/// Nothing for any other value and for an absent key.
pub fn get_bool(key: &str) -> Option<bool> {
    ask!(config.get_bool(key))
}

/// The value as a decimal integer. Nothing when it is absent or is not one.
pub fn get_int(key: &str) -> Option<i64> {
    ask!(config.get_int(key))
}

/// The value as a decimal number. Nothing when it is absent or is not one.
pub fn get_float(key: &str) -> Option<f64> {
    ask!(config.get_float(key))
}
