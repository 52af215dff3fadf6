//! What the log is told of calls of the store that fail.

use std::sync::atomic::Ordering;

use super::PluginHost;
use super::kv_faults::Kind;
use crate::keyvalue::{KEY_BYTES, KvError};

/// A call of the store, as the log names it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    /// The key or prefix. The log does not repeat it, because plugins build keys from what clients
    /// send, and that may be a password.
    pub(super) key: &'a str,
    pub(super) value_bytes: usize,
}

impl PluginHost {
    /// Notes how a call of the store has ended, and tells the log of it if that is news.
    pub(super) fn note_call<T>(
        &self,
        request: Option<&str>,
        call: Call<'_>,
        ended: Result<T, KvError>,
    ) -> Result<T, KvError> {
        match &ended {
            Ok(_) if self.kv_faults.is_short.load(Ordering::Relaxed) => self.note_room(),
            Ok(_) => {}
            Err(error) => {
                if self.kv_faults.note(Kind::of(error)) {
                    self.tell(request, call, error);
                }
            }
        }
        ended
    }

    /// Forgets that there was no room once there is again.
    fn note_room(&self) {
        let is_roomy = self
            .used_namespace()
            .is_none_or(|namespace| namespace.is_roomy());
        let may_write = self.writes.spent() <= self.writes.day_bytes() / 8 * 7;
        if is_roomy {
            self.kv_faults.forget(Kind::Full);
        }
        if may_write {
            self.kv_faults.forget(Kind::Writes);
        }
        if is_roomy && may_write {
            self.kv_faults.is_short.store(false, Ordering::Relaxed);
        }
    }

    fn tell(&self, request: Option<&str>, call: Call<'_>, error: &KvError) {
        let (name, quota) = (&self.name, &self.grants.keyvalue.quota);
        let why = match error {
            KvError::InvalidKey if call.key.len() > KEY_BYTES => format!(
                "invalid-key: a key of {} bytes, and at most {KEY_BYTES} are one",
                call.key.len()
            ),
            KvError::InvalidKey if call.key.is_empty() => {
                "invalid-key: a key without any character".to_owned()
            }
            KvError::InvalidKey => format!(
                "invalid-key: a key of {} bytes with a control character in it",
                call.key.len()
            ),
            KvError::ValueTooLarge => format!(
                "value-too-large: a value of {} bytes, and --kv-max-value-size is {}",
                call.value_bytes, quota.value_bytes
            ),
            KvError::QuotaExceeded => {
                let held = self.used_namespace().map(|namespace| namespace.held());
                let (bytes, keys) = held.unwrap_or_default();
                format!(
                    "quota-exceeded: its namespace '{}' is full: {keys} keys (--kv-max-keys {}), {bytes} bytes \
                     (--kv-quota {}), or --memory-max is used up where it is kept in memory; said again once an \
                     eighth was free",
                    self.namespace_name, quota.keys, quota.bytes
                )
            }
            KvError::WritesExceeded => format!(
                "quota-exceeded: its changes had {} KiB written to flash, and it may have {} KiB a day \
                 (--kv-write-max, or `wasm.kv_write_max` in its service); changes are refused until enough time has \
                 passed",
                self.writes.spent() >> 10,
                self.writes.day_bytes() >> 10
            ),
            KvError::Storage(why) => format!("storage: {why}"),
        };
        let request = request.map_or(String::new(), |id| format!("[{id}] "));
        log::warn!(
            "{request}plugin {name}: keyvalue.{} failed, {why}. Said once, however often it happens",
            call.name
        );
    }
}
