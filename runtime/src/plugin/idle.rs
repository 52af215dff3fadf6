//! A plugin's idle instances.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Instant;

use super::Instance;
use crate::sync;

/// A stack of idle instances: the one used last is taken first, for its pages are warm. So the first is
/// the one that nobody has asked for longest.
///
/// It is bounded by the plugin's places: an instance is only made when none is idle, or when there are
/// fewer than are kept.
pub(super) struct Idle<I = Instance> {
    /// How many are not given up for idleness.
    kept: usize,
    shelf: Mutex<Shelf<I>>,
}

struct Shelf<I> {
    /// The instances, and since when each is idle.
    instances: Vec<(Instant, I)>,
    /// Who waits until there are more than are kept.
    waiting: Option<Waker>,
}

impl<I> Idle<I> {
    /// None yet, of which so many will be kept.
    pub(super) fn new(kept: usize) -> Idle<I> {
        Idle {
            kept,
            shelf: Mutex::new(Shelf {
                instances: Vec::new(),
                waiting: None,
            }),
        }
    }

    pub(super) fn pop(&self) -> Option<I> {
        let (_, instance) = self.lock().instances.pop()?;
        Some(instance)
    }

    /// Adds an instance that is idle since `now`.
    pub(super) fn push(&self, instance: I, now: Instant) {
        let mut shelf = self.lock();
        shelf.instances.push((now, instance));
        let has_surplus = shelf.instances.len() > self.kept;
        let waiting = shelf.waiting.take_if(|_| has_surplus);
        drop(shelf);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().instances.len()
    }

    /// Drops all but the instance that was used last, outside the lock, and returns how many were
    /// dropped. One stays because the memory for one instance is set aside for the plugin: no other
    /// plugin could use it.
    pub(super) fn thin_out(&self) -> usize {
        let mut shelf = self.lock();
        let cold = shelf.instances.len().saturating_sub(1);
        let dropped: Vec<_> = shelf.instances.drain(..cold).collect();
        drop(shelf);
        dropped.len()
    }

    /// Drops those that are meant, outside the lock, and returns how many.
    pub(super) fn give_up(&self, is_meant: impl Fn(&I) -> bool) -> usize {
        let mut shelf = self.lock();
        let dropped: Vec<_> = shelf
            .instances
            .extract_if(.., |(_, one)| is_meant(one))
            .collect();
        drop(shelf);
        dropped.len()
    }

    /// Waits until there are more than are kept. Returns since when the one is idle that goes first. One
    /// task at a time can wait.
    ///
    /// A plugin that is busy wakes nobody: whoever has been told waits for the end of that one's time,
    /// and looks again then.
    pub(super) async fn surplus(&self) -> Instant {
        poll_fn(|cx| {
            let mut shelf = self.lock();
            if let Some((since, _)) = shelf.instances.first()
                && shelf.instances.len() > self.kept
            {
                return Poll::Ready(*since);
            }
            shelf.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes an instance out that is idle since `then` or longer, if there are more than are kept.
    pub(super) fn take_idle_since(&self, then: Instant) -> Option<I> {
        let mut shelf = self.lock();
        let (since, _) = shelf.instances.first()?;
        let is_due = *since <= then && shelf.instances.len() > self.kept;
        is_due.then(|| shelf.instances.remove(0).1)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf<I>> {
        // The list is valid even if a thread panicked while it held the lock, because it is only
        // pushed to and taken from.
        sync::lock(&self.shelf)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_lite::future::poll_once;

    use super::*;

    #[test]
    fn the_warmest_instance_is_taken_first_and_stays_when_memory_is_short() {
        let (idle, now) = (Idle::new(0), Instant::now());
        idle.push(1, now);
        idle.push(2, now);
        assert_eq!(idle.pop(), Some(2));
        idle.push(3, now);
        assert_eq!((idle.thin_out(), idle.thin_out()), (1, 0));
        assert_eq!((idle.pop(), idle.pop()), (Some(3), None));
    }

    #[test]
    fn memory_that_is_needed_takes_those_too_that_are_kept() {
        let idle = Idle::new(2);
        (1..=2).for_each(|one| idle.push(one, Instant::now()));
        assert_eq!((idle.thin_out(), idle.pop()), (1, Some(2)));
    }

    #[test]
    fn those_that_hold_what_others_need_go_and_no_others() {
        let idle = Idle::new(3);
        (1..=3).for_each(|one| idle.push(one, Instant::now()));
        assert_eq!(
            (idle.give_up(|one| *one != 2), idle.pop(), idle.pop()),
            (2, Some(2), None)
        );
    }

    #[test]
    fn of_more_than_are_kept_those_go_whose_time_is_up_the_coldest_first() {
        let (idle, start) = (Idle::new(1), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        (1..=3).for_each(|one| idle.push(one, at(one)));
        assert_eq!(idle.take_idle_since(at(0)), None);
        assert_eq!(idle.take_idle_since(at(1)), Some(1));
        assert_eq!(
            idle.take_idle_since(at(1)),
            None,
            "the next is idle since 2"
        );
        // It was asked for, and its time begins anew.
        let used = idle.pop();
        assert_eq!((used, idle.take_idle_since(at(9))), (Some(3), None));
        idle.push(3, at(8));
        assert_eq!(idle.take_idle_since(at(7)), Some(2));
        assert_eq!(idle.take_idle_since(at(9)), None, "one is kept");
        let none = Idle::new(0);
        none.push(1, at(1));
        assert_eq!(none.take_idle_since(at(1)), Some(1), "the last one too");
    }

    #[test]
    fn whoever_waits_is_told_once_there_are_more_than_are_kept() {
        smol::block_on(async {
            let (idle, start) = (Idle::new(1), Instant::now());
            let mut surplus = pin!(idle.surplus());
            assert!(poll_once(surplus.as_mut()).await.is_none());
            idle.push(1, start);
            assert!(
                idle.lock().waiting.is_some(),
                "as many as are kept wake nobody"
            );
            idle.push(2, start + Duration::from_secs(1));
            assert!(idle.lock().waiting.is_none());
            assert_eq!(surplus.await, start);
            let used = idle.pop();
            assert!(poll_once(idle.surplus()).await.is_none() && used == Some(2));
        });
    }
}
