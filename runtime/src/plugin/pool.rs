//! Instances at rest.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A stack of idle instances: the one used last is taken first, for its pages are warm.
///
/// It is bounded by the plugin's slots: an instance is only made when none is idle.
pub(super) struct Idle<I> {
    instances: Mutex<Vec<I>>,
}

impl<I> Default for Idle<I> {
    fn default() -> Self {
        Idle {
            instances: Mutex::new(Vec::new()),
        }
    }
}

impl<I> Idle<I> {
    pub(super) fn take(&self) -> Option<I> {
        self.lock().pop()
    }

    pub(super) fn put(&self, instance: I) {
        self.lock().push(instance);
    }

    /// Drops all, outside the lock, and tells how many.
    pub(super) fn clear(&self) -> usize {
        let all = std::mem::take(&mut *self.lock());
        all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<I>> {
        // Pushing and popping leave the list whole wherever a holder died.
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warmest_instance_is_taken_first() {
        let idle = Idle::default();
        idle.put(1);
        idle.put(2);
        assert_eq!(idle.take(), Some(2));
        assert_eq!((idle.clear(), idle.take()), (1, None));
    }
}
