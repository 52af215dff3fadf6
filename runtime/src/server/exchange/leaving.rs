//! Clients that send nothing more.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smol::Timer;
use smol::io::AsyncWrite;
use zlayer_http1::Version;

use super::Exchange;
use crate::server::client_stream::End;

/// What a client is sent that may be gone. Whoever did not ask for it discards it (RFC 9110 section
/// 15.2.1), and the system of one that has gone answers with a reset.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long after that a reset is looked for.
const ANSWER: Duration = Duration::from_millis(500);

/// A client that has ended its half of the stream. It may wait for its response, or be gone, which
/// looks the same until something is sent to it.
pub(super) struct Leaving {
    timer: Timer,
    /// How long to wait before the next probe.
    pause: Duration,
    /// A probe was sent when the timer was set.
    was_probed: bool,
    /// Whether the request waited for an instance when the timer was set.
    was_queued: bool,
}

impl Leaving {
    pub(super) fn begin(exchange: &Exchange<'_>) -> Leaving {
        let pause = exchange.shared.timeouts.half_closed;
        Leaving {
            timer: Timer::after(pause),
            pause,
            was_probed: false,
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
            let is_queued = exchange.claim.is_queued();
            if is_reset || self.was_queued && is_queued {
                return Poll::Ready(());
            }
            let wait = match self.was_probed {
                true => {
                    self.was_probed = false;
                    self.pause
                }
                false => {
                    if probe(exchange, cx).is_err() {
                        return Poll::Ready(());
                    }
                    // A client that does wait is not sent many.
                    self.pause = self.pause.saturating_mul(2);
                    self.was_probed = true;
                    ANSWER
                }
            };
            self.timer.set_after(wait);
            self.was_queued = is_queued;
        }
    }
}

/// Sends something to a client that gets no response yet, to learn whether it is there. Clients of
/// HTTP/1.0 know no such thing (RFC 9110 section 15.2): they are waited for as long as any other.
fn probe(exchange: &Exchange<'_>, cx: &mut Context<'_>) -> Result<(), ()> {
    if exchange.version != Version::Http11 || exchange.begun.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut stream = exchange.stream;
    match Pin::new(&mut stream).poll_write(cx, PROBE) {
        Poll::Ready(Ok(count)) if count == PROBE.len() => {
            // Where nothing can be sent at the moment it goes out with what comes next.
            let _ = Pin::new(&mut stream).poll_flush(cx);
            Ok(())
        }
        Poll::Pending => Ok(()),
        // What was begun cannot be ended: whatever comes next would be unreadable.
        Poll::Ready(_) => Err(()),
    }
}
