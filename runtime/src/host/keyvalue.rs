//! `zlayer:plugin/keyvalue`: the plugin's namespace in the store.

use std::time::Duration;

use super::HostState;
use super::bindings::zlayer::plugin::keyvalue::{self, Host};
use crate::keyvalue::KvError;

type Result<T> = std::result::Result<T, keyvalue::KvError>;

impl Host for HostState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.plugin.namespace().await?.get(&key)?)
    }

    async fn get_string(&mut self, key: String) -> Result<Option<String>> {
        Ok(self.plugin.namespace().await?.get_string(&key)?)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        Ok(self.plugin.namespace().await?.set(&key, &value, None)?)
    }

    async fn set_string(&mut self, key: String, value: String) -> Result<()> {
        Ok(self
            .plugin
            .namespace()
            .await?
            .set(&key, value.as_bytes(), None)?)
    }

    async fn set_with_ttl(&mut self, key: String, value: Vec<u8>, ttl: u64) -> Result<()> {
        let ttl = Duration::from_nanos(ttl);
        Ok(self
            .plugin
            .namespace()
            .await?
            .set(&key, &value, Some(ttl))?)
    }

    async fn delete(&mut self, key: String) -> Result<bool> {
        Ok(self.plugin.namespace().await?.delete(&key)?)
    }

    async fn exists(&mut self, key: String) -> bool {
        match self.plugin.namespace().await {
            Ok(namespace) => namespace.exists(&key),
            Err(_) => false,
        }
    }

    async fn list_keys(&mut self, prefix: String) -> Result<Vec<String>> {
        Ok(self.plugin.namespace().await?.list_keys(&prefix)?)
    }

    async fn increment(&mut self, key: String, delta: i64) -> Result<i64> {
        Ok(self.plugin.namespace().await?.increment(&key, delta)?)
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new_value: Vec<u8>,
    ) -> Result<bool> {
        let namespace = self.plugin.namespace().await?;
        Ok(namespace.compare_and_swap(&key, expected.as_deref(), &new_value)?)
    }
}

impl From<KvError> for keyvalue::KvError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::InvalidKey => keyvalue::KvError::InvalidKey,
            KvError::ValueTooLarge => keyvalue::KvError::ValueTooLarge,
            KvError::QuotaExceeded => keyvalue::KvError::QuotaExceeded,
            KvError::Storage(why) => keyvalue::KvError::Storage(why),
        }
    }
}
