//! The listener: accepts connections up to a limit, and drains them when the daemon stops.

mod client_stream;
mod connection;
mod exchange;
mod greeting;
mod head;
mod origin;
mod redirect;
mod response;
pub mod tls;
mod upload;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event_listener::Event;
use futures_lite::future::{or, zip};
use smol::channel::{Receiver, Sender, bounded};
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::{Async, Executor, Timer};

use crate::config::{Entrance, Limits, Timeouts};
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::stats::ServerStats;
use crate::timeout;
use crate::wire::stopped;
use connection::Connection;
use greeting::{Greeted, greet};
use head::Refusal;
use tls::Https;

/// How long to wait after an accept that failed, as it does where descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener, and the state that its connections share.
pub struct Server {
    listener: Async<TcpListener>,
    address: SocketAddr,
    /// The listener of HTTPS, if there is one, and what it proves itself with.
    https: Option<(Async<TcpListener>, Https)>,
    shared: Arc<ServerState>,
    /// Cloned into every connection. The drain waits until all clones are dropped.
    open: Sender<()>,
    closed: Receiver<()>,
}

/// What all connections of the server share.
pub(crate) struct ServerState {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// Which proxies are believed, and what connections begin with.
    pub(crate) entrance: Entrance,
    /// The port of HTTPS, once it is known.
    pub(crate) https_port: OnceLock<u16>,
    pub(crate) executor: &'static Executor<'static>,
    /// Counters of connections and requests, for the admin interface.
    pub(crate) stats: Arc<ServerStats>,
    /// Closed when the daemon drains.
    pub(crate) stop: Receiver<()>,
    /// Through which a connection that waits for a head is asked to make room for a new one.
    pub(crate) crowd: Crowd,
    request_ids: AtomicU64,
}

/// Makes room when the listener has reached its limit: it asks connections to close that lose no
/// work by that, which are those that wait for a request's head.
#[derive(Default)]
pub(crate) struct Crowd {
    /// The listener waits for a place.
    wanted: AtomicBool,
    /// The connections that can be asked to close, in the order in which they began to wait.
    waiting: Event,
}

impl Crowd {
    /// Waits for a place. If all are taken, asks the connection that has waited longest for a head
    /// to give its place up.
    async fn acquire_place(&self, places: &Arc<Semaphore>) -> SemaphoreGuardArc {
        if let Some(place) = places.try_acquire_arc() {
            return place;
        }
        self.wanted.store(true, Ordering::SeqCst);
        // One at a time: a connection that was asked and has not closed yet is counted.
        self.waiting.notify(1);
        let place = places.acquire_arc().await;
        self.wanted.store(false, Ordering::SeqCst);
        place
    }

    /// Resolves when a connection that waits for a head has to close. Its place in the order is
    /// taken at the first poll. If the future is dropped because the head came, the next connection
    /// is asked.
    pub(crate) async fn asked_to_leave(&self) {
        let asked = self.waiting.listen();
        // Listen first, then look: that way either this connection sees the wish, or the listener
        // sees this connection. The connection that came last is asked last.
        if self.wanted.load(Ordering::SeqCst) {
            self.waiting.notify(1);
        }
        asked.await;
        // This connection frees the place that was wanted, so no other has to close.
        self.wanted.store(false, Ordering::SeqCst);
    }
}

impl ServerState {
    /// Makes a request id that is unique in this process and unlikely to repeat after a restart.
    pub(crate) fn next_request_id(&self) -> Arc<str> {
        let id = self.request_ids.fetch_add(1, Ordering::Relaxed);
        format!("{id:016x}").into()
    }
}

impl Server {
    /// Binds the address. This is done before anything slow, so that early clients wait in the
    /// kernel's backlog instead of being refused. `flag` is the one that chose its port.
    pub fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
        let bound = TcpListener::bind(address);
        bound.map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    &*format!("; another program listens there, choose another {flag}")
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
        entrance: Entrance,
        stats: Arc<ServerStats>,
        executor: &'static Executor<'static>,
        stop: Receiver<()>,
    ) -> Result<Server> {
        let (address, listener) = wrap(listener)?;
        let (open, closed) = bounded(1);
        // Request ids start at a random number, so that two runs of the daemon do not share ids in
        // its logs.
        let start =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Ok(Server {
            listener,
            address,
            https: None,
            shared: Arc::new(ServerState {
                pipeline,
                limits,
                timeouts,
                entrance,
                https_port: OnceLock::new(),
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

    /// Serves HTTPS as well, on `listener`. Returns the address there.
    pub fn add_https(&mut self, listener: TcpListener, https: Https) -> Result<SocketAddr> {
        let (address, listener) = wrap(listener)?;
        self.https = Some((listener, https));
        // It is set once, since there is one listener.
        let _ = self.shared.https_port.set(address.port());
        Ok(address)
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `stop` closes, at most `places` connections at a time. Then it waits for the
    /// open ones, at most the drain timeout.
    pub async fn run(self, places: usize) {
        let Server {
            listener,
            https,
            shared,
            open,
            closed,
            ..
        } = self;
        let connections = Arc::new(Semaphore::new(places));
        let accept_from =
            async |listener: &Async<TcpListener>, https: Option<&Https>| -> Infallible {
                loop {
                    let (stream, client) = match listener.accept().await {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            log::warn!("cannot accept a connection: {error}");
                            Timer::after(ACCEPT_PAUSE).await;
                            continue;
                        }
                    };
                    // At the limit this connection waits here, and those after it wait in the kernel's
                    // backlog.
                    let permit = shared.crowd.acquire_place(&connections).await;
                    let (shared, open) = (Arc::clone(&shared), open.clone());
                    let https = https.cloned();
                    let executor = shared.executor;
                    executor
                        .spawn(async move {
                            serve(stream, client, https, shared, open).await;
                            drop(permit);
                        })
                        .detach();
                }
            };
        let accepting = async {
            let plain = accept_from(&listener, None);
            let never = match &https {
                None => plain.await,
                Some((listener, https)) => zip(plain, accept_from(listener, Some(https))).await.0,
            };
            match never {}
        };
        or(accepting, stopped(&shared.stop)).await;
        drop((listener, https));
        drop(open);
        let drain = shared.timeouts.drain;
        if timeout::within(drain, stopped(&closed)).await.is_none() {
            log::warn!("some requests did not end within {drain:?}; they are cut off");
        }
    }
}

fn wrap(listener: TcpListener) -> Result<(SocketAddr, Async<TcpListener>)> {
    let wrapped = listener
        .local_addr()
        .and_then(|address| Ok((address, Async::new(listener)?)));
    wrapped.map_err(|error| Error::device("cannot use the listening socket", error))
}

async fn serve(
    stream: Async<TcpStream>,
    client: SocketAddr,
    https: Option<Https>,
    shared: Arc<ServerState>,
    open: Sender<()>,
) {
    let _counted = shared.stats.count_connection();
    // A response goes out in as few writes as possible already, so waiting for more data would only
    // delay it.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        log::debug!("{client}: cannot set TCP_NODELAY: {error}");
    }
    match greet(stream, client, https.as_ref(), &shared).await {
        Greeted::Ready(stream, peer) => Connection::new(stream, peer, shared, open).serve().await,
        Greeted::PlainHttp(stream, peer) => {
            let mut connection = Connection::new(stream, peer, shared, open);
            connection.refuse(&Refusal::plain_http()).await;
            connection.linger().await;
        }
        Greeted::Refused(stream, peer) => {
            Connection::new(stream, peer, shared, open).linger().await
        }
        Greeted::Over => {}
    }
}
