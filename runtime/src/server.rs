//! The listener: accepts connections up to a limit, and drains them when the daemon stops.

mod access;
mod admission;
mod client_stream;
mod connection;
mod door;
mod doors;
mod doorstep;
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
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::or;
use smol::channel::{Receiver, Sender, bounded};
use smol::{Async, Executor};

use crate::clients::{self, Claim, RunQueue};
use crate::config::{AccessOutput, Entrance, Limits, Timeouts};
use crate::heap;
use crate::pipeline::Present;
use crate::stats::ServerStats;
use crate::timeout;
use crate::wire::stopped;
use admission::{Admission, Admitted};
use client_stream::ClientStream;
use connection::Connection;
use doorstep::Doorstep;
use greeting::{Greeted, greet};
use head::Refusal;
use origin::Peer;
use tls::Https;

pub use door::Door;
pub use doors::{Doors, Opened};

/// How long requests that are cut off may take to end: they wait for nobody.
const CUTTING: Duration = Duration::from_secs(1);

/// The state that clients' connections share.
pub struct Server {
    doors: Arc<Doors>,
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
    /// Serves `pipeline` at these doors once [`Server::run`] is polled, and proves itself with `https` where TLS is
    /// spoken.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with the parts of the daemon"
    )]
    pub fn new(
        doors: Arc<Doors>,
        https: Option<Https>,
        pipeline: Arc<Present>,
        limits: Limits,
        timeouts: Timeouts,
        entrance: Entrance,
        access: Option<AccessOutput>,
        stats: Arc<ServerStats>,
        executor: &'static Executor<'static>,
        stop: Receiver<()>,
    ) -> Server {
        let (open, closed) = bounded(1);
        let (cutting, cut) = bounded(1);
        // Request ids start at a random number, so that two runs of the daemon do not share ids in
        // its logs.
        let start =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Server {
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
        }
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
                let (mut open_doors, mut changed) = doors.present();
                loop {
                    for Admitted {
                        stream,
                        client,
                        step,
                        claim,
                        place,
                    } in admission.admit()
                    {
                        let (shared, open) = (Arc::clone(&shared), open.clone());
                        let https = https.as_ref().filter(|_| step.place().is_https).cloned();
                        clients.spawn(&Arc::clone(&claim), async move {
                            let executor = shared.executor;
                            serve(stream, client, step, https, shared, open, claim).await;
                            drop(place);
                            heap::give_back_soon(executor);
                        });
                    }
                    let waiting = async {
                        admission.wait(&open_doors).await;
                        false
                    };
                    let changing = async {
                        (&mut changed).await;
                        true
                    };
                    if or(changing, waiting).await {
                        (open_doors, changed) = doors.present();
                    }
                }
            };
            or(accepting, stopped(&shared.stop)).await;
            doors.end();
            drop(open);
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
    step: Arc<Doorstep>,
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
    let greeted = greet(
        stream,
        client,
        step.place(),
        https.as_ref(),
        &shared,
        &claim,
    )
    .await;
    let connection = |stream: ClientStream, peer: Peer| {
        // A proxy may have said whose it is.
        claim.set_client(peer.address.ip());
        let sent = Arc::clone(stream.sent());
        let connection = Connection::new(
            stream,
            peer,
            step,
            Arc::clone(&shared),
            open,
            Arc::clone(&claim),
        );
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
