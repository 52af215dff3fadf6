//! A list of keys that is read piece by piece.

use std::sync::Arc;

use super::content::Content;
use super::entry::Entry;
use super::{KvError, Result};

/// What a key takes in a list beside its bytes. In the plugin's memory that is eight bytes for its
/// place in the list, and what its allocator adds.
pub(super) const LIST_ENTRY_BYTES: usize = 32;

/// The live keys of a namespace that start with a prefix, as far as they have been read.
///
/// It is no picture of one moment: what changes while it is read may be in it or not. A key that
/// was there all the time is in it once.
pub struct Listing {
    content: Arc<Content>,
    /// As the keys are stored.
    prefix: Vec<u8>,
    /// The last key that was looked at.
    after: Option<Vec<u8>>,
    /// The store's time at which the list began: what had expired by then is left out.
    now: u64,
    keys: Vec<String>,
    left: usize,
    most: usize,
}

impl Listing {
    pub(super) fn new(content: Arc<Content>, prefix: &str, most: usize) -> Listing {
        Listing {
            prefix: content.stored_key(prefix),
            now: content.now(),
            content,
            after: None,
            keys: Vec::new(),
            left: most,
            most,
        }
    }

    /// Reads on for about a millisecond. Returns whether there may be more.
    ///
    /// # Errors
    ///
    /// The list is longer than it may be, or the store cannot be read.
    pub async fn read_on(&mut self) -> Result<bool> {
        let content = Arc::clone(&self.content);
        let (after, prefix) = (self.after.take(), std::mem::take(&mut self.prefix));
        let own = content.prefix_bytes();
        let mut take = |key: &[u8], stored: &[u8]| match Entry::is_alive(stored, self.now) {
            true => self.take(key.get(own..).unwrap_or_default()),
            false => Ok(()),
        };
        let read = content.read_piece(&prefix, after.as_deref(), &mut take);
        (self.after, self.prefix) = (read.await?, prefix);
        Ok(self.after.is_some())
    }

    /// What has been read, sorted.
    pub fn into_keys(self) -> Vec<String> {
        self.keys
    }

    fn take(&mut self, key: &[u8]) -> Result<()> {
        let bytes = key.len() + LIST_ENTRY_BYTES;
        let most = self.most;
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            KvError::Storage(format!(
                "the list is longer than the {most} bytes that it may have; ask for a narrower prefix"
            ))
        })?;
        self.keys.push(String::from_utf8_lossy(key).into_owned());
        Ok(())
    }
}
