//! Clients that send nothing more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smol::Timer;

use super::Exchange;
use crate::server::client_stream::End;

/// A client that has ended its half of the stream. It may wait for its response, or be gone, which
/// looks the same until something is sent to it: so it is waited for as long as any other.
pub(super) struct Leaving {
    timer: Timer,
    /// Whether the request waited for an instance when the timer was set.
    was_queued: bool,
}

impl Leaving {
    pub(super) fn begin(exchange: &Exchange<'_>) -> Leaving {
        Leaving {
            timer: Timer::after(exchange.shared.timeouts.half_closed),
            was_queued: exchange.claim.is_queued(),
        }
    }

    /// Ready when the client counts as gone: it has reset the connection, which only a look from time to
    /// time shows, or its request has waited for an instance for a while. Clients that give up and
    /// come again would else have a busy device work for nobody.
    pub(super) fn poll(&mut self, exchange: &Exchange<'_>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.timer).poll(cx));
            let is_reset = matches!(exchange.stream.end(), Some(End::Reset));
            if is_reset || (self.was_queued && exchange.claim.is_queued()) {
                return Poll::Ready(());
            }
            *self = Leaving::begin(exchange);
        }
    }
}
