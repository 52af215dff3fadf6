//! One plugin's way to its keys, with the rules of the contract.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::yield_now;

use super::content::Content;
use super::entry::{Entry, nanos, number};
use super::key::is_prefix;
use super::listing::{LIST_ENTRY_BYTES, Listing};
use super::settings::Settings;
use super::step::{Needs, Step};
use super::writes::Writes;
use super::{KEY_BYTES, KvError, Result};

/// A plugin's way to a namespace. Plugins that name the same one share its content; each is held to its own quota.
pub struct Namespace {
    content: Arc<Content>,
    /// What holds for the plugin.
    settings: Settings,
    /// What the plugin's changes are paid from; `None` if nobody counts them.
    writes: Option<Arc<Writes>>,
}

/// The bytes that a changed number takes at most.
const NUMBER_BYTES: usize = 20;

impl Namespace {
    pub(super) fn new(
        content: Arc<Content>,
        settings: Settings,
        writes: Option<Arc<Writes>>,
    ) -> Namespace {
        Namespace {
            content,
            settings,
            writes,
        }
    }

    /// The live value of `key`.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.content.live(key).await
    }

    /// The live value of `key` as text. A value that is not UTF-8 is a storage error.
    pub async fn get_string(&self, key: &str) -> Result<Option<String>> {
        let not_text = |_| KvError::Storage("not a UTF-8 string".to_owned());
        self.get(key)
            .await?
            .map(|value| String::from_utf8(value).map_err(not_text))
            .transpose()
    }

    /// Stores `value`, which expires after `ttl` if one is given. A value that would expire at once
    /// is not stored, and the old value is removed.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.check_value(value)?;
        let needs = Needs {
            old_value: false,
            ..self.needs(value.len())
        };
        let set = |_: Option<Entry<'_>>| {
            let now = self.content.now();
            let expires = ttl.map(|ttl| now.saturating_add(nanos(ttl)));
            Ok((Step::Put(value.into(), expires), ()))
        };
        self.content.change(key, needs, set).await
    }

    /// Removes `key`. Returns whether it was there and alive.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        self.change(key, 0, |live| {
            let step = match live {
                Some(_) => Step::Remove,
                None => Step::Leave,
            };
            Ok((step, live.is_some()))
        })
        .await
    }

    /// Whether `key` is there and alive.
    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.content.live(key).await?.is_some())
    }

    /// The most bytes that a list of all keys could take, as [`Namespace::list_keys`] counts them.
    pub fn list_bound(&self) -> usize {
        let (bytes, keys) = self.held();
        let names = bytes.min(keys.saturating_mul(KEY_BYTES as u64));
        let entries = keys.saturating_mul(LIST_ENTRY_BYTES as u64);
        usize::try_from(names.saturating_add(entries)).unwrap_or(usize::MAX)
    }

    /// Bytes that `keys` take as a list, counted in the same way.
    pub fn list_bytes(keys: &[String]) -> usize {
        keys.iter().map(|key| key.len() + LIST_ENTRY_BYTES).sum()
    }

    /// Begins to list the live keys that start with `prefix`; an empty one lists all. If they take
    /// more than [`super::Quota::list_bytes`] or `room` bytes, that is a storage error.
    pub fn begin_list(&self, prefix: &str, room: usize) -> Result<Listing> {
        if !is_prefix(prefix) {
            return Err(KvError::InvalidKey);
        }
        let most = room.min(self.settings.quota.list_bytes);
        Ok(Listing::new(Arc::clone(&self.content), prefix, most))
    }

    /// The same list, read to its end. Others get their turns meanwhile.
    pub async fn list_keys(&self, prefix: &str, room: usize) -> Result<Vec<String>> {
        let mut list = self.begin_list(prefix, room)?;
        while list.read_on().await? {
            yield_now().await;
        }
        Ok(list.into_keys())
    }

    /// Adds `delta` to the number in `key`, saturating, and returns the sum. An absent key counts
    /// as 0 and becomes eight little-endian bytes. Decimal text stays decimal text, and an expiry
    /// stays.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        self.change(key, NUMBER_BYTES, |live| {
            let (old, decimal) = match live {
                None => (0, false),
                Some(live) => number(live.value)?,
            };
            let sum = old.saturating_add(delta);
            let written = match decimal {
                true => sum.to_string().into_bytes(),
                false => sum.to_le_bytes().to_vec(),
            };
            let expires = live.and_then(|live| live.expires);
            Ok((Step::Put(Cow::Owned(written), expires), sum))
        })
        .await
    }

    /// Stores `new` if the live value equals `expected` (`None`: if there is none), and returns
    /// whether it did. An expiry stays.
    pub async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<bool> {
        self.check_value(new)?;
        self.change(key, new.len(), |live| {
            if live.map(|live| live.value) != expected {
                return Ok((Step::Leave, false));
            }
            let expires = live.and_then(|live| live.expires);
            Ok((Step::Put(new.into(), expires), true))
        })
        .await
    }

    /// Bytes and keys that count against the quota.
    pub fn held(&self) -> (u64, u64) {
        self.content.held()
    }

    /// How many changes of all plugins that share the namespace were refused because it was full.
    pub fn refused(&self) -> u64 {
        self.content.refused()
    }

    /// Whether an eighth of its quota is free, in bytes and in keys.
    pub fn is_roomy(&self) -> bool {
        let (bytes, keys) = self.held();
        let quota = self.settings.quota;
        bytes <= quota.bytes / 8 * 7 && keys <= quota.keys / 8 * 7
    }

    async fn change<'a, T>(
        &self,
        key: &str,
        value_bytes: usize,
        step: impl Fn(Option<Entry<'_>>) -> Result<(Step<'a>, T)>,
    ) -> Result<T> {
        let needs = self.needs(value_bytes);
        self.content.change(key, needs, step).await
    }

    fn needs(&self, value_bytes: usize) -> Needs<'_> {
        Needs {
            value_bytes,
            old_value: true,
            settings: self.settings,
            writes: self.writes.as_ref(),
        }
    }

    fn check_value(&self, value: &[u8]) -> Result<()> {
        match value.len() > self.settings.quota.value_bytes {
            true => Err(KvError::ValueTooLarge),
            false => Ok(()),
        }
    }
}
