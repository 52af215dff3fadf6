//! Connections that wait for a place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::doorstep::Doorstep;
use crate::clients::Network;

/// How many places each network holds.
pub(super) type Amounts = HashMap<Network, usize>;

/// The connections that have been accepted and have no place, by network.
///
/// Those come first whose network has least, counting those that stand in front of them; of one network
/// the first that came. Whatever is asked here costs by the number of networks, and not by that of
/// connections: one client may have thousands, and each that comes asks.
#[derive(Default)]
pub(super) struct Waiting {
    /// None of these is empty.
    queues: HashMap<Network, VecDeque<Newcomer>>,
    count: usize,
    /// How many have ever come.
    came: u64,
}

/// A connection that has been accepted. The reactor does not know it yet: most of many may never get
/// a place.
pub(super) struct Newcomer {
    pub(super) stream: TcpStream,
    pub(super) client: SocketAddr,
    /// Where it came in.
    pub(super) step: Arc<Doorstep>,
    /// The number under which it came.
    number: u64,
}

/// What a network has, the number of its first newcomer, and the network: the smallest comes first.
type Next = Reverse<(usize, u64, Network)>;

impl Newcomer {
    /// Whose it is.
    pub(super) fn network(&self) -> Network {
        self.client.ip().into()
    }
}

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Has one more wait.
    pub(super) fn push(&mut self, stream: TcpStream, client: SocketAddr, step: Arc<Doorstep>) {
        let newcomer = Newcomer {
            stream,
            client,
            step,
            number: self.came,
        };
        self.came += 1;
        self.count += 1;
        let queue = self.queues.entry(newcomer.network()).or_default();
        queue.push_back(newcomer);
    }

    /// Takes out those who get a place: `enter` is asked in turn whether a network may have one, which
    /// has so many, and is given the newcomer then. It returns false if that gets none after all.
    pub(super) fn admit(
        &mut self,
        held: &Amounts,
        mut may_enter: impl FnMut(Network, usize) -> bool,
        mut enter: impl FnMut(Newcomer) -> bool,
    ) {
        let mut order = self.order(held);
        while let Some(Reverse((has, _, network))) = order.pop() {
            if !may_enter(network, has) {
                continue;
            }
            let Some(newcomer) = self.pop_front(network) else {
                continue;
            };
            let has = has + usize::from(enter(newcomer));
            let next = self.queues.get(&network).and_then(VecDeque::front);
            order.extend(next.map(|next| Reverse((has, next.number, network))));
        }
    }

    /// The networks of those who wait, one for each, in their order.
    pub(super) fn networks(&self, held: &Amounts) -> impl Iterator<Item = Network> {
        let mut order = self.order(held);
        let mut passed: HashMap<Network, usize> = HashMap::new();
        std::iter::from_fn(move || {
            let Reverse((has, _, network)) = order.pop()?;
            let passed = passed.entry(network).or_default();
            *passed += 1;
            let next = self
                .queues
                .get(&network)
                .and_then(|queue| queue.get(*passed));
            order.extend(next.map(|next| Reverse((has + 1, next.number, network))));
            Some(network)
        })
    }

    /// Takes the last one out: of the network that has most, with those who wait, the one that came
    /// last.
    pub(super) fn pop_last(&mut self, held: &Amounts) -> Option<Newcomer> {
        let queues = self.queues.iter();
        let counted = queues.filter_map(|(network, queue)| {
            let has = held.get(network).copied().unwrap_or_default() + queue.len();
            Some((has, queue.back()?.number, *network))
        });
        let (_, _, network) = counted.max()?;
        let queue = self.queues.get_mut(&network)?;
        let last = queue.pop_back();
        self.count -= usize::from(last.is_some());
        if queue.is_empty() {
            self.queues.remove(&network);
        }
        last
    }

    fn pop_front(&mut self, network: Network) -> Option<Newcomer> {
        let queue = self.queues.get_mut(&network)?;
        let first = queue.pop_front();
        self.count -= usize::from(first.is_some());
        if queue.is_empty() {
            self.queues.remove(&network);
        }
        first
    }

    fn order(&self, held: &Amounts) -> BinaryHeap<Next> {
        let queues = self.queues.iter();
        let order = queues.filter_map(|(network, queue)| {
            let has = held.get(network).copied().unwrap_or_default();
            Some(Reverse((has, queue.front()?.number, *network)))
        });
        order.collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::{IpAddr, TcpListener};

    use super::*;

    /// Connections from these addresses of 192.0.2.0/24, in this order.
    fn waiting(addresses: &[u8]) -> Waiting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut waiting = Waiting::default();
        for last in addresses {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client = (IpAddr::from([192, 0, 2, *last]), 1).into();
            waiting.push(stream, client, Arc::default());
        }
        waiting
    }

    fn network(last: u8) -> Network {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn last_byte(newcomer: &Newcomer) -> u8 {
        match newcomer.client.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => panic!("{address}"),
        }
    }

    #[test]
    fn those_whose_network_has_least_come_first() {
        let waiting = waiting(&[1, 1, 1, 2, 3, 2]);
        let held = Amounts::from([(network(3), 2)]);
        let order: Vec<_> = waiting.networks(&held).collect();
        assert_eq!(order, [1, 2, 1, 2, 1, 3].map(network));
    }

    #[test]
    fn places_are_given_in_that_order_to_those_who_may_have_one() {
        let mut waiting = waiting(&[1, 1, 2, 3, 1]);
        let mut order = Vec::new();
        waiting.admit(
            &Amounts::from([(network(3), 9)]),
            |_, has| has < 2,
            |newcomer| {
                order.push(last_byte(&newcomer));
                // The first one is gone when its turn comes, which is not counted.
                order.len() > 1
            },
        );
        assert_eq!(order, [1, 1, 2, 1]);
        assert_eq!(waiting.len(), 1);
        waiting.admit(&Amounts::new(), |_, _| true, |_| true);
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn the_last_of_whoever_has_most_goes() {
        let mut waiting = waiting(&[1, 1, 2, 3, 3]);
        let held = Amounts::from([(network(2), 1), (network(3), 1)]);
        let gone: Vec<_> = std::iter::from_fn(|| waiting.pop_last(&held))
            .map(|newcomer| last_byte(&newcomer))
            .collect();
        assert_eq!(gone, [3, 3, 2, 1, 1]);
        assert_eq!(waiting.len(), 0);
    }
}
