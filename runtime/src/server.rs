//! The listener: accepts connections within bounds, and drains them when told to stop.

mod connection;
mod exchange;
mod head;
mod response;
mod upload;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use event_listener::Event;
use smol::channel::{Receiver, Sender, bounded};
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::{Async, Executor, Timer};

use crate::config::{Limits, Timeouts};
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::stats::ServerStats;
use crate::timeout;
use crate::wire::stopped;
use connection::Connection;
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener and what its connections share.
pub struct Server {
    listener: Async<TcpListener>,
    address: SocketAddr,
    shared: Arc<ServerState>,
    /// Cloned into every connection; the drain waits until all clones are gone.
    open: Sender<()>,
    closed: Receiver<()>,
}

/// What every connection needs.
pub(crate) struct ServerState {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) executor: &'static Executor<'static>,
    /// What is counted of connections and requests.
    pub(crate) stats: Arc<ServerStats>,
    /// Closed when the daemon drains.
    pub(crate) stop: Receiver<()>,
    /// Asks connections that wait for a head to make room.
    pub(crate) crowd: Crowd,
    request_ids: AtomicU64,
}

/// Where a listener that has no place left meets the connections that have no work to lose: those
/// that wait for a head.
#[derive(Default)]
pub(crate) struct Crowd {
    /// Somebody waits for a place.
    wanted: AtomicBool,
    /// Told in the order in which they began to wait.
    waiting: Event,
}

impl Crowd {
    /// Waits for a place, and asks the connection that has waited longest for a head to leave its own.
    async fn acquire_place(&self, places: &Arc<Semaphore>) -> SemaphoreGuardArc {
        if let Some(place) = places.try_acquire_arc() {
            return place;
        }
        self.wanted.store(true, Ordering::SeqCst);
        // One at a time: who was asked and has not left yet counts.
        self.waiting.notify(1);
        let place = places.acquire_arc().await;
        self.wanted.store(false, Ordering::SeqCst);
        place
    }

    /// Resolves when a connection that waits for a head has to leave. Its turn is counted from the
    /// first poll; dropped because the head came, it hands the request on to the next.
    pub(crate) async fn asked_to_leave(&self) {
        let asked = self.waiting.listen();
        // Listening first: one of the two sees the other. Who has just come is the last to be asked.
        if self.wanted.load(Ordering::SeqCst) {
            self.waiting.notify(1);
        }
        asked.await;
        // The place that gets free is the one that was wanted.
        self.wanted.store(false, Ordering::SeqCst);
    }
}

impl ServerState {
    /// An id that is new in this process and unlikely to repeat in the next.
    pub(crate) fn next_request_id(&self) -> Arc<str> {
        let id = self.request_ids.fetch_add(1, Ordering::Relaxed);
        format!("{id:016x}").into()
    }
}

impl Server {
    /// Binds before anything slow is done: early clients wait in the backlog.
    pub fn bind(address: SocketAddr) -> Result<TcpListener> {
        let bound = TcpListener::bind(address);
        bound.map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "; another program listens there, choose another --port"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "; ports below 1024 need the right to bind them"
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    "; this device has no such address, choose another --bind"
                }
                _ => "",
            };
            Error::device(format!("cannot listen on {address}{hint}"), error)
        })
    }

    /// Serves `pipeline` on `listener` once [`Server::run`] is polled.
    pub fn new(
        listener: TcpListener,
        pipeline: Arc<Pipeline>,
        limits: Limits,
        timeouts: Timeouts,
        stats: Arc<ServerStats>,
        executor: &'static Executor<'static>,
        stop: Receiver<()>,
    ) -> Result<Server> {
        let wrapped = listener
            .local_addr()
            .and_then(|address| Ok((address, Async::new(listener)?)));
        let (address, listener) =
            wrapped.map_err(|error| Error::device("cannot use the listening socket", error))?;
        let (open, closed) = bounded(1);
        // Ids start at a random place: two runs of a device should not share them in its logs.
        let start =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Ok(Server {
            listener,
            address,
            shared: Arc::new(ServerState {
                pipeline,
                limits,
                timeouts,
                executor,
                stats,
                stop,
                crowd: Crowd::default(),
                request_ids: AtomicU64::new(start),
            }),
            open,
            closed,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `stop` closes, at most `places` connections at a time. Then it waits for the
    /// open ones, at most the drain timeout.
    pub async fn run(self, places: usize) {
        let Server {
            listener,
            shared,
            open,
            closed,
            ..
        } = self;
        let connections = Arc::new(Semaphore::new(places));
        let accepting = async {
            loop {
                let (stream, client) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        log::warn!("cannot accept a connection: {error}");
                        Timer::after(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                // At the limit this one waits, and those after it in the kernel's backlog.
                let permit = shared.crowd.acquire_place(&connections).await;
                let (shared, open) = (Arc::clone(&shared), open.clone());
                let executor = shared.executor;
                executor
                    .spawn(async move {
                        serve(stream, client, shared, open).await;
                        drop(permit);
                    })
                    .detach();
            }
        };
        futures_lite::future::or(accepting, stopped(&shared.stop)).await;
        drop(listener);
        drop(open);
        let drain = shared.timeouts.drain;
        if timeout::within(drain, stopped(&closed)).await.is_none() {
            log::warn!("some requests did not end within {drain:?}; they are cut off");
        }
    }
}

async fn serve(
    stream: Async<TcpStream>,
    client: SocketAddr,
    shared: Arc<ServerState>,
    open: Sender<()>,
) {
    let _counted = shared.stats.connection();
    // An answer goes out in as few writes as it needs; waiting for more would only delay it.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        log::debug!("{client}: cannot set TCP_NODELAY: {error}");
    }
    Connection::new(stream, client, shared, open).serve().await;
}
