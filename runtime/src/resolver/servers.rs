//! The name servers of a resolv.conf: which one is asked next, and which was silent.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;

use super::message::{Question, Reply};
use super::resolv_conf::{NameServer, ResolvConf};
use super::transport::{Fault, ask};
use crate::sync;

/// How long a server that was silent is asked last.
const ASKED_LAST: Duration = Duration::from_secs(30);

/// What a server has done lately.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Until when it is asked after the others.
    silent_until: Option<Instant>,
    /// When it answered last.
    answered: Option<Instant>,
}

/// The servers, and what is known of them.
pub(super) struct Servers {
    pub(super) conf: Arc<ResolvConf>,
    port: u16,
    /// What is known of each, in their order.
    known: Mutex<Vec<Known>>,
    turn: AtomicUsize,
    /// Where the numbers of questions come from.
    ids: Ids,
}

impl Servers {
    pub(super) fn new(conf: Arc<ResolvConf>, port: u16) -> Servers {
        Servers {
            known: Mutex::new(vec![Known::default(); conf.servers.len()]),
            conf,
            port,
            turn: AtomicUsize::new(0),
            ids: Ids::default(),
        }
    }

    /// Asks one server after the other, until one of them knows, or says that there is nothing.
    ///
    /// # Errors
    ///
    /// What the servers did instead, each named once.
    pub(super) async fn ask(&self, question: &Question) -> Result<Reply, Unanswered> {
        let order = self.order(Instant::now());
        let mut faults: Vec<Option<Fault>> = order.iter().map(|_| None).collect();
        for _ in 0..self.conf.attempts {
            for (fault, &number) in faults.iter_mut().zip(&order) {
                let Some(server) = self.conf.servers.get(number) else {
                    continue;
                };
                let asked = Instant::now();
                match self.ask_one(server, question).await {
                    Ok(reply) => {
                        self.answered(number, Instant::now());
                        return Ok(reply);
                    }
                    Err(found) => {
                        if found.is_dead() {
                            self.was_silent(number, asked, Instant::now());
                        }
                        *fault = Some(found);
                    }
                }
            }
            // They all spoke: they will say the same again.
            if !faults.iter().flatten().any(Fault::is_dead) {
                break;
            }
        }
        let shown = order.iter().zip(&faults).filter_map(|(&number, fault)| {
            let server = self.conf.servers.get(number)?.address;
            Some(format!("{server}: {}", fault.as_ref()?))
        });
        Err(Unanswered {
            shown: shown.collect::<Vec<_>>().join("; "),
            code: faults.iter().flatten().find_map(Fault::code),
            all_silent: faults
                .iter()
                .flatten()
                .all(|fault| matches!(fault, Fault::Silent(_))),
            all_dead: faults.iter().flatten().all(Fault::is_dead),
        })
    }

    async fn ask_one(&self, server: &NameServer, question: &Question) -> Result<Reply, Fault> {
        let address = self.address(server).map_err(Fault::Unreachable)?;
        let ResolvConf {
            timeout, use_tcp, ..
        } = *self.conf;
        ask(address, question, self.ids.next(), timeout, use_tcp).await
    }

    /// The numbers of the servers in the order in which they are asked at `now`.
    fn order(&self, now: Instant) -> Vec<usize> {
        let count = self.conf.servers.len();
        let mut order: Vec<usize> = (0..count).collect();
        if self.conf.rotate && count > 0 {
            order.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % count);
        }
        let known = sync::lock(&self.known);
        let is_silent = |number: &usize| {
            let until = known.get(*number).and_then(|known| known.silent_until);
            until.is_some_and(|until| until > now)
        };
        order.sort_by_key(is_silent);
        order
    }

    fn answered(&self, number: usize, now: Instant) {
        if let Some(known) = sync::lock(&self.known).get_mut(number) {
            *known = Known {
                silent_until: None,
                answered: Some(now),
            };
        }
    }

    /// Notes that a server said nothing to a question that it was `asked` at that moment. One that
    /// answered another question meanwhile is there: many home routers drop what they do not know,
    /// such as questions for IPv6 addresses, and another server may not know the names of theirs.
    fn was_silent(&self, number: usize, asked: Instant, now: Instant) {
        if let Some(known) = sync::lock(&self.known).get_mut(number)
            && known.answered.is_none_or(|answered| answered < asked)
        {
            known.silent_until = Some(now + ASKED_LAST);
        }
    }

    /// Where a server is reached. An interface is looked for by its name every time: it may come
    /// and go.
    fn address(&self, server: &NameServer) -> io::Result<SocketAddr> {
        let IpAddr::V6(address) = server.address else {
            return Ok(SocketAddr::new(server.address, self.port));
        };
        let zone = match server.zone.as_deref() {
            None => 0,
            Some(zone) => match zone.parse() {
                Ok(number) => number,
                // Any socket will do to ask the kernel.
                Err(_) => rustix::net::netdevice::name_to_index(
                    UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?,
                    zone,
                )?,
            },
        };
        Ok(SocketAddrV6::new(address, self.port, 0, zone).into())
    }
}

/// No server has answered a question.
#[derive(Default)]
pub(super) struct Unanswered {
    /// Each server and what it did.
    pub(super) shown: String,
    /// What one of them answered, if any did.
    pub(super) code: Option<Rcode>,
    /// Whether nothing came from any of them in time.
    pub(super) all_silent: bool,
    /// Whether none of them can be reached.
    pub(super) all_dead: bool,
}

/// Numbers of questions that a stranger cannot guess (RFC 5452 section 4.3).
///
/// They are a keyed hash of a counter. The key is the one that the standard library draws for its
/// hash maps: from the kernel, and without waiting where there is no entropy yet.
#[derive(Default)]
struct Ids {
    key: RandomState,
    count: AtomicU64,
}

impl Ids {
    fn next(&self) -> u16 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let hash = self.key.hash_one(count);
        // Sixteen of its bits, the others folded in.
        (hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn servers(text: &str) -> Servers {
        Servers::new(Arc::new(ResolvConf::parse(text)), 53)
    }

    #[test]
    fn the_silent_are_asked_last_for_a_while_and_rotation_begins_with_each() {
        let three = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let usual = servers(three);
        let now = Instant::now();
        assert_eq!(usual.order(now), [0, 1, 2]);
        usual.was_silent(0, now, now);
        assert_eq!(usual.order(now), [1, 2, 0]);
        assert_eq!(usual.order(now + ASKED_LAST), [0, 1, 2]);
        usual.answered(0, now);
        assert_eq!(usual.order(now), [0, 1, 2]);
        // It answered something after it was asked this, so it is there.
        usual.was_silent(0, now - ASKED_LAST, now);
        assert_eq!(usual.order(now), [0, 1, 2]);
        let turning = servers(&format!("{three}options rotate"));
        let orders = [0; 4].map(|_| turning.order(now));
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn link_local_servers_are_reached_over_their_interface() {
        for (zone, wanted) in [("lo", 1), ("7", 7)] {
            let one = servers(&format!("nameserver fe80::1%{zone}"));
            let SocketAddr::V6(address) = one.address(&one.conf.servers[0]).unwrap() else {
                panic!("an address of the other family");
            };
            assert_eq!((address.scope_id(), address.port()), (wanted, 53));
        }
        let gone = servers("nameserver fe80::1%nothere0");
        assert!(gone.address(&gone.conf.servers[0]).is_err());
    }

    #[test]
    fn numbers_are_all_over_the_place_and_differ_from_resolver_to_resolver() {
        let one = Ids::default();
        let numbers: BTreeSet<u16> = (0..1000).map(|_| one.next()).collect();
        assert!(numbers.len() > 900, "{}", numbers.len());
        let other = Ids::default();
        let same = (0..1000).filter(|_| one.next() == other.next()).count();
        assert!(same < 100, "{same}");
    }
}
