//! `zlayer:plugin/config` of a test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::denied;
use crate::types::common::Error;

/// Keys that set the plugin's own log level, the stronger one first.
const LEVEL_KEYS: [&str; 2] = ["LOG_LEVEL", "RUST_LOG"];

#[derive(Debug, Default)]
pub(crate) struct Config {
    values: RefCell<BTreeMap<String, String>>,
    pub(super) denied: Cell<bool>,
}

impl Config {
    /// Sets a value, and says whether it has to do with the log level.
    pub(super) fn insert(&self, key: &str, value: &str) -> bool {
        let mut values = self.values.borrow_mut();
        values.insert(key.to_owned(), value.to_owned());
        LEVEL_KEYS.contains(&key)
    }

    /// The log level that is set, whether or not the plugin may read it.
    pub(super) fn level(&self) -> Option<String> {
        let values = self.values.borrow();
        LEVEL_KEYS.iter().find_map(|key| values.get(*key).cloned())
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        match self.denied.get() {
            true => None,
            false => self.values.borrow().get(key).cloned(),
        }
    }

    pub(crate) fn get_required(&self, key: &str) -> Result<String, Error> {
        if self.denied.get() {
            return Err(denied());
        }
        self.get(key).ok_or_else(|| Error {
            code: "CONFIG_MISSING".to_owned(),
            message: format!("the configuration has no value for '{key}'"),
        })
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Vec<(String, String)> {
        let pair = |key: &String| Some((key.clone(), self.get(key)?));
        keys.iter().filter_map(pair).collect()
    }

    pub(crate) fn get_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        if self.denied.get() {
            return Vec::new();
        }
        let values = self.values.borrow();
        let pairs = values.iter().filter(|(key, _)| key.starts_with(prefix));
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn exists(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get_bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        }
    }

    pub(crate) fn get_int(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    pub(crate) fn get_float(&self, key: &str) -> Option<f64> {
        self.get(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use crate::config;
    use crate::double::{Capability, Host};

    #[test]
    fn values_are_read_by_type() {
        let _host = Host::new()
            .config("on", "YES")
            .config("off", "0")
            .config("number", "-7")
            .config("share", "0.5")
            .config("empty", "");
        assert_eq!(config::get_bool("on"), Some(true));
        assert_eq!(config::get_bool("off"), Some(false));
        assert_eq!(config::get_bool("number"), None);
        assert_eq!(config::get_int("number"), Some(-7));
        assert_eq!(config::get_int("share"), None);
        assert_eq!(config::get_float("share"), Some(0.5));
        assert!(config::exists("empty") && !config::exists("ON"));
    }

    #[test]
    fn lists_are_sorted_by_key_or_as_asked_for() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let _host = Host::new()
            .config("db.port", "1")
            .config("db.host", "h")
            .config("dba", "x");
        assert_eq!(
            config::get_prefix("db."),
            [pair("db.host", "h"), pair("db.port", "1")]
        );
        assert_eq!(
            config::get_many(&["dba", "none", "db.host"]),
            [pair("dba", "x"), pair("db.host", "h")]
        );
    }

    #[test]
    fn what_is_missing_or_denied_has_a_code() {
        let host = Host::new();
        let error = config::get_required("url").unwrap_err();
        assert_eq!(error.code, "CONFIG_MISSING");
        assert!(error.message.contains("url"));
        let _host = host.config("url", "u").deny(Capability::Config);
        assert_eq!(
            config::get_required("url").unwrap_err().code,
            "CAPABILITY_DENIED"
        );
        assert!(config::get("url").is_none() && config::get_prefix("").is_empty());
    }
}
