//! The listener: accepts connections up to a limit, and drains them when the daemon stops.

mod access;
mod admission;
mod client_stream;
mod connection;
mod door;
mod exchange;
#[cfg(test)]
pub mod fuzz;
mod greeting;
mod head;
mod linger;
mod origin;
mod place;
mod receipt;
mod redirect;
mod response;
mod sent;
pub mod tls;
mod upload;
mod waiting;

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::or;
use smol::channel::{Receiver, Sender, bounded};
use smol::{Async, Executor};
use socket2::SockRef;

use crate::clients::{self, Claim, RunQueue};
use crate::config::{self, AccessOutput, Entrance, Limits, Timeouts};
use crate::error::{Error, Result};
use crate::heap;
use crate::message::Scheme;
use crate::pipeline::Present;
use crate::stats::ServerStats;
use crate::timeout;
use crate::wire::stopped;
use admission::{Admission, Admitted};
use client_stream::ClientStream;
use connection::Connection;
use door::Door;
use greeting::{Greeted, greet};
use head::Refusal;
use origin::Peer;
use place::Place;
use tls::Https;

/// Connections that may wait in the kernel for the daemon to accept them: as many as the kernel lets
/// a program ask for by default since 5.4. It takes less where `net.core.somaxconn` says less.
const BACKLOG: i32 = 4096;
/// Bytes of a response that the kernel keeps for a client beyond what is on its way to it. By itself it
/// keeps up to 4 MiB for each of them, which a device does not have, and fills that first for a client
/// that hardly reads. It asks for more when half of them are left, so a client that takes as little as
/// it has to (`TRANSFER_RATE`) is seen to take something every 16 seconds, within `--timeout stall`.
const UNSENT: u32 = 32 << 10;

/// How long requests that are cut off may take to end: they wait for nobody.
const CUTTING: Duration = Duration::from_secs(1);

/// Bound listeners, and the state that their connections share.
pub struct Server {
    doors: Vec<Door>,
    /// What it proves itself with where TLS is spoken.
    https: Option<Https>,
    shared: Arc<ServerState>,
    /// Cloned into every connection. The drain waits until all clones are dropped.
    open: Sender<()>,
    closed: Receiver<()>,
    /// Closes what [`ServerState::cut`] waits for.
    cutting: Sender<()>,
}

/// What all connections of the server share.
pub(crate) struct ServerState {
    /// What a request goes through that begins now.
    pub(crate) pipeline: Arc<Present>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// Which proxies are believed, and what connections begin with.
    pub(crate) entrance: Entrance,
    /// Where a line for each request goes, if anywhere.
    pub(crate) access: Option<AccessOutput>,
    pub(crate) executor: &'static Executor<'static>,
    /// Counters of connections and requests, for the admin interface.
    pub(crate) stats: Arc<ServerStats>,
    /// Closed when the daemon drains.
    pub(crate) stop: Receiver<()>,
    /// Closed when the time for that is up.
    cut: Receiver<()>,
    request_ids: AtomicU64,
}

impl ServerState {
    /// Makes a request id that is unique in this process and unlikely to repeat after a restart.
    pub(crate) fn next_request_id(&self) -> Arc<str> {
        let id = self.request_ids.fetch_add(1, Ordering::Relaxed);
        format!("{id:016x}").into()
    }
}

impl Server {
    /// Binds a door's address. This is done before anything slow, so that early clients wait in the
    /// kernel's backlog instead of being refused.
    pub fn bind(door: &config::Door) -> Result<TcpListener> {
        let (address, flag) = (door.address, door.flag());
        let bound = TcpListener::bind(address).and_then(|listener| {
            // The standard library asks for 128, and a burst of more would wait for a second or more
            // until TCP tries again.
            rustix::net::listen(&listener, BACKLOG)?;
            // Connections inherit it. Without it they only take more of the kernel's memory.
            if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT) {
                log::debug!("the kernel keeps as much for clients as it likes: {error}");
            }
            Ok(listener)
        });
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

    /// Serves `pipeline` at these doors once [`Server::run`] is polled, and proves itself with `https` where TLS is
    /// spoken.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with the parts of the daemon"
    )]
    pub fn new(
        bound: Vec<(config::Door, TcpListener)>,
        https: Option<Https>,
        pipeline: Arc<Present>,
        limits: Limits,
        timeouts: Timeouts,
        entrance: Entrance,
        access: Option<AccessOutput>,
        stats: Arc<ServerStats>,
        executor: &'static Executor<'static>,
        stop: Receiver<()>,
    ) -> Result<Server> {
        let doors = Door::all(bound)?;
        let (open, closed) = bounded(1);
        let (cutting, cut) = bounded(1);
        // Request ids start at a random number, so that two runs of the daemon do not share ids in
        // its logs.
        let start =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Ok(Server {
            doors,
            https,
            shared: Arc::new(ServerState {
                pipeline,
                limits,
                timeouts,
                entrance,
                access,
                executor,
                stats,
                stop,
                cut,
                request_ids: AtomicU64::new(start),
            }),
            open,
            closed,
            cutting,
        })
    }

    /// The addresses that the server listens on, each with what is spoken there. Those without TLS stand first.
    pub fn addresses(&self) -> Vec<(Scheme, SocketAddr)> {
        let doors = self.doors.iter().map(|door| match door.place.is_https {
            true => (Scheme::Https, door.address),
            false => (Scheme::Http, door.address),
        });
        doors.collect()
    }

    /// Accepts until `stop` closes, at most `places` connections at a time, which run in `queue`. Then
    /// it waits for the open ones, at most the drain timeout.
    pub async fn run(self, places: usize, queue: Arc<RunQueue>) {
        let Server {
            doors,
            https,
            shared,
            open,
            closed,
            cutting,
        } = self;
        let drain = shared.timeouts.drain;
        let (accepts, has_accepted) = bounded::<()>(1);
        let clients = Arc::clone(&queue);
        // It takes turns with the clients: many that come do not keep those waiting that are there.
        queue.spawn(&clients::current(), async move {
            let accepting = async {
                let mut admission = Admission::new(places, shared.access);
                loop {
                    for Admitted {
                        stream,
                        client,
                        door,
                        claim,
                        place,
                    } in admission.admit()
                    {
                        let (shared, open) = (Arc::clone(&shared), open.clone());
                        let https = https.as_ref().filter(|_| door.is_https).cloned();
                        clients.spawn(&Arc::clone(&claim), async move {
                            let executor = shared.executor;
                            serve(stream, client, door, https, shared, open, claim).await;
                            drop(place);
                            heap::give_back_soon(executor);
                        });
                    }
                    admission.wait(&doors).await;
                }
            };
            or(accepting, stopped(&shared.stop)).await;
            drop((doors, open));
            drop(accepts);
        });
        stopped(&has_accepted).await;
        if timeout::within(drain, stopped(&closed)).await.is_none() {
            log::warn!("some requests did not end within {drain:?}; they are cut off");
            cutting.close();
            // Each of them has its line in the access log when it has ended.
            let _ = timeout::within(CUTTING, stopped(&closed)).await;
        }
    }
}

async fn serve(
    stream: Async<TcpStream>,
    client: SocketAddr,
    door: Place,
    https: Option<Https>,
    shared: Arc<ServerState>,
    open: Sender<()>,
    claim: Arc<Claim>,
) {
    let _counted = shared.stats.count_connection();
    // A response goes out in as few writes as possible already, so waiting for more data would only
    // delay it.
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        log::debug!("{client}: cannot set TCP_NODELAY: {error}");
    }
    let greeted = greet(stream, client, door, https.as_ref(), &shared, &claim).await;
    let connection = |stream: ClientStream, peer: Peer| {
        // A proxy may have said whose it is.
        claim.set_client(peer.address.ip());
        let sent = Arc::clone(stream.sent());
        let connection =
            Connection::new(stream, peer, Arc::clone(&shared), open, Arc::clone(&claim));
        (connection, sent)
    };
    match greeted {
        Greeted::Ready(stream, peer) => {
            let (connection, sent) = connection(stream, peer);
            until_cut_off(connection.serve(), &shared.cut, || sent.cut_off()).await;
        }
        Greeted::PlainHttp(stream, peer) => {
            let (mut connection, _) = connection(stream, peer);
            connection.refuse_unread(&Refusal::plain_http()).await;
            connection.lingering().close().await;
        }
        Greeted::Refused(stream, peer) => connection(stream, peer).0.lingering().close().await,
        Greeted::Over => {}
    }
}

/// Polls `serving` until it ends, or until `cut` closes: then `cut_off` is called, and it is dropped
/// with all that it holds.
async fn until_cut_off(serving: impl Future<Output = ()>, cut: &Receiver<()>, cut_off: impl Fn()) {
    let (mut serving, mut cutting) = (pin!(serving), pin!(stopped(cut)));
    let mut is_awaited = false;
    poll_fn(|cx| {
        // It wakes this task, whose waker stays the same: so once is enough, and costs a request nothing.
        if !is_awaited || cut.is_closed() {
            is_awaited = true;
            if cutting.as_mut().poll(cx).is_ready() {
                cut_off();
                return Poll::Ready(());
            }
        }
        serving.as_mut().poll(cx)
    })
    .await;
}
