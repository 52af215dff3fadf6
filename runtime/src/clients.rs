//! Clients, as far as they compete for places: whose a connection is, what it is at, and how it is
//! asked to make room for others.
//!
//! # Shares
//!
//! There are three things that clients can use up: connections, instances of a plugin, and memory
//! for bodies. Anybody may have all of them while nobody else wants any. Once they are used up, a
//! newcomer gets its place from the [`Network`] that holds most, if that one holds more than the
//! newcomer would: see [`Ledger`]. Some are kept free for others than the one that has most, as long
//! as others come ([`Recent`]). So no client can lock others out, whatever it does with what it
//! holds, and no share is left unused. Requests that wait for an instance get it in turn, one
//! network after the other: see [`Turns`]. So do connections that have something to do: see
//! [`RunQueue`].
//!
//! Whom a connection belongs to, and what can be taken from it, is its [`Claim`]. Work that is done
//! for a client knows the claim without being handed it from function to function: see
//! [`on_behalf`].

mod current;
mod ledger;
mod pace;
mod recent;
mod run_queue;
mod turns;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use futures_lite::future::yield_now;

pub use current::{current, on_behalf, within};
pub use ledger::{Entry, Ledger};
pub use recent::Recent;
pub use run_queue::{RunQueue, SLICE};
pub use turns::{Turn, Turns};

/// A WebSocket that has brought no message for this long is silent: it loses its place before those
/// that are at work do.
const SILENT: Duration = Duration::from_secs(5);
/// A request is not given up for another client's sooner than this, while it waits for its own
/// client; most take some milliseconds.
const SLOW: Duration = Duration::from_secs(1);
/// The same while a plugin is at work on it.
const LONG: Duration = Duration::from_secs(5);

/// Whose a claim is: an IPv4 address, or the first 64 bits of an IPv6 address, which is the least
/// that a provider gives to one customer (RFC 6177): whoever has one such address has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Network(u64);

impl Network {
    /// The daemon itself, whose work is done for no client.
    const OWN: Network = Network(u64::MAX);
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        /// Stands in front of an IPv4 address. No IPv6 network begins so: 0000::/8 is reserved (RFC
        /// 4291 section 2.4).
        const V4: u64 = 0x00ff_ff00 << 32;
        match address.to_canonical() {
            IpAddr::V4(address) => Network(V4 | u64::from(address.to_bits())),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Network(V4 | u64::from(u32::MAX)),
            IpAddr::V6(address) => Network((address.to_bits() >> 64) as u64),
        }
    }
}

/// What a connection is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// It waits for a request's head. It loses nothing when it is closed.
    Waiting,
    /// The last response is written, and what the client still sends is read and dropped.
    Lingering,
    /// A request is served.
    Exchange,
    /// It is a WebSocket.
    Conversation,
}

/// What has been asked of a connection.
pub mod asked {
    /// To close when it waits for a head, or lingers.
    pub const LEAVE_IDLE: u8 = 1;
    /// To close at once.
    pub const LEAVE: u8 = 2;
    /// To end the request that it serves; the connection may stay.
    pub const END_REQUEST: u8 = 4;
}

/// One connection's standing among the others. Its task keeps it up to date; whoever needs a place
/// reads it, and asks for what it holds.
pub struct Claim {
    network: AtomicU64,
    phase: AtomicU8,
    /// When the phase began, or the last message of a conversation came: microseconds since the
    /// first claim, so that of two the older one is known.
    since: AtomicU64,
    /// Bytes of bodies that the client has brought or taken in this phase.
    moved: AtomicU64,
    /// The connection waits for its client, to send or to take something.
    is_held_up: AtomicBool,
    /// The request waits for an instance.
    is_queued: AtomicBool,
    /// Bits of [`asked`].
    asked: AtomicU8,
    waker: AtomicWaker,
}

impl Claim {
    /// The claim of a connection that has just been accepted.
    pub fn new(client: IpAddr) -> Arc<Claim> {
        Arc::new(Claim::of(client.into()))
    }

    fn of(Network(network): Network) -> Claim {
        Claim {
            network: AtomicU64::new(network),
            phase: AtomicU8::new(Phase::Waiting as u8),
            since: AtomicU64::new(now()),
            moved: AtomicU64::new(0),
            is_held_up: AtomicBool::new(false),
            is_queued: AtomicBool::new(false),
            asked: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Whose the claim is.
    pub fn network(&self) -> Network {
        Network(self.network.load(Ordering::Relaxed))
    }

    /// Says whose the claim is from now on, where a trusted proxy tells who its client is.
    pub fn set_client(&self, client: IpAddr) {
        let Network(network) = client.into();
        self.network.store(network, Ordering::Relaxed);
    }

    /// Begins a phase.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Exchange {
            self.moved.store(0, Ordering::Relaxed);
            self.is_held_up.store(false, Ordering::Relaxed);
            self.is_queued.store(false, Ordering::Relaxed);
            if self.asked.load(Ordering::Relaxed) & asked::END_REQUEST != 0 {
                // That was about the request before this one.
                self.asked.fetch_and(!asked::END_REQUEST, Ordering::Relaxed);
            }
        }
        self.since.store(now(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Records that a conversation's client has sent something.
    pub fn touch(&self) {
        self.since.store(now(), Ordering::Relaxed);
    }

    /// Records bytes of a body that the client has brought or taken.
    pub fn add_moved(&self, bytes: usize) {
        // Only the connection's own task writes this.
        let moved = self.moved.load(Ordering::Relaxed) + bytes as u64;
        self.moved.store(moved, Ordering::Relaxed);
    }

    /// Bytes of bodies that the client has brought or taken in this exchange.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Says whether the connection waits for its client.
    pub fn set_held_up(&self, is_held_up: bool) {
        self.is_held_up.store(is_held_up, Ordering::Relaxed);
    }

    /// Whether the connection waits for its client.
    pub fn is_held_up(&self) -> bool {
        self.is_held_up.load(Ordering::Relaxed)
    }

    /// Says whether the request waits for an instance.
    pub fn set_queued(&self, is_queued: bool) {
        self.is_queued.store(is_queued, Ordering::Relaxed);
    }

    /// Whether the request waits for an instance.
    pub fn is_queued(&self) -> bool {
        self.is_queued.load(Ordering::Relaxed)
    }

    /// Asks for something, one of [`asked`].
    pub fn ask(&self, what: u8) {
        self.asked.fetch_or(what, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Whether any of `what` has been asked for.
    pub fn is_asked(&self, what: u8) -> bool {
        self.asked.load(Ordering::Acquire) & what != 0
    }

    /// Ready once any of `what` has been asked for. Only the connection's own task may poll this.
    pub fn poll_asked(&self, what: u8, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        match self.is_asked(what) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Nobody waits any more for what may be asked for: the connection's task has ended.
    pub fn forget_waker(&self) {
        drop(self.waker.take());
    }

    /// Resolves once any of `what` has been asked for.
    pub async fn wait_until_asked(&self, what: u8) {
        std::future::poll_fn(|cx| self.poll_asked(what, cx)).await;
    }

    /// Resolves once a connection that waits for its client has been asked to close, and whoever reads from
    /// it has had one more turn: the reader may have given way to others, and not have seen yet what the
    /// client had sent by then. It has to be polled before this.
    pub async fn wait_to_leave(&self) {
        self.wait_until_asked(asked::LEAVE | asked::LEAVE_IDLE)
            .await;
        yield_now().await;
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Waiting,
            1 => Phase::Lingering,
            2 => Phase::Exchange,
            _ => Phase::Conversation,
        }
    }

    /// Microseconds since the phase began.
    fn age(&self) -> u64 {
        now().saturating_sub(self.since.load(Ordering::Relaxed))
    }

    /// How little is lost when the work on this claim is given up: the least first. None if it
    /// should not be given up yet.
    fn worth(&self) -> Option<(u8, u64)> {
        let (age, micros) = (self.age(), |time: Duration| time.as_micros() as u64);
        match self.phase() {
            Phase::Conversation if age >= micros(SILENT) => Some((0, u64::MAX - age)),
            // Nothing was done for it yet. The one that has waited least goes first.
            Phase::Exchange if self.is_queued.load(Ordering::Relaxed) => Some((1, age)),
            // The slowest first.
            Phase::Exchange if self.is_held_up() && age >= micros(SLOW) => {
                Some((2, self.moved().saturating_mul(1_000_000) / age))
            }
            Phase::Exchange if age >= micros(LONG) => Some((3, u64::MAX - age)),
            Phase::Conversation => Some((4, u64::MAX - age)),
            Phase::Waiting | Phase::Lingering | Phase::Exchange => None,
        }
    }
}

/// Microseconds since this was first called.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    /// Tests make claims that are older than the process.
    const BEFORE: u64 = if cfg!(test) { 86_400_000_000 } else { 0 };
    u64::try_from(START.elapsed().as_micros()).map_or(u64::MAX, |since| since + BEFORE)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_the_first_half_of_one() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::2:3:4:5"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("::1"), network("::2"));
        assert_ne!(network("0.0.0.0"), network("::"));
    }

    #[test]
    fn what_is_asked_wakes_the_connection_and_a_new_request_is_another_one() {
        smol::block_on(async {
            let claim = Claim::new("192.0.2.1".parse().unwrap());
            let asking = Arc::clone(&claim);
            let thread = std::thread::spawn(move || asking.ask(asked::END_REQUEST));
            claim.wait_until_asked(asked::END_REQUEST).await;
            thread.join().unwrap();
            assert!(!claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE));
            claim.enter(Phase::Exchange);
            assert!(!claim.is_asked(asked::END_REQUEST));
            claim.ask(asked::LEAVE);
            claim.enter(Phase::Exchange);
            assert!(claim.is_asked(asked::LEAVE));
        });
    }
}
