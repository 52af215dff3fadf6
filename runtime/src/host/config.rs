//! `zlayer:plugin/config`: typed reads of the plugin's configuration.
//!
//! Numbers are what Rust's `parse` takes, and nothing around them: `42`, `-7` and `+5` are
//! integers, ` 42`, `4_2` and `0x2a` are not, nor is what does not fit 64 bits. A float may also
//! have an exponent, and be `inf`, `infinity` or `nan` in any case, with a sign.
//!
//! Without the capability `config` there is no configuration: every read finds nothing, and
//! `get-required` fails with code `CAPABILITY_DENIED`.

use super::bindings::zlayer::plugin::common::Error;
use super::bindings::zlayer::plugin::config::Host;
use super::{HostState, denied};
use crate::capability::Capability;

impl Host for HostState {
    fn get(&mut self, key: String) -> Option<String> {
        self.value(&key).map(str::to_owned)
    }

    fn get_required(&mut self, key: String) -> Result<String, Error> {
        if !self.may(Capability::Config) {
            return Err(denied());
        }
        let value = self.plugin.grants.config.get(&key).cloned();
        value.ok_or_else(|| Error {
            code: "CONFIG_MISSING".to_owned(),
            message: format!("the configuration has no value for '{key}'"),
        })
    }

    fn get_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        if !self.may(Capability::Config) {
            return Ok(found);
        }
        // A plugin may name the same key many times, so the result can be as long as it wants. A
        // result that does not fit the plugin's memory is a trap anyway, so it must not be built in
        // the host first.
        let mut room = self.limiter.room();
        for key in keys {
            let Some(value) = self.plugin.grants.config.get(&key) else {
                continue;
            };
            let bytes = key.len() + value.len() + size_of::<(String, String)>();
            room = room.checked_sub(bytes).ok_or_else(|| {
                wasmtime::format_err!("config.get-many: the plugin has no memory for the result")
            })?;
            found.push((key, value.clone()));
        }
        Ok(found)
    }

    fn get_prefix(&mut self, prefix: String) -> Vec<(String, String)> {
        if !self.may(Capability::Config) {
            return Vec::new();
        }
        let from = self.plugin.grants.config.range(prefix.clone()..);
        from.take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn exists(&mut self, key: String) -> bool {
        self.value(&key).is_some()
    }

    fn get_bool(&mut self, key: String) -> Option<bool> {
        let value = self.value(&key)?;
        let is = |word: &str| value.eq_ignore_ascii_case(word);
        if ["true", "1", "yes"].into_iter().any(is) {
            Some(true)
        } else if ["false", "0", "no"].into_iter().any(is) {
            Some(false)
        } else {
            None
        }
    }

    fn get_int(&mut self, key: String) -> Option<i64> {
        self.value(&key)?.parse().ok()
    }

    fn get_float(&mut self, key: String) -> Option<f64> {
        self.value(&key)?.parse().ok()
    }
}

impl HostState {
    /// The value of `key`. None where the plugin is not granted the configuration.
    fn value(&self, key: &str) -> Option<&str> {
        if !self.may(Capability::Config) {
            return None;
        }
        self.plugin.grants.config.get(key).map(String::as_str)
    }
}
