//! One ceiling for the memory that plugins and clients can make the process use.

mod pot;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use event_listener::EventListener;

use crate::sync;
use pot::Pot;

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
    /// What is gathered for one who needs much. It counts in `used`.
    pot: Pot,
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
            pot: Pot::default(),
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
            pot: Pot::default(),
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
        let taken = self.take_bytes(bytes);
        taken.then(|| self.reservation(bytes))
    }

    /// The same for work that has not begun yet and can wait: it gets nothing while somebody gathers.
    pub fn reserve_for_new(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let taken = self.take_if_free(bytes);
        taken.then(|| self.reservation(bytes))
    }

    /// Begins to gather `bytes`, unless somebody else gathers: whatever is given back goes there first, and
    /// new work waits ([`Budget::reserve_for_new`]). Work that has begun does not: what it needs it takes,
    /// out of what is gathered too.
    pub fn gather(self: &Arc<Self>, bytes: usize) -> Option<Gathering> {
        let begun = self.pot.begin(bytes);
        begun.then(|| Gathering {
            budget: Arc::clone(self),
            has_ended: false,
        })
    }

    /// Whether somebody gathers, and has too little yet.
    pub fn is_gathering(&self) -> bool {
        self.pot.is_wanting()
    }

    /// Bytes that are gathered at this moment. They count as used.
    pub fn gathered(&self) -> usize {
        self.pot.held()
    }

    fn reservation(self: &Arc<Self>, bytes: usize) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            bytes,
            home: None,
            companion: None,
        }
    }

    fn take_bytes(&self, bytes: usize) -> bool {
        self.take_free(bytes) || self.take_gathered(bytes)
    }

    fn take_if_free(&self, bytes: usize) -> bool {
        !self.is_gathering() && self.take_free(bytes)
    }

    fn take_free(&self, bytes: usize) -> bool {
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

    /// Takes what is missing to these bytes out of what is gathered.
    fn take_gathered(&self, bytes: usize) -> bool {
        let free = self.limit.saturating_sub(self.used());
        let short = bytes.saturating_sub(free);
        if !self.pot.take(short) {
            return false;
        }
        self.used.fetch_sub(short, Ordering::Relaxed);
        // Where others were faster it is free, and is gathered again.
        self.try_take(bytes)
    }

    fn give_back(&self, bytes: usize) {
        let gathered = self.pot.put(bytes);
        self.used.fetch_sub(bytes - gathered, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// Bytes that could be reserved at this moment, for work that has begun.
    pub fn free(&self) -> usize {
        let free = self.limit.saturating_sub(self.used()) + self.pot.held();
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

    /// Parts `bytes` from it, or all if it holds less, as a separate reservation.
    pub fn split(&mut self, bytes: usize) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.reservation(bytes)
    }

    /// Reserves `bytes` in the same budget, of which it gives as many as it has. `None`, with nothing changed, if what
    /// is missing then is not to be had.
    pub fn draw(&mut self, bytes: usize) -> Option<Reservation> {
        // Not parted before: nobody else is to have it where this fails.
        let mut drawn = self.reserve_another(bytes.saturating_sub(self.bytes))?;
        let own = bytes - drawn.bytes;
        self.bytes -= own;
        drawn.bytes += own;
        Some(drawn)
    }

    /// Bytes that others could have if it were dropped.
    pub fn returns(&self) -> usize {
        let home = self.home.as_ref().map_or(0, |home| home.bytes);
        self.bytes.saturating_sub(home)
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

/// Bytes that are gathered bit by bit. Dropping it leaves them to everybody.
#[derive(Debug)]
pub struct Gathering {
    budget: Arc<Budget>,
    has_ended: bool,
}

impl Gathering {
    /// Takes of what is free, as far as something is missing. Returns whether nothing is any more.
    pub fn collect(&self) -> bool {
        let Budget {
            limit, used, pot, ..
        } = &*self.budget;
        loop {
            let missing = pot.missing();
            let bytes = missing.min(limit.saturating_sub(used.load(Ordering::Relaxed)));
            if bytes == 0 {
                return missing == 0;
            }
            if self.budget.try_take(bytes) {
                // Less may be missing by now.
                used.fetch_sub(bytes - pot.put(bytes), Ordering::Relaxed);
            }
        }
    }

    /// Resolves when all has been gathered since this was called.
    pub fn gathered(&self) -> EventListener {
        self.budget.pot.filled()
    }

    /// Ends with what was gathered; `None` if that is nothing.
    pub fn take(mut self) -> Option<Reservation> {
        self.has_ended = true;
        let bytes = self.budget.pot.end();
        (bytes > 0).then(|| self.budget.reservation(bytes))
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let left = self.budget.pot.end();
        self.budget.used.fetch_sub(left, Ordering::Relaxed);
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
mod tests;
