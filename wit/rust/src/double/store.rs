//! `zlayer:plugin/keyvalue` of a test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::DENIED;
use crate::keyvalue::KvError;

/// The longest key in bytes.
const KEY_BYTES: usize = 1024;

#[derive(Debug)]
pub(crate) struct Store {
    entries: RefCell<BTreeMap<String, Entry>>,
    quota: Cell<Quota>,
    broken: RefCell<Option<String>>,
    pub(super) denied: Cell<bool>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    /// Nanoseconds until it is gone; nothing where it stays.
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Quota {
    bytes: usize,
    keys: usize,
    value_bytes: usize,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            entries: RefCell::default(),
            quota: Cell::new(Quota {
                bytes: 64 << 20,
                keys: 100_000,
                value_bytes: 1 << 20,
            }),
            broken: RefCell::default(),
            denied: Cell::new(false),
        }
    }
}

/// What only the test calls.
impl Store {
    pub(super) fn set_quota(&self, bytes: usize, keys: usize, value_bytes: usize) {
        self.quota.set(Quota {
            bytes,
            keys,
            value_bytes,
        });
    }

    pub(super) fn break_down(&self, reason: Option<&str>) {
        *self.broken.borrow_mut() = reason.map(str::to_owned);
    }

    pub(super) fn let_pass(&self, time: u64) {
        self.entries.borrow_mut().retain(|_, entry| {
            entry.left = entry.left.map(|left| left.saturating_sub(time));
            entry.left != Some(0)
        });
    }

    pub(super) fn put(&self, key: &str, value: &[u8]) {
        let value = value.to_vec();
        let entry = Entry { value, left: None };
        self.entries.borrow_mut().insert(key.to_owned(), entry);
    }

    pub(super) fn live(&self, key: &str) -> Option<Vec<u8>> {
        let entries = self.entries.borrow();
        entries.get(key).map(|entry| entry.value.clone())
    }

    pub(super) fn left(&self, key: &str) -> Option<u64> {
        self.entries.borrow().get(key)?.left
    }

    pub(super) fn keys(&self, prefix: &str) -> Vec<String> {
        let entries = self.entries.borrow();
        let keys = entries.keys().filter(|key| key.starts_with(prefix));
        keys.cloned().collect()
    }
}

impl Store {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.check(key)?;
        Ok(self.live(key))
    }

    pub(crate) fn get_string(&self, key: &str) -> Result<Option<String>, KvError> {
        let text = self.get(key)?.map(String::from_utf8).transpose();
        text.map_err(|_| KvError::Storage("the value is not UTF-8".to_owned()))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), KvError> {
        self.check(key)?;
        self.write(key, value, None)
    }

    pub(crate) fn set_string(&self, key: &str, value: &str) -> Result<(), KvError> {
        self.set(key, value.as_bytes())
    }

    pub(crate) fn set_with_ttl(&self, key: &str, value: &[u8], ttl: u64) -> Result<(), KvError> {
        self.check(key)?;
        if ttl > 0 {
            return self.write(key, value, Some(ttl));
        }
        self.check_value(value)?;
        self.entries.borrow_mut().remove(key);
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<bool, KvError> {
        self.check(key)?;
        Ok(self.entries.borrow_mut().remove(key).is_some())
    }

    pub(crate) fn exists(&self, key: &str) -> bool {
        self.get(key).is_ok_and(|value| value.is_some())
    }

    pub(crate) fn list_keys(&self, prefix: &str) -> Result<Vec<String>, KvError> {
        self.check_granted()?;
        match is_prefix(prefix) {
            true => Ok(self.keys(prefix)),
            false => Err(KvError::InvalidKey),
        }
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64, KvError> {
        self.check(key)?;
        let (number, is_text) = match self.live(key) {
            None => (0, false),
            Some(value) => number(&value)?,
        };
        let sum = number.saturating_add(delta);
        let value = match is_text {
            true => sum.to_string().into_bytes(),
            false => sum.to_le_bytes().to_vec(),
        };
        self.write(key, &value, self.left(key))?;
        Ok(sum)
    }

    pub(crate) fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new_value: &[u8],
    ) -> Result<bool, KvError> {
        self.check(key)?;
        self.check_value(new_value)?;
        if self.live(key).as_deref() != expected {
            return Ok(false);
        }
        self.write(key, new_value, self.left(key))?;
        Ok(true)
    }

    fn check_granted(&self) -> Result<(), KvError> {
        if self.denied.get() {
            return Err(KvError::Storage(DENIED.to_owned()));
        }
        match &*self.broken.borrow() {
            Some(reason) => Err(KvError::Storage(reason.clone())),
            None => Ok(()),
        }
    }

    fn check(&self, key: &str) -> Result<(), KvError> {
        self.check_granted()?;
        match !key.is_empty() && is_prefix(key) {
            true => Ok(()),
            false => Err(KvError::InvalidKey),
        }
    }

    fn check_value(&self, value: &[u8]) -> Result<(), KvError> {
        match value.len() > self.quota.get().value_bytes {
            true => Err(KvError::ValueTooLarge),
            false => Ok(()),
        }
    }

    /// Stores a value, unless the store would grow past its quota by it.
    fn write(&self, key: &str, value: &[u8], left: Option<u64>) -> Result<(), KvError> {
        self.check_value(value)?;
        let (quota, mut entries) = (self.quota.get(), self.entries.borrow_mut());
        let size = |(key, entry): (&String, &Entry)| key.len() + entry.value.len();
        let before: usize = entries.iter().map(size).sum();
        let old = entries.get(key).map(|entry| key.len() + entry.value.len());
        let after = before - old.unwrap_or(0) + key.len() + value.len();
        let keys = entries.len() + usize::from(old.is_none());
        let is_over =
            (after > before && after > quota.bytes) || (old.is_none() && keys > quota.keys);
        if is_over {
            return Err(KvError::QuotaExceeded);
        }
        let value = value.to_vec();
        entries.insert(key.to_owned(), Entry { value, left });
        Ok(())
    }
}

/// Whether keys may begin with `text`.
fn is_prefix(text: &str) -> bool {
    text.len() <= KEY_BYTES && !text.contains(char::is_control)
}

/// The number that a value stands for, and whether it is written as decimal text.
fn number(value: &[u8]) -> Result<(i64, bool), KvError> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_text = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_text);
    if let Some(number) = text.and_then(|text| text.parse().ok()) {
        return Ok((number, true));
    }
    match value.try_into() {
        Ok(bytes) => Ok((i64::from_le_bytes(bytes), false)),
        Err(_) => Err(KvError::Storage("not a number".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use std::time::Duration;

    use crate::double::{Capability, Host};
    use crate::keyvalue::{self, KvError};

    #[test]
    fn values_come_back_and_go() {
        let host = Host::new();
        keyvalue::set("b", b"bytes").unwrap();
        keyvalue::set_string("a", "text").unwrap();
        assert_eq!(keyvalue::get_string("b").unwrap().as_deref(), Some("bytes"));
        assert_eq!(keyvalue::list_keys("").unwrap(), ["a", "b"]);
        assert!(keyvalue::delete("a").unwrap() && !keyvalue::delete("a").unwrap());
        assert_eq!(keyvalue::get("a").unwrap(), None);
        host.store("c", [0xff]);
        assert!(matches!(
            keyvalue::get_string("c"),
            Err(KvError::Storage(_))
        ));
        assert_eq!(host.stored_keys(), ["b", "c"]);
        assert_eq!(host.stored("c"), Some(vec![0xff]));
    }

    #[test]
    fn a_time_to_live_runs_by_the_tests_clock() {
        let host = Host::new();
        keyvalue::set_with_ttl("count", 1i64.to_le_bytes(), 10).unwrap();
        host.set_time(u64::MAX);
        host.advance(Duration::from_nanos(4));
        assert_eq!(keyvalue::increment("count", 1).unwrap(), 2);
        assert!(keyvalue::compare_and_swap("count", Some(&2i64.to_le_bytes()), "9").unwrap());
        assert_eq!(host.time_to_live("count"), Some(Duration::from_nanos(6)));
        host.advance(Duration::from_nanos(6));
        assert!(!keyvalue::exists("count"));
        assert_eq!(keyvalue::increment("count", 1).unwrap(), 1);
        assert_eq!(host.time_to_live("count"), None);
        keyvalue::set_with_ttl("count", "x", 5).unwrap();
        keyvalue::set("count", "x").unwrap();
        host.advance(Duration::from_secs(1));
        assert!(keyvalue::exists("count"), "set takes a time to live off");
        keyvalue::set_with_ttl("count", "x", 0).unwrap();
        assert!(!keyvalue::exists("count"));
    }

    #[test]
    fn a_counter_keeps_the_form_it_has() {
        let host = Host::new();
        assert_eq!(keyvalue::increment("new", -3).unwrap(), -3);
        assert_eq!(host.stored("new"), Some((-3i64).to_le_bytes().to_vec()));
        host.store("text", "41");
        assert_eq!(keyvalue::increment("text", 1).unwrap(), 42);
        assert_eq!(host.stored("text"), Some(b"42".to_vec()));
        host.store("eight", "12345678");
        assert_eq!(keyvalue::increment("eight", 1).unwrap(), 12_345_679);
        host.store("most", i64::MAX.to_string());
        assert_eq!(keyvalue::increment("most", 1).unwrap(), i64::MAX);
        for other in ["", "word", "+5", "1.0"] {
            host.store("other", other);
            let error = keyvalue::increment("other", 1).unwrap_err();
            assert!(matches!(error, KvError::Storage(reason) if reason == "not a number"));
        }
    }

    #[test]
    fn a_swap_wants_what_is_there() {
        let _host = Host::new();
        assert!(!keyvalue::compare_and_swap("lock", Some(b"a"), "b").unwrap());
        assert!(keyvalue::compare_and_swap("lock", None, "a").unwrap());
        assert!(!keyvalue::compare_and_swap("lock", None, "b").unwrap());
        assert!(keyvalue::compare_and_swap("lock", Some(b"a"), "b").unwrap());
    }

    #[test]
    fn what_may_be_no_key_is_refused() {
        let _host = Host::new();
        for key in ["", "a\n", "\u{80}", &"k".repeat(1025)] {
            assert!(matches!(keyvalue::set(key, ""), Err(KvError::InvalidKey)));
            assert!(!keyvalue::exists(key));
        }
        keyvalue::set(&"é".repeat(512), "").unwrap();
        assert!(matches!(
            keyvalue::list_keys("\t"),
            Err(KvError::InvalidKey)
        ));
    }

    #[test]
    fn over_the_quota_nothing_changes() {
        let host = Host::new().quota(8, 2, 5);
        keyvalue::set("a", "123").unwrap();
        keyvalue::set("b", "123").unwrap();
        assert!(matches!(
            keyvalue::set("a", "1234"),
            Err(KvError::QuotaExceeded)
        ));
        assert!(matches!(
            keyvalue::set("c", ""),
            Err(KvError::QuotaExceeded)
        ));
        let large = keyvalue::compare_and_swap("c", Some(b""), "123456");
        assert!(matches!(large, Err(KvError::ValueTooLarge)));
        assert_eq!(host.stored("a"), Some(b"123".to_vec()));
        keyvalue::set("a", "1").unwrap();
    }

    #[test]
    fn a_store_that_is_broken_or_denied_says_why() {
        let host = Host::new();
        host.break_store(Some("the disk is full"));
        let error = keyvalue::get("a").unwrap_err();
        assert!(matches!(error, KvError::Storage(reason) if reason == "the disk is full"));
        host.break_store(None);
        keyvalue::set("a", "1").unwrap();
        let _host = host.deny(Capability::Keyvalue);
        assert!(matches!(
            keyvalue::increment("a", 1),
            Err(KvError::Storage(_))
        ));
        assert!(!keyvalue::exists("a"));
    }
}
