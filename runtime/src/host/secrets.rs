//! `zlayer:plugin/secrets`: the plugin's own secrets, by name.

use super::HostState;
use super::bindings::zlayer::plugin::common::Error;
use super::bindings::zlayer::plugin::secrets::Host;

impl Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<String>, Error> {
        Ok(self
            .plugin
            .secrets
            .get(&name)
            .map(|secret| secret.0.clone()))
    }

    fn get_required(&mut self, name: String) -> Result<String, Error> {
        self.get(name.clone())?.ok_or_else(|| Error {
            code: "SECRET_MISSING".to_owned(),
            message: format!("there is no secret '{name}'"),
        })
    }

    fn exists(&mut self, name: String) -> bool {
        self.plugin.secrets.contains_key(&name)
    }

    fn list_names(&mut self) -> Vec<String> {
        self.plugin.secrets.keys().cloned().collect()
    }
}
