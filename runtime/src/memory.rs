//! One ceiling for the memory that plugins and clients can make the process use.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::sync;

/// The ceiling. Linear memories, instance overhead, whole bodies, connection buffers and the
/// store's share are reserved here before they are allocated, so that the sum stays below the limit
/// whatever strangers send. A refused reservation becomes a 503, a failed `memory.grow` or a
/// connection that waits, but never wakes the kernel's out-of-memory killer.
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// How much of `used` is never given back.
    set_aside: AtomicUsize,
    reclaim: OnceLock<Reclaim>,
    /// The budget that this one is a part of.
    whole: Option<Arc<Budget>>,
}

/// Frees what nobody needs at the moment. Returns whether that was anything.
type Reclaim = Box<dyn Fn() -> bool + Send + Sync>;

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used(), self.limit)
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
            set_aside: AtomicUsize::new(0),
            reclaim: OnceLock::new(),
            whole: None,
        })
    }

    /// A budget of `limit` bytes within this one. It sets nothing aside: what is reserved in it
    /// counts in both, so that its users leave the rest to others.
    pub fn part(self: &Arc<Self>, limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
            set_aside: AtomicUsize::new(0),
            reclaim: OnceLock::new(),
            whole: Some(Arc::clone(self)),
        })
    }

    /// Sets the function that frees idle memory when the budget is spent, before a reservation is
    /// refused. Only the first call counts.
    pub fn reclaim_by(&self, reclaim: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.reclaim.set(Box::new(reclaim));
    }

    /// Counts so many bytes as never given back, in place of what counted so before.
    pub fn set_aside(&self, bytes: usize) {
        self.set_aside.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that one user could have beside what is set aside, if nobody else used any.
    pub fn attainable(&self) -> usize {
        self.limit
            .saturating_sub(self.set_aside.load(Ordering::Relaxed))
    }

    /// The ceiling in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes reserved at this moment.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` out of the budget until the reservation is dropped; `None` if it is spent.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation {
            budget: Arc::clone(self),
            bytes: 0,
            home: None,
            companion: None,
        };
        reservation.grow(bytes).then_some(reservation)
    }

    fn take_bytes(&self, bytes: usize) -> bool {
        let taken = self.try_take(bytes)
            || self.reclaim.get().is_some_and(|reclaim| reclaim()) && self.try_take(bytes);
        let Some(whole) = self.whole.as_ref().filter(|_| taken) else {
            return taken;
        };
        let taken = whole.take_bytes(bytes);
        if !taken {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// Bytes that could be reserved at this moment.
    pub fn free(&self) -> usize {
        let free = self.limit.saturating_sub(self.used());
        self.whole
            .as_ref()
            .map_or(free, |whole| free.min(whole.free()))
    }

    fn try_take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.limit)
            })
            .is_ok()
    }
}

/// A part of the [`Budget`]. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    /// The standing reservation that it returns to when it is dropped.
    home: Option<Arc<Standing>>,
    /// What goes with it: see [`Reservation::keep`].
    companion: Option<Box<dyn Any + Send + Sync>>,
}

impl Reservation {
    /// Takes `more` bytes as well. Returns `false`, with nothing changed, if the budget is spent.
    pub fn grow(&mut self, more: usize) -> bool {
        let granted = self.budget.take_bytes(more);
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// Gives `less` bytes back, or all if it holds less.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.budget.give_back(less);
    }

    /// Reserves `bytes` in the same budget, as a separate reservation.
    pub fn reserve_another(&self, bytes: usize) -> Option<Reservation> {
        self.budget.reserve(bytes)
    }

    /// Bytes by which it could grow at this moment.
    pub fn free(&self) -> usize {
        self.budget.free()
    }

    /// Keeps `companion` for as long as this reservation, in place of what it kept before.
    pub fn keep(&mut self, companion: impl Any + Send + Sync) {
        self.companion = Some(Box::new(companion));
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.home.take() {
            Some(home) => {
                self.shrink(self.bytes.saturating_sub(home.bytes));
                let kept = Reservation {
                    budget: Arc::clone(&self.budget),
                    bytes: self.bytes,
                    home: None,
                    companion: None,
                };
                *home.lock() = Some(kept);
            }
            None => self.shrink(self.bytes),
        }
    }
}

/// A reservation that is lent and comes back, and is never given up. Its owner gets that much
/// whatever others take.
#[derive(Debug)]
pub struct Standing {
    bytes: usize,
    held: Mutex<Option<Reservation>>,
}

impl Standing {
    /// Makes a standing reservation of `reservation`.
    pub fn new(reservation: Reservation) -> Arc<Standing> {
        Arc::new(Standing {
            bytes: reservation.bytes,
            held: Mutex::new(Some(reservation)),
        })
    }

    /// Bytes that its owner is sure of.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is lent at this moment.
    pub fn is_lent(&self) -> bool {
        self.lock().is_none()
    }

    /// Lends the reservation, unless it is lent already. When the borrower drops it, it comes back
    /// with the original size, even if it has grown.
    pub fn lend(self: &Arc<Self>) -> Option<Reservation> {
        let mut lent = self.lock().take()?;
        lent.home = Some(Arc::clone(self));
        Some(lent)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Reservation>> {
        // The content is only ever replaced as a whole.
        sync::lock(&self.held)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_refuses_and_a_dropped_reservation_gives_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        assert!(first.grow(40));
        assert!(!first.grow(1));
        assert_eq!((budget.used(), first.bytes()), (100, 100));
        first.shrink(30);
        assert_eq!(budget.used(), 70);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_idle_goes_before_anything_is_refused() {
        let budget = Budget::new(100);
        let idle = Arc::new(Mutex::new(vec![budget.reserve(60).unwrap()]));
        budget.reclaim_by({
            let idle = Arc::clone(&idle);
            move || {
                let reservations = std::mem::take(&mut *idle.lock().unwrap());
                !reservations.is_empty()
            }
        });
        let first = budget.reserve(80);
        assert!(first.is_some() && budget.reserve(80).is_none());
        assert_eq!(budget.used(), 80);
    }

    #[test]
    fn a_standing_reservation_comes_back_as_large_as_it_was() {
        let budget = Budget::new(100);
        let standing = Standing::new(budget.reserve(60).unwrap());
        let mut lent = standing.lend().unwrap();
        assert!(standing.lend().is_none());
        assert!(lent.grow(40));
        drop(lent);
        assert_eq!(budget.used(), 60);
        let mut lent = standing.lend().unwrap();
        lent.shrink(10);
        drop(lent);
        assert_eq!(budget.used(), 50);
        drop(standing);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_part_leaves_the_rest_and_counts_in_the_whole() {
        let whole = Budget::new(100);
        let part = whole.part(30);
        let mut held = part.reserve(20).unwrap();
        assert!(!held.grow(11) && held.grow(10));
        assert_eq!((part.used(), whole.used(), held.free()), (30, 30, 0));
        held.shrink(20);
        assert_eq!((part.used(), whole.used(), held.free()), (10, 10, 20));
        // The whole is spent before its part is.
        let others = whole.reserve(85).unwrap();
        assert_eq!(held.free(), 5);
        assert!(!held.grow(6));
        assert_eq!((part.used(), whole.used()), (10, 95));
        drop((held, others));
        assert_eq!((part.used(), whole.used()), (0, 0));
    }

    #[test]
    fn a_request_that_overflows_is_refused() {
        let budget = Budget::new(usize::MAX);
        let _held = budget.reserve(10).unwrap();
        assert!(budget.reserve(usize::MAX).is_none());
        assert_eq!(budget.used(), 10);
    }

    #[test]
    fn threads_never_exceed_the_limit_together() {
        let budget = Budget::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let held = budget.reserve(300);
                        assert!(budget.used() <= 1000);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
