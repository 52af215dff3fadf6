//! `zlayer:plugin/secrets`: the plugin's own secrets, by name.
//!
//! Without the capability `secrets` there are none: lists are empty, nothing exists, and reads fail
//! with code `CAPABILITY_DENIED`.

use std::sync::Arc;

use super::bindings::zlayer::plugin::common::Error;
use super::bindings::zlayer::plugin::secrets::Host;
use super::listed::text_bytes;
use super::{HostState, denied};
use crate::capability::Capability;
use crate::redact::cut;

/// Bytes that an error shows of the name of a secret that is not there.
const NAME_BYTES: usize = 1024;

impl Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<String>, Error> {
        self.secret(&name)
    }

    fn get_required(&mut self, name: String) -> Result<String, Error> {
        self.secret(&name)?.ok_or_else(|| Error {
            code: "SECRET_MISSING".to_owned(),
            message: format!("there is no secret '{}'", cut(&name, NAME_BYTES)),
        })
    }

    fn exists(&mut self, name: String) -> bool {
        self.may(Capability::Secrets) && self.plugin.secret(&name).is_some()
    }

    fn list_names(&mut self) -> wasmtime::Result<Vec<String>> {
        if !self.may(Capability::Secrets) {
            return Ok(Vec::new());
        }
        let plugin = Arc::clone(&self.plugin);
        let name = |name: &String| 2 * size_of::<String>() + text_bytes(name);
        self.charge_list("secrets.list-names", plugin.secret_names().map(name).sum())?;
        Ok(plugin.secret_names().cloned().collect())
    }
}

impl HostState {
    fn secret(&self, name: &str) -> Result<Option<String>, Error> {
        if !self.may(Capability::Secrets) {
            return Err(denied());
        }
        let secret = self.plugin.secret(name);
        if secret.is_none() {
            self.plugin.tell_of_no_secret(name, &self.request);
        }
        Ok(secret.map(|secret| secret.0.clone()))
    }
}
