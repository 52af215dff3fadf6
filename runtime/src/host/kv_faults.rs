//! Tells the log what goes wrong with a plugin's calls of the store, once for each kind: plugins
//! tend to take a failed call for an empty answer, and nobody else would ever know.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::keyvalue::KvError;
use crate::sync;

/// A fault that has not been seen for this long is told again.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Which faults were told.
#[derive(Default)]
pub(super) struct KvFaults {
    seen: Mutex<[Option<Instant>; Kind::COUNT]>,
    /// Whether a fault was told that may be over by now.
    pub(super) is_short: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Value,
    Full,
    Writes,
    NoNumber,
    Storage,
}

impl Kind {
    const COUNT: usize = 6;

    pub(super) fn of(error: &KvError) -> Kind {
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

impl KvFaults {
    /// Notes a fault. Returns whether it is to be told.
    pub(super) fn note(&self, kind: Kind) -> bool {
        let now = Instant::now();
        let mut seen = sync::lock(&self.seen);
        let before = seen[kind as usize].replace(now);
        if matches!(kind, Kind::Full | Kind::Writes) {
            self.is_short.store(true, Ordering::Relaxed);
        }
        before.is_none_or(|before| now.duration_since(before) >= FORGOTTEN)
    }

    /// Has a fault told again the next time, since it is over.
    pub(super) fn forget(&self, kind: Kind) {
        sync::lock(&self.seen)[kind as usize] = None;
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
