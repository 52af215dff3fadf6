//! `zlayer:plugin/keyvalue`: the plugin's namespace in the store.

use std::sync::Arc;
use std::time::Duration;

use super::HostState;
use super::bindings::zlayer::plugin::keyvalue::{self, Host};
use super::kv_calls::Call;
use crate::capability::Capability;
use crate::keyvalue::{KvError, Namespace};
use crate::memory::Reservation;

type Result<T> = std::result::Result<T, keyvalue::KvError>;

impl Host for HostState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        let _held = self.charge_value(key.len())?;
        let plugin = Arc::clone(&self.plugin);
        let value = async { plugin.namespace().await?.get(&key).await }.await;
        let value = self.noted(call("get", &key), value)?;
        self.check_room(value.as_ref().map_or(0, Vec::len))?;
        Ok(value)
    }

    async fn get_string(&mut self, key: String) -> Result<Option<String>> {
        let _held = self.charge_value(key.len())?;
        let plugin = Arc::clone(&self.plugin);
        let value = async { plugin.namespace().await?.get_string(&key).await }.await;
        let value = self.noted(call("get-string", &key), value)?;
        self.check_room(value.as_ref().map_or(0, String::len))?;
        Ok(value)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        self.store("set", &key, &value, None).await
    }

    async fn set_string(&mut self, key: String, value: String) -> Result<()> {
        self.store("set-string", &key, value.as_bytes(), None).await
    }

    async fn set_with_ttl(&mut self, key: String, value: Vec<u8>, ttl: u64) -> Result<()> {
        let ttl = Some(Duration::from_nanos(ttl));
        self.store("set-with-ttl", &key, &value, ttl).await
    }

    async fn delete(&mut self, key: String) -> Result<bool> {
        let _held = self.charge_value(key.len())?;
        let plugin = Arc::clone(&self.plugin);
        let deleted = async { plugin.namespace().await?.delete(&key).await }.await;
        Ok(self.noted(call("delete", &key), deleted)?)
    }

    async fn exists(&mut self, key: String) -> bool {
        let Ok(_held) = self.charge_value(key.len()) else {
            return false;
        };
        let plugin = Arc::clone(&self.plugin);
        let exists = async { plugin.namespace().await?.exists(&key).await }.await;
        let exists = self.noted(call("exists", &key), exists);
        exists.unwrap_or(false)
    }

    async fn list_keys(&mut self, prefix: String) -> Result<Vec<String>> {
        // The last list is in the plugin's own memory by now.
        self.listed = None;
        let _held = self.charge_value(prefix.len())?;
        let plugin = Arc::clone(&self.plugin);
        let listed = async {
            let namespace = plugin.namespace().await?;
            let room = self.room_for_list(namespace.list_bound());
            let mut list = namespace.begin_list(&prefix, room)?;
            // A long list is read in pieces, each in the plugin's turn.
            while list.read_on().await? {
                plugin.pause().await;
            }
            Ok(list.into_keys())
        }
        .await;
        let listed = self.noted(call("list-keys", &prefix), listed);
        let bytes = listed
            .as_ref()
            .map_or(0, |keys| Namespace::list_bytes(keys));
        if bytes <= SMALL_LIST {
            self.listed = None;
        } else if let Some(held) = &mut self.listed {
            held.shrink(held.bytes().saturating_sub(bytes * HELD_LIST));
        }
        Ok(listed?)
    }

    async fn increment(&mut self, key: String, delta: i64) -> Result<i64> {
        let _held = self.charge_value(key.len())?;
        let plugin = Arc::clone(&self.plugin);
        let sum = async { plugin.namespace().await?.increment(&key, delta).await }.await;
        Ok(self.noted(call("increment", &key), sum)?)
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new_value: Vec<u8>,
    ) -> Result<bool> {
        let call = Call {
            value_bytes: new_value.len(),
            ..call("compare-and-swap", &key)
        };
        self.check_size(call)?;
        let expected_bytes = expected.as_ref().map_or(0, Vec::len);
        let _held = self.charge_value(key.len() + expected_bytes + new_value.len())?;
        let plugin = Arc::clone(&self.plugin);
        let swapped = async {
            let namespace = plugin.namespace().await?;
            let swap = namespace.compare_and_swap(&key, expected.as_deref(), &new_value);
            swap.await
        }
        .await;
        Ok(self.noted(call, swapped)?)
    }
}

/// A call, to be named in the log.
fn call<'a>(name: &'static str, key: &'a str) -> Call<'a> {
    Call {
        name,
        key,
        value_bytes: 0,
    }
}

/// Bytes of the memory that a plugin may still take which are left for its allocator, beside a
/// call's result.
const ALLOCATOR_BYTES: usize = 128 << 10;

impl HostState {
    async fn store(
        &mut self,
        name: &'static str,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<()> {
        let call = Call {
            value_bytes: value.len(),
            ..call(name, key)
        };
        self.check_size(call)?;
        let _held = self.charge_value(key.len() + value.len())?;
        let plugin = Arc::clone(&self.plugin);
        let stored = async { plugin.namespace().await?.set(key, value, ttl).await }.await;
        Ok(self.noted(call, stored)?)
    }

    /// Tells the log if a call of the store has failed in a new way. What is not granted is told by
    /// others.
    fn noted<T>(
        &self,
        call: Call<'_>,
        ended: std::result::Result<T, KvError>,
    ) -> std::result::Result<T, KvError> {
        if !self.plugin.gate.granted().contains(Capability::Keyvalue) {
            return ended;
        }
        let request = self.request.id();
        self.plugin.note_call(request.as_deref(), call, ended)
    }

    /// Refuses a value that is too large, whatever state the store is in: it need not wait for that.
    fn check_size(&self, call: Call<'_>) -> Result<()> {
        let is_granted = self.plugin.gate.granted().contains(Capability::Keyvalue);
        match is_granted && call.value_bytes > self.plugin.largest_value() {
            true => Ok(self.noted(call, Err(KvError::ValueTooLarge))?),
            false => Ok(()),
        }
    }

    /// Charges large keys and values to the memory budget for as long as a call may wait while it
    /// holds them.
    fn charge_value(&self, bytes: usize) -> Result<Option<Reservation>> {
        // A call that is not granted does not wait.
        if bytes <= SMALL_VALUE || !self.plugin.gate.granted().contains(Capability::Keyvalue) {
            return Ok(None);
        }
        match self.limiter.charge_call(bytes) {
            Some(held) => Ok(Some(held)),
            None => Err(keyvalue::KvError::Storage(
                "the device has no memory for the value at the moment".to_owned(),
            )),
        }
    }

    /// How many bytes a call's result may take in the plugin's memory. A longer one would be a
    /// trap, because copying it there makes the plugin allocate.
    fn room(&self) -> usize {
        let room = self.limiter.room().saturating_sub(ALLOCATOR_BYTES);
        room.max(SMALL_ANSWER)
    }

    /// How many bytes a list may take, at most `bound`. One that is longer than [`SMALL_LIST`] is
    /// charged while the host holds it, so there has to be room for it several times.
    fn room_for_list(&mut self, bound: usize) -> usize {
        let room = self.room();
        let small = room.min(SMALL_LIST);
        let large = bound.min(room / (1 + HELD_LIST));
        if large <= small {
            return small;
        }
        self.listed = self.limiter.charge_call(large * HELD_LIST);
        match self.listed {
            Some(_) => large,
            None => small,
        }
    }

    /// Whether the plugin has memory for a value of so many bytes, and the host while it is passed on.
    fn check_room(&mut self, bytes: usize) -> Result<()> {
        self.listed = None;
        if bytes > SMALL_VALUE {
            self.listed = self.limiter.charge_call(bytes);
        }
        if bytes <= self.room() && (bytes <= SMALL_VALUE || self.listed.is_some()) {
            return Ok(());
        }
        Err(keyvalue::KvError::Storage(format!(
            "the value has {bytes} bytes, for which the plugin has no memory left"
        )))
    }
}

/// Up to this many bytes of a list of keys are not charged: the instance's own share has room for
/// them.
const SMALL_LIST: usize = 1 << 20;
/// How many times the memory that a list takes in the plugin it takes in the host: the strings, and
/// the list of them, which grows by doubling.
const HELD_LIST: usize = 2;
/// Values of up to this many bytes are not charged: the instance's own share has room for them.
const SMALL_VALUE: usize = 64 << 10;
/// Results of up to this many bytes are returned without a look at the plugin's memory: they fit
/// into what its allocator has at hand.
const SMALL_ANSWER: usize = 4 << 10;

impl From<KvError> for keyvalue::KvError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::InvalidKey => keyvalue::KvError::InvalidKey,
            KvError::ValueTooLarge => keyvalue::KvError::ValueTooLarge,
            KvError::QuotaExceeded | KvError::WritesExceeded => keyvalue::KvError::QuotaExceeded,
            KvError::Storage(why) => keyvalue::KvError::Storage(why),
        }
    }
}
