//! Bytes of a budget that are gathered for one who needs much at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::{Event, EventListener};

use crate::sync;

/// What is gathered, and what is missing. Nobody gathers most of the time: then a look costs no lock.
#[derive(Debug, Default)]
pub(super) struct Pot {
    is_begun: AtomicBool,
    /// None where nobody gathers. Both change under the one lock, so that no byte is lost or counted twice.
    content: Mutex<Option<Content>>,
    filled: Event,
}

#[derive(Debug)]
struct Content {
    held: usize,
    missing: usize,
}

impl Pot {
    /// Begins to gather so many bytes. Returns `false` if somebody gathers already.
    pub(super) fn begin(&self, bytes: usize) -> bool {
        let mut content = sync::lock(&self.content);
        let is_first = content.is_none();
        if is_first {
            *content = Some(Content {
                held: 0,
                missing: bytes,
            });
            self.is_begun.store(true, Ordering::Release);
        }
        is_first
    }

    /// Puts in as much of these bytes as is missing, and returns that.
    pub(super) fn put(&self, bytes: usize) -> usize {
        let (put, is_filled) = self.with(|content| {
            let put = content.missing.min(bytes);
            content.missing -= put;
            content.held += put;
            (put, put > 0 && content.missing == 0)
        });
        if is_filled {
            self.filled.notify(usize::MAX);
        }
        put
    }

    /// Takes so many bytes out again; they are missing then. Returns `false`, with nothing changed, if there are
    /// fewer.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.with(|content| {
            let is_there = content.held >= bytes;
            if is_there {
                content.held -= bytes;
                content.missing += bytes;
            }
            is_there
        })
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        self.with(|content| content.held)
    }

    /// Bytes that are missing.
    pub(super) fn missing(&self) -> usize {
        self.with(|content| content.missing)
    }

    /// Whether some are.
    pub(super) fn is_wanting(&self) -> bool {
        self.missing() > 0
    }

    /// Resolves when nothing is missing any more.
    pub(super) fn filled(&self) -> EventListener {
        self.filled.listen()
    }

    /// Ends the gathering, and returns what is in it.
    pub(super) fn end(&self) -> usize {
        self.is_begun.store(false, Ordering::Release);
        let content = sync::lock(&self.content).take();
        content.map_or(0, |content| content.held)
    }

    /// What `work` makes of the content; nothing where nobody gathers.
    fn with<T: Default>(&self, work: impl FnOnce(&mut Content) -> T) -> T {
        if !self.is_begun.load(Ordering::Acquire) {
            return T::default();
        }
        let mut content = sync::lock(&self.content);
        content.as_mut().map_or_else(T::default, work)
    }
}
