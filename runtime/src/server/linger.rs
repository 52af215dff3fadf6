//! Closes a connection whose client may still be sending.
//!
//! A client that sends a large body need not look for a response before it has sent all of it:
//! Python's `http.client` does not, nor do browsers. Whoever responds early and closes then answers
//! the rest of the body with a reset, which takes the response with it before it is read (RFC 9112
//! section 9.6). So what comes is read and dropped, as long as it comes.

use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};
use smol::Timer;
use smol::io::AsyncWriteExt;
use zlayer_http1::{BodyDecoder, Decoded};

use super::client_stream::ClientStream;
use crate::clients::{Claim, Phase, asked};
use crate::timeout;
use crate::wire::buffer::ReadBuffer;
use crate::wire::stopped;

/// How long a client may go on sending what nobody wants: nginx's `lingering_time`, by default.
const TIME: Duration = Duration::from_secs(30);
/// How long it may send nothing: nginx's `lingering_timeout`, by default.
const SILENCE: Duration = Duration::from_secs(5);
/// How long all of it may take from when the daemon drains.
const DRAINING: Duration = Duration::from_secs(1);
/// The same from when somebody else needs the place: what has come by then is dropped in less.
const LEAVING: Duration = Duration::from_millis(50);

/// A connection whose last response is written, or whose next request is behind a body that nobody
/// wants.
pub(super) struct Linger<'a> {
    pub(super) stream: &'a ClientStream,
    pub(super) buffer: &'a mut ReadBuffer,
    /// The connection still has its place, and is among the first to lose it.
    pub(super) claim: &'a Claim,
    /// Closed when the daemon drains.
    pub(super) stop: &'a smol::channel::Receiver<()>,
}

impl Linger<'_> {
    /// Ends our half of the stream, and drops what comes until the client has ended its own, is
    /// silent, takes too long, or somebody else needs the place.
    pub(super) async fn close(mut self) {
        self.claim.enter(Phase::Lingering);
        let mut stream = self.stream;
        if !matches!(timeout::within(SILENCE, stream.close()).await, Some(Ok(()))) {
            return;
        }
        let mut end = Instant::now() + TIME;
        while self.drop_some(&mut end).await {}
    }

    /// Drops the rest of a request's body. Returns whether all of it came, so that the next request
    /// can be read.
    pub(super) async fn skip(mut self, mut decoder: BodyDecoder) -> bool {
        self.claim.enter(Phase::Lingering);
        let mut end = Instant::now() + TIME;
        loop {
            let (consumed, wants_more) = match decoder.decode(self.buffer.bytes()) {
                Ok(Decoded::End { consumed, .. }) => {
                    self.buffer.consume(consumed);
                    return true;
                }
                Ok(Decoded::Data { consumed, .. }) => (consumed, false),
                Ok(Decoded::NeedMore { consumed }) => (consumed, true),
                Err(_) => return false,
            };
            self.buffer.consume(consumed);
            if wants_more && !self.fill(&mut end).await {
                return false;
            }
        }
    }

    /// Drops what was read, and reads more. Returns false when that was all.
    async fn drop_some(&mut self, end: &mut Instant) -> bool {
        let waiting = self.buffer.bytes().len();
        self.buffer.consume(waiting);
        self.fill(end).await
    }

    /// Reads more, unless it is over: at `end`, which comes nearer when the daemon drains or somebody
    /// else needs the place.
    async fn fill(&mut self, end: &mut Instant) -> bool {
        let claim = self.claim;
        // A client that always has more to be read never waits for what ends the waiting below.
        let now = Instant::now();
        if claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE) {
            *end = (now + LEAVING).min(*end);
        }
        if self.stop.is_closed() {
            *end = (now + DRAINING).min(*end);
        }
        if now >= *end {
            return false;
        }
        let patience = (now + SILENCE).min(*end);
        let filling = async { matches!(self.buffer.fill(self.stream, 0).await, Ok(1..)) };
        let leaving = async {
            claim.wait_to_leave().await;
            false
        };
        let draining = async {
            stopped(self.stop).await;
            Timer::after(DRAINING).await;
            false
        };
        let filled = timeout::before(patience, or(filling, or(leaving, draining))).await;
        // Nor may it keep the thread from others.
        yield_now().await;
        filled.unwrap_or(false)
    }
}
