//! Who else has asked lately.

use std::time::{Duration, Instant};

use super::Network;

/// How long what is scarce is kept for others after one of them has asked.
const KEPT: Duration = Duration::from_secs(5);

/// The two networks that have asked last, and when.
#[derive(Default)]
pub struct Recent {
    last: Option<(Network, Instant)>,
    before: Option<(Network, Instant)>,
}

impl Recent {
    /// Notes that `network` asks.
    pub fn note(&mut self, network: Network, now: Instant) {
        match &mut self.last {
            Some((last, when)) if *last == network => *when = now,
            _ if network == Network::OWN => {}
            last => self.before = last.replace((network, now)),
        }
    }

    /// Whether another network than this one has asked lately.
    pub fn has_others(&self, network: Network, now: Instant) -> bool {
        let mut asked = self.last.iter().chain(&self.before);
        asked.any(|(other, when)| *other != network && now.duration_since(*when) < KEPT)
    }
}
