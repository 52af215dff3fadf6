//! Tells the log what goes wrong with a plugin's calls of the store, once for each kind: plugins
//! tend to take a failed call for an empty answer, and nobody else would ever know.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::PluginHost;
use crate::keyvalue::{KEY_BYTES, KvError};
use crate::sync;

/// A fault that has not been seen for this long is told again.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Which faults were told.
#[derive(Default)]
pub(super) struct KvFaults {
    seen: Mutex<[Option<Instant>; Kind::COUNT]>,
    /// Whether a fault was told that may be over by now.
    is_short: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Key,
    Value,
    Full,
    Writes,
    NoNumber,
    Storage,
}

impl Kind {
    const COUNT: usize = 6;

    fn of(error: &KvError) -> Kind {
        match error {
            KvError::InvalidKey => Kind::Key,
            KvError::ValueTooLarge => Kind::Value,
            KvError::QuotaExceeded => Kind::Full,
            KvError::WritesExceeded => Kind::Writes,
            KvError::Storage(why) if why.starts_with("not a ") => Kind::NoNumber,
            KvError::Storage(_) => Kind::Storage,
        }
    }
}

/// A call of the store, as the log names it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    /// The key or prefix. The log does not repeat it, because plugins build keys from what clients
    /// send, and that may be a password.
    pub(super) key: &'a str,
    pub(super) value_bytes: usize,
}

impl KvFaults {
    /// Notes a fault. Returns whether it is to be told.
    fn note(&self, kind: Kind) -> bool {
        let now = Instant::now();
        let mut seen = sync::lock(&self.seen);
        let before = seen[kind as usize].replace(now);
        if matches!(kind, Kind::Full | Kind::Writes) {
            self.is_short.store(true, Ordering::Relaxed);
        }
        before.is_none_or(|before| now.duration_since(before) >= FORGOTTEN)
    }

    /// Has a fault told again the next time, since it is over.
    fn forget(&self, kind: Kind) {
        sync::lock(&self.seen)[kind as usize] = None;
    }
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
                 (--kv-write-max, or --plugin {name}:kv-write-max=); changes are refused until enough time has \
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_and_again_when_it_was_over() {
        let faults = KvFaults::default();
        assert!(faults.note(Kind::Key) && !faults.note(Kind::Key));
        assert!(faults.note(Kind::Full) && !faults.note(Kind::Full));
        assert!(faults.is_short.load(Ordering::Relaxed));
        faults.forget(Kind::Full);
        assert!(faults.note(Kind::Full) && !faults.note(Kind::Key));
        assert!(Kind::of(&KvError::Storage("not a number".to_owned())) == Kind::NoNumber);
        assert!(Kind::of(&KvError::Storage("no disk".to_owned())) == Kind::Storage);
    }
}
