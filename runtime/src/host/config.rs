//! `zlayer:plugin/config`: typed reads of the plugin's configuration.

use super::HostState;
use super::bindings::zlayer::plugin::common::Error;
use super::bindings::zlayer::plugin::config::Host;

impl Host for HostState {
    fn get(&mut self, key: String) -> Option<String> {
        self.plugin.config.get(&key).cloned()
    }

    fn get_required(&mut self, key: String) -> Result<String, Error> {
        self.get(key.clone()).ok_or_else(|| Error {
            code: "CONFIG_MISSING".to_owned(),
            message: format!("the configuration has no value for '{key}'"),
        })
    }

    fn get_many(&mut self, keys: Vec<String>) -> Vec<(String, String)> {
        let config = &self.plugin.config;
        let found = |key: String| config.get(&key).cloned().map(|value| (key, value));
        keys.into_iter().filter_map(found).collect()
    }

    fn get_prefix(&mut self, prefix: String) -> Vec<(String, String)> {
        let from = self.plugin.config.range(prefix.clone()..);
        from.take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn exists(&mut self, key: String) -> bool {
        self.plugin.config.contains_key(&key)
    }

    fn get_bool(&mut self, key: String) -> Option<bool> {
        let value = self.plugin.config.get(&key)?;
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
        self.plugin.config.get(&key)?.parse().ok()
    }

    fn get_float(&mut self, key: String) -> Option<f64> {
        self.plugin.config.get(&key)?.parse().ok()
    }
}
