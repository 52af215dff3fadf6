//! The connections to all upstreams: how many, which are idle, and for how long.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smol::lock::Semaphore;
use smol::{Executor, Timer};

use super::connection::Connection;
use super::rounds::Rounds;
use super::tls::Tls;
use super::{Key, UpstreamError};
use crate::memory::{Budget, Reservation};
use crate::sync;

/// Memory of a connection in use: what is read and not passed on, what is to be written, a piece of a body each
/// way, the head of a response.
pub(super) const ACTIVE_SHARE: usize = 64 << 10;
/// Memory of an idle connection.
pub(super) const IDLE_SHARE: usize = 8 << 10;
/// What TLS keeps for a connection on top: a record as it comes (18 KiB, RFC 5246 section 6.2.3), what was
/// in it (16), what is not sent yet (16), keys and states. A handshake takes up to 64 KiB, while
/// nothing of [`ACTIVE_SHARE`] is in use.
pub(super) const TLS_SHARE: usize = 56 << 10;
/// Names that are looked up at the same time: each takes a thread, and the system's resolver cannot be stopped.
const LOOKUPS: usize = 4;

/// What bounds the pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Open connections, in use or idle, to all upstreams (default 256).
    pub connections: usize,
    /// Open connections to one upstream (default 192, as many as there are clients).
    pub per_upstream: usize,
    /// Connections in use by the requests of one plugin (default 192): the others have the rest at least.
    pub per_plugin: usize,
    /// Idle connections that are kept, of all upstreams (default 32).
    pub idle: usize,
    /// How long they are kept (default 30 s).
    pub idle_time: Duration,
    /// Limits of response heads, chunk lines and trailers (default as for requests, but 32 KiB of
    /// head).
    pub http: zlayer_http1::Limits,
    /// The file of certificates that TLS upstreams are checked against, in PEM (default: the
    /// system's, `/etc/ssl/certs/ca-certificates.crt`).
    pub tls_roots: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connections: 256,
            per_upstream: 192,
            per_plugin: 192,
            idle: 32,
            idle_time: Duration::from_secs(30),
            http: zlayer_http1::Limits {
                head_bytes: 32 << 10,
                ..zlayer_http1::Limits::default()
            },
            tls_roots: None,
        }
    }
}

/// The client's side of the daemon. Clones share one pool.
#[derive(Clone)]
pub struct Upstreams {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    budget: Arc<Budget>,
    executor: &'static Executor<'static>,
    lookups: Arc<Semaphore>,
    tls: Tls,
    rounds: Rounds,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// Open connections by upstream; none with a count of 0.
    open: Vec<(Arc<Key>, usize)>,
    /// The longest idle first.
    idle: Vec<Idle>,
    /// The task runs that closes those that were idle too long.
    sweeping: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Upstreams {
    /// A pool without connections, which charges those to come to `budget`.
    pub fn new(
        settings: Settings,
        budget: Arc<Budget>,
        executor: &'static Executor<'static>,
    ) -> Upstreams {
        let tls = Tls::new(settings.tls_roots.clone());
        Upstreams {
            shared: Arc::new(Shared {
                settings,
                budget,
                executor,
                lookups: Arc::new(Semaphore::new(LOOKUPS)),
                tls,
                rounds: Rounds::new(),
                pool: Mutex::default(),
            }),
        }
    }

    /// Reads the root certificates that the settings name, if they do.
    ///
    /// # Errors
    ///
    /// The file cannot be used, and why.
    pub fn read_roots(&self) -> crate::error::Result<()> {
        match self.shared.settings.tls_roots {
            Some(_) => self.shared.tls.prepare(|bytes| self.reserve(bytes)),
            None => Ok(()),
        }
    }

    /// Open connections and, among them, idle ones.
    pub fn counts(&self) -> (usize, usize) {
        self.with_pool(|pool| (pool.total(), pool.idle.len()))
    }

    /// What bounds the connections of a plugin, which is one for each.
    pub fn share(&self) -> Arc<Budget> {
        Budget::new(self.shared.settings.per_plugin)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What runs beside whoever asked for it.
    pub(crate) fn executor(&self) -> &'static Executor<'static> {
        self.shared.executor
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.shared.tls
    }

    /// What stops requests that come round.
    pub fn rounds(&self) -> &Rounds {
        &self.shared.rounds
    }

    pub(super) fn lookups(&self) -> &Arc<Semaphore> {
        &self.shared.lookups
    }

    /// An idle connection that the upstream has not closed, if there is one.
    pub(super) async fn reuse(&self, key: &Key) -> Option<Connection> {
        loop {
            let mut connection = self.with_pool(|pool| pool.take(key))?;
            // Dropped where it is stale, or where the memory to use it is not left.
            if connection.is_quiet().await && self.wake(&mut connection.place) {
                return Some(connection);
            }
        }
    }

    /// A place for one more connection; idle ones make room.
    pub(super) fn place(&self, key: &Arc<Key>) -> Result<Place, UpstreamError> {
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
                // One that is idle makes room: any, or one of the same upstream.
                Some(error) => {
                    let full = matches!(error, UpstreamError::Full(most) if most == connections);
                    let evicted = match full {
                        true => self.evict(),
                        false => self.with_pool(|pool| pool.take(key)).is_some(),
                    };
                    if !evicted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Keeps a connection for the next request, in place of the one that is idle longest.
    pub(super) fn keep(&self, mut connection: Connection) {
        connection.rest();
        let idle = Idle {
            connection,
            since: Instant::now(),
        };
        let (evicted, sweep) = self.with_pool(|pool| {
            pool.idle.push(idle);
            let over = pool.idle.len() > self.shared.settings.idle;
            let evicted = over.then(|| pool.idle.remove(0));
            (evicted, !std::mem::replace(&mut pool.sweeping, true))
        });
        // A connection that goes takes the lock.
        drop(evicted);
        if sweep {
            self.shared
                .executor
                .spawn(sweep_idle(self.clone()))
                .detach();
        }
    }

    /// Charges an idle connection as one in use.
    fn wake(&self, place: &mut Place) -> bool {
        loop {
            if place.memory.grow(ACTIVE_SHARE - IDLE_SHARE) {
                return true;
            }
            if !self.evict() {
                return false;
            }
        }
    }

    /// Takes memory out of the budget; idle connections give theirs back where it is spent.
    pub(crate) fn reserve(&self, share: usize) -> Option<Reservation> {
        loop {
            match self.shared.budget.reserve(share) {
                None if self.evict() => {}
                reserved => return reserved,
            }
        }
    }

    /// Closes the connection that is idle longest. False when none is.
    fn evict(&self) -> bool {
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

    /// The connection to `key` that was used last: the upstream is least likely to have closed it.
    fn take(&mut self, key: &Key) -> Option<Connection> {
        let mut idle = self.idle.iter();
        let at = idle.rposition(|idle| *idle.connection.place.key == *key)?;
        Some(self.idle.remove(at).connection)
    }
}

/// Closes connections that were idle too long, until none is idle.
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

/// A connection's place among the others, and its memory. Dropping it frees both.
pub(super) struct Place {
    upstreams: Upstreams,
    pub(super) key: Arc<Key>,
    memory: Reservation,
    /// Its part of a plugin's share, while it is in use.
    pub(super) held: Option<Reservation>,
}

impl Place {
    /// Gives back what only a connection in use takes.
    pub(super) fn rest(&mut self) {
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
