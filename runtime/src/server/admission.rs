//! Which connections get a place.

use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};
use smol::{Async, Timer};

use super::access::Entry;
use crate::clients::{self, Claim, Ledger, Network};
use crate::config::AccessOutput;

/// Most connections that may wait for a place. Each holds a descriptor, and what the kernel has
/// received on it, as it did in the kernel's backlog; but none of the daemon's own memory.
const WAITING: usize = 2048;
/// The least that may wait, however few descriptors there are.
const WAITING_LEAST: usize = 16;
/// Descriptors that are left for everything but clients: upstreams, plugins' own connections, files.
const OTHER_FILES: usize = 320;
/// How many turns those that have a place get at most before one more connection is accepted for
/// which there is none: whoever is done soon makes room.
const TURNS: usize = 8;
/// How many connections are accepted in a row where there is much room to wait. Whoever is behind
/// many others should be known soon.
const IN_A_ROW: usize = 16;
/// How long to wait for a place, or after an accept that failed, before looking around again: what
/// could not be asked for before may have become slow or silent meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// The same trouble is told again after this long at the soonest.
const TELLING: Duration = Duration::from_secs(60);

/// What a connection is told that gets no place.
const FULL_STATUS: u16 = 503;
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\n\
                      connection: close\r\n\r\n";

/// Accepts connections and gives them places.
///
/// A connection that finds no free place waits here, where it is known whose it is, and not in the
/// kernel, where those behind it would wait for it. Room is made for it as the [`Ledger`] says. If
/// too many wait, the network that has most loses the one that came last.
pub(super) struct Admission {
    places: usize,
    /// How many times it looked for a connection while others waited for places.
    accepted: usize,
    /// How many may wait.
    room: usize,
    ledger: Arc<Ledger>,
    waiting: Vec<Newcomer>,
    failures: Complaint,
    refusals: Complaint,
    /// Where a line for each one that is refused goes, if anywhere.
    access: Option<AccessOutput>,
}

/// A connection that has just been accepted.
struct Newcomer {
    stream: Async<TcpStream>,
    client: SocketAddr,
    is_https: bool,
    network: Network,
}

/// A connection that has its place.
pub(super) struct Admitted {
    pub(super) stream: Async<TcpStream>,
    pub(super) client: SocketAddr,
    /// It came where TLS is spoken.
    pub(super) is_https: bool,
    pub(super) claim: Arc<Claim>,
    /// Dropping it gives the place up.
    pub(super) place: clients::Entry,
}

impl Admission {
    /// So many places.
    pub(super) fn new(places: usize, access: Option<AccessOutput>) -> Admission {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
        let room = files.saturating_sub(places.saturating_add(OTHER_FILES));
        Admission {
            places,
            accepted: 0,
            room: room.clamp(WAITING_LEAST, WAITING),
            ledger: Arc::default(),
            waiting: Vec::new(),
            failures: Complaint::default(),
            refusals: Complaint::default(),
            access,
        }
    }

    /// The connections that get a place now. For those that still wait, others are asked to leave.
    pub(super) fn admit(&mut self) -> Vec<Admitted> {
        let mut free = self.places.saturating_sub(self.ledger.count());
        let mut admitted = Vec::new();
        if self.waiting.is_empty() {
            return admitted;
        }
        if self.waiting.len() > free {
            self.sort();
        }
        while free > 0 && !self.waiting.is_empty() {
            let Newcomer {
                stream,
                client,
                is_https,
                ..
            } = self.waiting.remove(0);
            let claim = Claim::new(client.ip());
            let place = self.ledger.enter(&claim, 1);
            admitted.push(Admitted {
                stream,
                client,
                is_https,
                claim,
                place,
            });
            free -= 1;
        }
        if !self.waiting.is_empty() {
            let networks: Vec<_> = self.waiting.iter().map(|waiting| waiting.network).collect();
            self.ledger.make_room(&networks);
        }
        admitted
    }

    /// Waits until a connection has come through `accepting`, or there may be places for those that
    /// wait. `accepting` resolves to a connection, and whether it came where TLS is spoken.
    pub(super) async fn wait(
        &mut self,
        accepting: impl Future<Output = (io::Result<(Async<TcpStream>, SocketAddr)>, bool)>,
    ) {
        let accepting = async { Some(accepting.await) };
        let accepted = if self.waiting.is_empty() {
            accepting.await
        } else {
            // A burst of connections must not keep the thread from those that could make room.
            self.accepted += 1;
            let turns = self.waiting.len() * TURNS / self.room;
            for _ in 0..turns + usize::from(self.accepted.is_multiple_of(IN_A_ROW)) {
                yield_now().await;
            }
            let freed = self.ledger.freed();
            if self.ledger.count() < self.places {
                return;
            }
            let look_again = async {
                or(freed, async {
                    Timer::after(PAUSE).await;
                })
                .await;
                None
            };
            or(accepting, look_again).await
        };
        match accepted {
            None => {}
            Some((Ok((stream, client)), is_https)) => self.add(stream, client, is_https),
            Some((Err(error), _)) => self.recover(&error).await,
        }
    }

    fn add(&mut self, stream: Async<TcpStream>, client: SocketAddr, is_https: bool) {
        if !matches!(stream.get_ref().take_error(), Ok(None)) {
            // It was reset before it was accepted: nothing has to be done for it.
            return;
        }
        self.waiting.push(Newcomer {
            stream,
            client,
            is_https,
            network: client.ip().into(),
        });
        if self.waiting.len() > self.room {
            self.sort();
            if let Some(last) = self.waiting.pop() {
                if !last.is_https {
                    refuse(last.stream.get_ref());
                    if let Some(output) = self.access {
                        Entry::without_place(output, last.client.ip(), FULL_STATUS);
                    }
                }
                self.refusals.tell(|count| {
                    format!(
                        "connections were refused ({count}): all {} places are taken, and {} \
                         wait; one client may have too many, or raise --max-connections",
                        self.places, self.room
                    )
                });
            }
        }
    }

    /// Puts those first whose network has least, counting those that stand in front of them; of one
    /// network the first that came.
    fn sort(&mut self) {
        let mut held = self.ledger.amounts();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, newcomer) in self.waiting.iter().enumerate() {
            let network = newcomer.network;
            let count = held.entry(network).or_default();
            order.push((*count, index));
            *count += 1;
        }
        order.sort_unstable();
        let mut taken: Vec<_> = self.waiting.drain(..).map(Some).collect();
        let sorted = order
            .into_iter()
            .filter_map(|(_, index)| taken[index].take());
        self.waiting = sorted.collect();
    }

    /// Makes room where no connection can be accepted, as where descriptors or memory are short.
    async fn recover(&mut self, error: &io::Error) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
        ) {
            // It was gone before it was accepted.
            return;
        }
        let freed = self.ledger.freed();
        // Nobody knows whose the connection is that waits.
        let somebody = Network::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let is_room_made = self.ledger.make_room(&[somebody]);
        self.failures.tell(|count| {
            format!(
                "cannot accept connections ({count} times): {error}; idle ones are closed for new \
                 ones. Raise the limit of open files (`ulimit -n`, LimitNOFILE=), or lower \
                 --max-connections"
            )
        });
        let pause = async {
            Timer::after(PAUSE).await;
        };
        match is_room_made {
            true => or(freed, pause).await,
            false => pause.await,
        }
    }
}

/// Tells a connection that there is no place for it, if that can be done without waiting.
fn refuse(mut stream: &TcpStream) {
    // Whoever does not get this sees that the connection is closed.
    let _ = stream.write(FULL);
    let _ = stream.shutdown(Shutdown::Write);
}

/// Trouble that comes again and again, and is told now and then.
#[derive(Default)]
struct Complaint {
    told: Option<Instant>,
    /// How often it came since.
    count: u64,
}

impl Complaint {
    /// Tells of it, unless that was done shortly before. `text` is given how often it came.
    fn tell(&mut self, text: impl FnOnce(u64) -> String) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELLING) {
            log::warn!("{}", text(self.count));
            (self.told, self.count) = (Some(Instant::now()), 0);
        }
    }
}
