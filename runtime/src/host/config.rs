//! `zlayer:plugin/config`: typed reads of the plugin's configuration.
//!
//! Numbers are what Rust's `parse` takes, and nothing around them: `42`, `-7` and `+5` are
//! integers, ` 42`, `4_2` and `0x2a` are not, nor is what does not fit 64 bits. A float may also
//! have an exponent, and be `inf`, `infinity` or `nan` in any case, with a sign.
//!
//! Without the capability `config` there is no configuration: every read finds nothing, and
//! `get-required` fails with code `CAPABILITY_DENIED`.

use std::ops::Bound;
use std::sync::Arc;

use super::bindings::zlayer::plugin::common::Error;
use super::bindings::zlayer::plugin::config::Host;
use super::listed::text_bytes;
use super::{HostState, denied};
use crate::capability::Capability;
use crate::redact::cut;

/// Bytes that an error shows of a key that is not there.
const KEY_BYTES: usize = 1024;

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
            message: format!(
                "the configuration has no value for '{}'",
                cut(&key, KEY_BYTES)
            ),
        })
    }

    /// A list can be as long as a plugin wants, so `long_lists.rs` has this function.
    fn get_many(&mut self, _: Vec<String>) -> Vec<(String, String)> {
        Vec::new()
    }

    fn get_prefix(&mut self, prefix: String) -> wasmtime::Result<Vec<(String, String)>> {
        if !self.may(Capability::Config) {
            return Ok(Vec::new());
        }
        let plugin = Arc::clone(&self.plugin);
        // The prefix is not copied: it may be as long as a call may hand over.
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let from = plugin.grants.config.range::<str, _>(from);
        let pairs = from.take_while(|(key, _)| key.starts_with(&prefix));
        self.charge_list("config.get-prefix", pairs_bytes(pairs.clone()))?;
        Ok(pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
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

/// Bytes that a list of copies of these pairs takes. It doubles as it grows.
fn pairs_bytes<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> usize {
    let pair = |(key, value): (&String, &String)| {
        2 * size_of::<(String, String)>() + text_bytes(key) + text_bytes(value)
    };
    pairs.map(pair).sum()
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
