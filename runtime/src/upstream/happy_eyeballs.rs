//! Connecting to a name that has several addresses (RFC 8305, "happy eyeballs").

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use smol::Timer;

use super::UpstreamError;
use crate::sync;

/// How long one address has before the next is tried beside it (RFC 8305 section 5).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;
/// How many of them are tried at the same time.
///
/// RFC 8305 section 5 has every attempt go on until one has connected, but asks for no more than
/// that they are not begun all at once. Each is a socket, of which a small device has few, and what
/// has been silent for so long is seldom the first to connect. The last ones have all the time that
/// is left.
const ATTEMPTS: usize = 2;
/// For how many names it is remembered which address worked.
const NAMES: usize = 64;

/// The address of each name that took a connection last. Names that were used longest ago are
/// forgotten.
#[derive(Default)]
pub(super) struct LastWorked(Mutex<VecDeque<(Box<str>, IpAddr)>>);

impl LastWorked {
    /// The addresses of `name` in the order in which they are tried: the one that worked last, then
    /// the families in turn, beginning with that of the first (RFC 8305 section 4).
    pub(super) fn order(&self, name: &str, found: &[IpAddr]) -> Vec<IpAddr> {
        let worked = {
            let known = sync::lock(&self.0);
            let known = known.iter().find(|(known, _)| **known == *name);
            known.map(|(_, address)| *address)
        };
        let worked = worked.filter(|address| found.contains(address));
        let first_is_v6 = found.first().is_some_and(IpAddr::is_ipv6);
        let left = found.iter().copied().filter(|one| Some(*one) != worked);
        let (one, other): (Vec<_>, Vec<_>) = left.partition(|one| one.is_ipv6() == first_is_v6);
        let mut families = [one.into_iter(), other.into_iter()];
        let mut order: Vec<IpAddr> = worked.into_iter().collect();
        while order.len() < ADDRESSES {
            let before = order.len();
            order.extend(families.iter_mut().filter_map(Iterator::next));
            if order.len() == before {
                break;
            }
        }
        order.truncate(ADDRESSES);
        order
    }

    /// Remembers that `address` took a connection for `name`.
    pub(super) fn remember(&self, name: &str, address: IpAddr) {
        let mut known = sync::lock(&self.0);
        known.retain(|(known, _)| **known != *name);
        known.push_back((name.into(), address));
        if known.len() > NAMES {
            known.pop_front();
        }
    }
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Connects to the first of `addresses` that takes the connection. Each gets [`ATTEMPT_DELAY`], or
/// less if the one before it fails, and then the next is tried beside it. Of more than [`ATTEMPTS`],
/// the oldest is given up for it. Once one has connected, the others are dropped.
///
/// # Errors
///
/// All of them have failed.
pub(super) async fn connect<T, F>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), UpstreamError>
where
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut left = addresses.into_iter();
    // The oldest first.
    let mut attempts: VecDeque<(SocketAddr, Attempt<T>)> = VecDeque::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = left.next() {
            if attempts.len() >= ATTEMPTS
                && let Some((silent, _)) = attempts.pop_front()
            {
                let error = io::Error::new(io::ErrorKind::TimedOut, "no answer before the next");
                failed.push((silent, error));
            }
            attempts.push_back((address, Box::pin(dial(address))));
        }
        if attempts.is_empty() {
            return Err(all_failed(&failed));
        }
        let mut delay = match left.len() {
            0 => Timer::never(),
            _ => Timer::after(ATTEMPT_DELAY),
        };
        let ended = poll_fn(|cx| {
            for (at, (address, attempt)) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(connected) = attempt.as_mut().poll(cx) {
                    let ended = (*address, connected);
                    attempts.remove(at);
                    return Poll::Ready(Some(ended));
                }
            }
            Pin::new(&mut delay).poll(cx).map(|_| None)
        })
        .await;
        match ended {
            Some((address, Ok(connected))) => return Ok((address, connected)),
            Some((address, Err(error))) => failed.push((address, error)),
            None => {}
        }
    }
}

/// The error for addresses that have all failed: refused, if one of them refused.
fn all_failed(failed: &[(SocketAddr, io::Error)]) -> UpstreamError {
    let is = |kind| move |(_, error): &(SocketAddr, io::Error)| error.kind() == kind;
    if !failed.is_empty() && failed.iter().all(is(io::ErrorKind::TimedOut)) {
        return UpstreamError::ConnectTimeout;
    }
    let refused = failed.iter().any(is(io::ErrorKind::ConnectionRefused));
    let shown = failed
        .iter()
        .map(|(address, error)| match refused && failed.len() == 1 {
            true => address.to_string(),
            false => format!("{address}: {error}"),
        });
    let shown = shown.collect::<Vec<_>>().join("; ");
    match refused {
        true => UpstreamError::Refused(shown),
        false => UpstreamError::Unreachable(shown),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use futures_lite::future::poll_once;
    use smol::channel::{Receiver, unbounded};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_behind_the_address_that_worked_last() {
        let known = LastWorked::default();
        let found = addresses(&["::1", "::2", "::3", "192.0.2.1", "192.0.2.2"]);
        let turns = addresses(&["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"]);
        assert_eq!(known.order("a", &found), turns);
        known.remember("a", found[4]);
        let turns = addresses(&["192.0.2.2", "::1", "192.0.2.1", "::2", "::3"]);
        assert_eq!(known.order("a", &found), turns);
        // One that the name has no more is not tried.
        known.remember("a", "192.0.2.9".parse().unwrap());
        assert_eq!(known.order("a", &found).len(), found.len());
        let many: Vec<IpAddr> = (0..=255u8).map(|last| [192, 0, 2, last].into()).collect();
        assert_eq!(known.order("b", &many), many[..ADDRESSES]);
        assert_eq!(known.order("b", &[]), addresses(&[]));
    }

    #[test]
    fn names_used_longest_ago_are_forgotten() {
        let known = LastWorked::default();
        let found = addresses(&["192.0.2.1", "192.0.2.2"]);
        for number in 0..=NAMES {
            known.remember(&number.to_string(), found[1]);
        }
        assert_eq!(known.order("0", &found), found);
        assert_eq!(known.order("1", &found)[0], found[1]);
    }

    /// An address that says nothing until its channel does.
    type Silence = Receiver<()>;

    /// What came of a race.
    struct Race {
        connected: Result<u16, UpstreamError>,
        /// Whether it had ended before there was anything to wait for.
        at_once: bool,
        /// Which addresses were tried, in order.
        tried: Vec<u16>,
        /// How many were being tried at the same time, at most.
        most: usize,
        /// How many are still being tried at the end.
        left: usize,
    }

    /// Races addresses that connect, are refused, or are silent, in the order of `what`.
    fn race(what: &'static str) -> Race {
        let tried = Arc::new(Mutex::new(Vec::new()));
        let most = Arc::new(Mutex::new(0));
        let (send, silent): (_, Silence) = unbounded();
        let targets = (0..what.len()).map(|at| SocketAddr::from(([192, 0, 2, 1], at as u16)));
        let dial = |address: SocketAddr| {
            let at = address.port();
            tried.lock().unwrap().push(at);
            let silent = silent.clone();
            let mut most = most.lock().unwrap();
            *most = (*most).max(silent.receiver_count() - 1);
            async move {
                match what.as_bytes()[usize::from(at)] {
                    b'+' => Ok(()),
                    b'-' => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                    b'x' => Err(io::Error::from(io::ErrorKind::NetworkUnreachable)),
                    _ => silent.recv().await.map_err(io::Error::other),
                }
            }
        };
        let (connected, at_once) = smol::block_on(async {
            let mut connecting = Box::pin(connect(targets.collect(), dial));
            match poll_once(&mut connecting).await {
                Some(connected) => (connected, true),
                None => (connecting.await, false),
            }
        });
        Race {
            connected: connected.map(|(address, ())| address.port()),
            at_once,
            tried: tried.lock().unwrap().clone(),
            most: *most.lock().unwrap(),
            left: send.receiver_count() - 1,
        }
    }

    #[test]
    fn the_next_is_tried_at_once_behind_a_failure_and_after_a_while_beside_silence() {
        let behind = race("x-++");
        assert_eq!(behind.connected.unwrap(), 2);
        assert_eq!((behind.tried, behind.at_once), (vec![0, 1, 2], true));
        let start = Instant::now();
        let beside = race(".+");
        assert_eq!(beside.connected.unwrap(), 1);
        assert_eq!((beside.tried, beside.left), (vec![0, 1], 0));
        assert!(start.elapsed() >= ATTEMPT_DELAY);
    }

    #[test]
    fn few_are_tried_at_the_same_time() {
        let race = race("...-.+");
        assert_eq!(race.connected.unwrap(), 5);
        assert_eq!(race.tried, [0, 1, 2, 3, 4, 5]);
        assert_eq!((race.most, race.left), (ATTEMPTS, 0));
    }

    #[test]
    fn where_all_fail_each_is_named() {
        let refused = race("x-").connected.unwrap_err();
        let shown = refused.to_string();
        assert!(matches!(refused, UpstreamError::Refused(_)), "{refused:?}");
        assert!(shown.contains("192.0.2.1:0: ") && shown.contains("192.0.2.1:1: "));
        let unreachable = race("x").connected.unwrap_err();
        assert!(matches!(unreachable, UpstreamError::Unreachable(_)));
    }
}
