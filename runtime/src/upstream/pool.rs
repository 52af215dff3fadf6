//! The connections to all upstreams: how many, which are idle, and for how long.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use smol::{Executor, Timer};

use super::connection::Connection;
use super::happy_eyeballs::LastWorked;
use super::owner::{Owner, OwnerRef};
use super::rounds::Rounds;
use super::sender::Sender;
use super::settings::Settings;
use super::tls::Tls;
use super::{Key, UpstreamError};
use crate::memory::{Budget, Reservation};
use crate::resolver::Resolver;
use crate::sync;

/// Memory of a connection in use: what was read and not passed on, what is to be written, a piece
/// of a body each way, the head of a response.
pub(super) const ACTIVE_SHARE: usize = 64 << 10;
/// Memory of an idle connection.
pub(super) const IDLE_SHARE: usize = 8 << 10;
/// Memory that TLS adds to a connection: a record as it comes (18 KiB, RFC 5246 section 6.2.3), its
/// content (16), what is not sent yet (16), keys and states. A handshake takes up to 64 KiB, while
/// nothing of [`ACTIVE_SHARE`] is in use.
pub(super) const TLS_SHARE: usize = 56 << 10;

/// The daemon's side as a client of upstreams. Clones share one pool.
#[derive(Clone)]
pub struct Upstreams {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    settings: Settings,
    budget: Arc<Budget>,
    executor: &'static Executor<'static>,
    resolver: Resolver,
    last_worked: LastWorked,
    tls: Tls,
    rounds: Rounds,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// The number of open connections by upstream, without those that have none.
    open: Vec<(Arc<Key>, usize)>,
    /// Idle connections, with the one that has been idle longest first.
    idle: Vec<Idle>,
    /// Whether a task runs that closes connections which have been idle too long.
    sweeping: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
    /// Who alone may use it; `None` if everybody may.
    owner: Option<OwnerRef>,
}

impl Upstreams {
    /// A pool without connections. Those to come are charged to `budget`.
    pub fn new(
        settings: Settings,
        budget: Arc<Budget>,
        executor: &'static Executor<'static>,
    ) -> Upstreams {
        Upstreams::with_resolver(settings, budget, executor, Resolver::new(executor))
    }

    /// Like [`Upstreams::new`], with names from elsewhere.
    pub(crate) fn with_resolver(
        settings: Settings,
        budget: Arc<Budget>,
        executor: &'static Executor<'static>,
        resolver: Resolver,
    ) -> Upstreams {
        let tls = Tls::new(settings.tls_roots.clone());
        Upstreams {
            shared: Arc::new(PoolShared {
                settings,
                budget,
                executor,
                resolver,
                last_worked: LastWorked::default(),
                tls,
                rounds: Rounds::new(),
                pool: Mutex::default(),
            }),
        }
    }

    /// Reads the root certificates, if the settings name a file.
    ///
    /// # Errors
    ///
    /// The file cannot be used; the error says why.
    pub fn read_roots(&self) -> crate::error::Result<()> {
        match self.shared.settings.tls_roots {
            Some(_) => self.shared.tls.prepare(|bytes| self.reserve(bytes)),
            None => Ok(()),
        }
    }

    /// The number of open connections, and how many of those are idle.
    pub fn counts(&self) -> (usize, usize) {
        self.with_pool(|pool| (pool.total(), pool.idle.len()))
    }

    /// A new share, which bounds the connections of one plugin.
    pub fn share(&self) -> Arc<Budget> {
        Budget::new(self.shared.settings.per_plugin)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The executor for tasks that go on beside whoever started them.
    pub(crate) fn executor(&self) -> &'static Executor<'static> {
        self.shared.executor
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.shared.tls
    }

    /// Stops requests that come back to this daemon again and again.
    pub fn rounds(&self) -> &Rounds {
        &self.shared.rounds
    }

    /// What names are looked up with.
    pub fn resolver(&self) -> &Resolver {
        &self.shared.resolver
    }

    pub(super) fn last_worked(&self) -> &LastWorked {
        &self.shared.last_worked
    }

    /// Takes an idle connection for `sender` that the upstream has not closed, if there is one: one
    /// whose address it may connect to itself, and that is `owner`'s own or else everybody's.
    pub(super) async fn reuse(
        &self,
        key: &Key,
        sender: &Sender,
        owner: Option<&Owner>,
    ) -> Option<Connection> {
        loop {
            let mut connection = self.with_pool(|pool| pool.take_idle(key, sender, owner))?;
            // Otherwise it is dropped: it is stale, or there is not enough memory to use it.
            if connection.is_quiet().await && self.charge_as_used(&mut connection.place) {
                return Some(connection);
            }
        }
    }

    /// Reserves a place for one more connection. Idle connections are closed to make room.
    pub(super) fn reserve_place(&self, key: &Arc<Key>) -> Result<Place, UpstreamError> {
        let Settings {
            connections,
            per_upstream,
            ..
        } = self.shared.settings;
        let share = match key.tls {
            true => ACTIVE_SHARE + TLS_SHARE,
            false => ACTIVE_SHARE,
        };
        let memory = self.reserve(share).ok_or(UpstreamError::NoMemory)?;
        loop {
            let error = self.with_pool(|pool| {
                if pool.total() >= connections {
                    return Some(UpstreamError::Full(connections));
                }
                match pool.open.iter_mut().find(|(open, _)| open == key) {
                    Some((_, count)) if *count >= per_upstream => {
                        return Some(UpstreamError::Full(per_upstream));
                    }
                    Some((_, count)) => *count += 1,
                    None => pool.open.push((Arc::clone(key), 1)),
                }
                None
            });
            match error {
                None => {
                    return Ok(Place {
                        upstreams: self.clone(),
                        key: Arc::clone(key),
                        memory,
                        held: None,
                    });
                }
                // Close an idle connection to make room: any, or one of the same upstream.
                Some(error) => {
                    let full = matches!(error, UpstreamError::Full(most) if most == connections);
                    let evicted = match full {
                        true => self.evict(),
                        false => self.with_pool(|pool| pool.take_any_idle(key)).is_some(),
                    };
                    if !evicted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Keeps a connection for later requests. If too many are idle, the one idle longest is closed.
    /// One that is personal is kept for its owner, and closed if it has none.
    pub(super) fn keep_idle(&self, mut connection: Connection, owner: Option<&Owner>) {
        let owner = match connection.personal {
            true => match owner {
                Some(owner) => {
                    let upstreams = self.clone();
                    Some(owner.owns(move || upstreams.close_ownerless()))
                }
                None => return,
            },
            false => None,
        };
        connection.make_idle();
        let idle = Idle {
            connection,
            since: Instant::now(),
            owner,
        };
        let (evicted, sweep) = self.with_pool(|pool| {
            pool.idle.push(idle);
            let over = pool.idle.len() > self.shared.settings.idle;
            let evicted = over.then(|| pool.idle.remove(0));
            (evicted, !std::mem::replace(&mut pool.sweeping, true))
        });
        // Dropping a connection takes the lock, so it happens after the lock is released.
        drop(evicted);
        if sweep {
            self.shared
                .executor
                .spawn(sweep_idle(self.clone()))
                .detach();
        }
    }

    /// Closes idle connections whose owners are gone.
    pub(super) fn close_ownerless(&self) {
        let closed: Vec<Idle> = self.with_pool(|pool| {
            let idle = pool.idle.extract_if(.., |idle| {
                idle.owner.as_ref().is_some_and(OwnerRef::is_gone)
            });
            idle.collect()
        });
        // Dropping a connection takes the lock, so it happens after the lock is released.
        drop(closed);
    }

    /// Charges an idle connection as one in use. Returns `false` if there is not enough memory.
    fn charge_as_used(&self, place: &mut Place) -> bool {
        loop {
            if place.memory.grow(ACTIVE_SHARE - IDLE_SHARE) {
                return true;
            }
            if !self.evict() {
                return false;
            }
        }
    }

    /// Reserves memory from the budget. If it is spent, idle connections are closed to free some.
    pub(crate) fn reserve(&self, share: usize) -> Option<Reservation> {
        loop {
            match self.shared.budget.reserve(share) {
                None if self.evict() => {}
                reserved => return reserved,
            }
        }
    }

    /// Closes the connection that has been idle longest. Returns `false` if none is idle.
    pub fn evict(&self) -> bool {
        let oldest = self.with_pool(|pool| match pool.idle.is_empty() {
            true => None,
            false => Some(pool.idle.remove(0)),
        });
        oldest.is_some()
    }

    fn with_pool<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R {
        f(&mut sync::lock(&self.shared.pool))
    }
}

impl Pool {
    fn total(&self) -> usize {
        self.open.iter().map(|(_, count)| count).sum()
    }

    /// Takes an idle connection to `key` that `sender` may connect to itself and that `owner` may
    /// use, its own before others.
    fn take_idle(
        &mut self,
        key: &Key,
        sender: &Sender,
        owner: Option<&Owner>,
    ) -> Option<Connection> {
        let reaches = |idle: &Idle| sender.reaches(&idle.connection.peer);
        let is_own = |idle: &Idle| {
            let of = idle.owner.as_ref();
            owner.is_some_and(|owner| of.is_some_and(|of| of.is(owner)))
        };
        self.take_last(key, |idle| is_own(idle) && reaches(idle))
            .or_else(|| self.take_last(key, |idle| idle.owner.is_none() && reaches(idle)))
    }

    /// Takes an idle connection to `key`, whoever may use it, in order to close it.
    fn take_any_idle(&mut self, key: &Key) -> Option<Connection> {
        self.take_last(key, |_| true)
    }

    /// Takes the idle connection to `key` that was used last of those that `suit`: the upstream is
    /// least likely to have closed it.
    fn take_last(&mut self, key: &Key, suits: impl Fn(&Idle) -> bool) -> Option<Connection> {
        let mut idle = self.idle.iter();
        let at = idle.rposition(|idle| *idle.connection.place.key == *key && suits(idle))?;
        Some(self.idle.remove(at).connection)
    }
}

/// Closes connections that have been idle too long, until none is idle.
async fn sweep_idle(upstreams: Upstreams) {
    let time = upstreams.shared.settings.idle_time;
    loop {
        let now = Instant::now();
        let (expired, next) = upstreams.with_pool(|pool| {
            let count = pool
                .idle
                .partition_point(|idle| now.duration_since(idle.since) >= time);
            let expired: Vec<Idle> = pool.idle.drain(..count).collect();
            let next = pool.idle.first().map(|idle| idle.since + time);
            pool.sweeping = next.is_some();
            (expired, next)
        });
        drop(expired);
        match next {
            Some(next) => drop(Timer::at(next).await),
            None => return,
        }
    }
}

/// The place that a connection takes among the others, and its memory. Dropping it frees both.
pub(super) struct Place {
    upstreams: Upstreams,
    pub(super) key: Arc<Key>,
    memory: Reservation,
    /// Its part of a plugin's share, while the connection is in use.
    pub(super) held: Option<Reservation>,
}

impl Place {
    /// Frees what only a connection in use needs.
    pub(super) fn make_idle(&mut self) {
        self.memory.shrink(ACTIVE_SHARE - IDLE_SHARE);
        self.held = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.upstreams.with_pool(|pool| {
            if let Some(at) = pool.open.iter().position(|(key, _)| *key == self.key) {
                pool.open[at].1 -= 1;
                if pool.open[at].1 == 0 {
                    pool.open.swap_remove(at);
                }
            }
        });
    }
}
