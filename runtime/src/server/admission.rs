//! Which connections get a place.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};
use smol::{Async, Timer};

use super::access;
use super::door::{self, Door};
use super::doorstep::Doorstep;
use super::waiting::{Amounts, Newcomer, Waiting};
use crate::clients::{self, Claim, Ledger, Network, Recent};
use crate::config::AccessOutput;

/// Most connections that may wait for a place. Each holds a descriptor, and what the kernel has
/// received on it, as it did in the kernel's backlog; but none of the daemon's own memory.
const WAITING: usize = 2048;
/// The least that may wait, however few descriptors there are.
const WAITING_LEAST: usize = 16;
/// Descriptors that are left for everything but clients: upstreams, plugins' own connections, files.
const OTHER_FILES: usize = 320;
/// How long connections are accepted in a row. Whoever is behind many others should be known soon, and
/// those that have a place must not wait long for it.
const IN_A_ROW: Duration = clients::SLICE;
/// Of so many places, one is kept for others: see [`Admission::may_enter`].
const KEPT_OF: usize = 16;
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
    /// How many had one when this was last looked at.
    taken: usize,
    /// Nothing waits in the kernel, as far as is known.
    is_calm: bool,
    /// How many may wait.
    room: usize,
    ledger: Arc<Ledger>,
    recent: Recent,
    waiting: Waiting,
    failures: Complaint,
    refusals: Complaint,
    /// Where a line for each one that is refused goes, if anywhere.
    access: Option<AccessOutput>,
}

/// A connection that has its place.
pub(super) struct Admitted {
    pub(super) stream: Async<TcpStream>,
    pub(super) client: SocketAddr,
    /// Where it came in.
    pub(super) step: Arc<Doorstep>,
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
            taken: 0,
            is_calm: false,
            room: room.clamp(WAITING_LEAST, WAITING),
            ledger: Arc::default(),
            recent: Recent::default(),
            waiting: Waiting::default(),
            failures: Complaint::default(),
            refusals: Complaint::default(),
            access,
        }
    }

    /// The connections that get a place now. For those that still wait, others are asked to leave.
    pub(super) fn admit(&mut self) -> Vec<Admitted> {
        self.taken = self.ledger.count();
        let mut admitted = Vec::new();
        if self.waiting.len() == 0 {
            return admitted;
        }
        let now = Instant::now();
        let mut waiting = std::mem::take(&mut self.waiting);
        let taken = Cell::new(self.taken);
        waiting.admit(
            &self.ledger.amounts(),
            |network, held| self.may_enter(taken.get(), network, held, now),
            |newcomer| {
                let entered = self.enter(newcomer);
                let has_entered = entered.is_some();
                taken.set(taken.get() + usize::from(has_entered));
                admitted.extend(entered);
                has_entered
            },
        );
        (self.waiting, self.taken) = (waiting, taken.get());
        if self.waiting.len() > 0 {
            let held = self.ledger.amounts();
            self.ledger.make_room(self.waiting.networks(&held));
        }
        admitted
    }

    /// Gives a place to a connection, if that is still there.
    fn enter(&self, newcomer: Newcomer) -> Option<Admitted> {
        if is_gone(&newcomer.stream) {
            return None;
        }
        let client = newcomer.client;
        let stream = Async::new_nonblocking(newcomer.stream)
            .inspect_err(|error| log::warn!("{client}: cannot serve the connection: {error}"))
            .ok()?;
        let claim = Claim::new(client.ip());
        Some(Admitted {
            stream,
            client,
            step: newcomer.step,
            place: self.ledger.enter(&claim, 1),
            claim,
        })
    }

    /// Whether there is a place for a network that has so many, where so many are `taken`. The last ones
    /// are kept from a network that has half of all or more, while others come now and then: otherwise
    /// each of them would have to wait until that one gives a place up.
    fn may_enter(&self, taken: usize, network: Network, held: usize, now: Instant) -> bool {
        let free = self.places.saturating_sub(taken);
        let is_kept = free <= self.places / KEPT_OF
            && held * 2 >= self.places
            && self.recent.has_others(network, now);
        free > 0 && !is_kept
    }

    /// Accepts what has come. If nothing has, waits until something does, or until there may be places
    /// for those that wait.
    pub(super) async fn wait(&mut self, doors: &[Arc<Door>]) {
        let freed = self.ledger.freed();
        if !std::mem::replace(&mut self.is_calm, true) {
            let mut has_accepted = false;
            for door in doors {
                has_accepted |= self.accept(door).await;
            }
            if !self.is_calm {
                // There may be more, and others have their turns in between.
                yield_now().await;
            }
            if has_accepted {
                return;
            }
        }
        let coming = async {
            door::coming(doors).await;
            true
        };
        let has_come = if self.waiting.len() == 0 {
            coming.await
        } else if self.ledger.count() < self.taken {
            false
        } else {
            let look_again = async {
                or(freed, async {
                    Timer::after(PAUSE).await;
                })
                .await;
                false
            };
            or(coming, look_again).await
        };
        self.is_calm = !has_come;
    }

    /// Accepts some of the connections that have come, and says whether there were any.
    async fn accept(&mut self, door: &Door) -> bool {
        let began = Instant::now();
        let mut has_accepted = false;
        // What each network holds, looked up once for all that come at once.
        let mut held = None;
        while began.elapsed() < IN_A_ROW {
            match door.accept() {
                Ok((stream, client)) => {
                    has_accepted = true;
                    if let Some(client) = client {
                        self.add(stream, client, door.step(), &mut held);
                    }
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::WouldBlock {
                        return has_accepted;
                    }
                    self.is_calm = false;
                    self.recover(&error).await;
                    return true;
                }
            }
        }
        self.is_calm = false;
        true
    }

    fn add(
        &mut self,
        stream: TcpStream,
        client: SocketAddr,
        step: Arc<Doorstep>,
        held: &mut Option<Amounts>,
    ) {
        if is_gone(&stream) {
            return;
        }
        self.recent.note(client.ip().into(), Instant::now());
        self.waiting.push(stream, client, step);
        if self.waiting.len() <= self.room {
            return;
        }
        let held = held.get_or_insert_with(|| self.ledger.amounts());
        let Some(last) = self.waiting.pop_last(held) else {
            return;
        };
        if !last.step.place().is_https {
            refuse(&last.stream);
            if let Some(output) = self.access {
                access::Entry::without_place(output, last.client.ip(), FULL_STATUS);
            }
        }
        self.refusals.tell(|count| {
            format!(
                "connections were refused ({count}): all {} places are taken, and {} wait; one \
                 client may have too many, or raise --max-connections",
                self.places, self.room
            )
        });
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
        let is_room_made = self.ledger.make_room([somebody]);
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

/// Whether a connection was reset: nothing has to be done for it then.
fn is_gone(stream: &TcpStream) -> bool {
    !matches!(stream.take_error(), Ok(None))
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
