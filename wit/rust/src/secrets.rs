//! The secrets of the plugin's own service (`zlayer:plugin/secrets`).

use crate::ask;
use crate::types::common::Error;

/// The value of the secret `name`, or nothing when the service has none of that name.
///
/// # Errors
///
/// The deployment grants no secrets: the code is `CAPABILITY_DENIED`.
pub fn get(name: &str) -> Result<Option<String>, Error> {
    ask!(secrets.get(name))
}

/// The value of the secret `name`.
///
/// # Errors
///
/// The service has none of that name: the code is `SECRET_MISSING`.
pub fn get_required(name: &str) -> Result<String, Error> {
    ask!(secrets.get_required(name))
}

/// Whether the service has a secret of that name.
pub fn exists(name: &str) -> bool {
    ask!(secrets.exists(name))
}

/// The names, sorted, without the values.
pub fn list_names() -> Vec<String> {
    ask!(secrets.list_names())
}
