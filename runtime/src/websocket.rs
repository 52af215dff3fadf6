//! An upgraded connection: messages to and from a plugin, a client and maybe an upstream.
//!
//! # What becomes of a message
//!
//! Every message of either side is offered to the plugin, of whatever kind, one at a time in the
//! order in which they came. What the plugin returns goes on to the other side; without an upstream
//! that is the client itself. While a side's last message is with the plugin or on its way out, no
//! more than one buffer is read from that side. So a slow reader slows the writer down, and memory
//! holds one message each way. When a client leaves meanwhile, the plugin's work is stopped.
//!
//! - **Ping.** If the plugin returns a pong, it goes back to the sender. If it returns a ping and
//!   there is an upstream, the ping goes on to the other side, whose pong will come back. If it
//!   returns anything else or nothing, the session itself sends the pong (RFC 6455, 5.5.2).
//! - **Pong.** Offered like any message, except for pongs to pings of the session's own.
//! - **Close.** The plugin sees it with its payload as on the wire. If the plugin returns a close,
//!   that goes out in place of the one that came; anything else that it returns goes out before the
//!   close. A plugin cannot keep a conversation open. With an upstream both sides are closed.
//! - **Close from the plugin**, returned for any message, ends the conversation on both sides.
//!
//! What the plugin returns has to be valid: text has to be UTF-8, control messages short, close
//! codes ones that may be sent. If it is not, and when the plugin traps or takes too long, the
//! session closes with 1011.
//!
//! # How much a client or an upstream can cost
//!
//! A message's buffer grows with what has come, and is reserved first in the [`Budget`], of which
//! all conversations together have a part; so is what it takes to inflate one. A message that has
//! begun has to bring [`TRANSFER_RATE`](crate::config::TRANSFER_RATE) bytes a second in the long run;
//! bytes that came faster earn no longer silence than the stall time. A side that is silent gets a ping, and is
//! given up when nothing comes after it. A conversation whose place others need is closed with 1013, those that
//! are silent first (see [`crate::clients`]). A write that makes no progress ends the session. One whose deployment has
//! been replaced ends as when the daemon drains, and without waiting for anybody once that one's time is up.

mod end;
mod reader;
mod relay;
#[cfg(test)]
mod tests;
mod writer;

use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_lite::future::{or, zip};
use smol::channel::{Receiver, bounded};
use smol::{Async, Timer};
use zlayer_http1::websocket::Deflate;
pub use zlayer_http1::websocket::{Kind, Message};

use crate::clients::{self, asked};
use crate::config::{Limits, Timeouts};
use crate::failure::Failure;
use crate::memory::Budget;
use crate::timeout;
use crate::wire::{Socket, stopped};
use end::End;
use reader::Reader;
use relay::Relay;
use writer::Writer;

/// How long the other direction may take to end its message, and after that how long the closing
/// handshake may take.
const CLOSING: Duration = Duration::from_secs(5);

/// How long a side may take to take in that the conversation's place, or its memory, is needed.
const DISMISSING: Duration = Duration::from_millis(100);

/// What a conversation is asked when its place is needed.
const DISPLACING: u8 = asked::LEAVE | asked::END_REQUEST;

/// Bytes of memory that the socket to an upstream takes beside messages: a read and a write buffer.
const UPSTREAM_BYTES: usize = 32 << 10;

/// One side's connection, on which the opening handshake is done.
pub struct Endpoint {
    /// The connection. Closing it has to end the stream to the peer.
    pub socket: Box<dyn Socket>,
    /// Bytes that were read behind the handshake.
    pub received: Vec<u8>,
}

impl Endpoint {
    /// An endpoint on a TCP connection without TLS, with the bytes that were read behind the
    /// handshake.
    pub fn tcp(stream: Async<TcpStream>, received: Vec<u8>) -> Endpoint {
        Endpoint {
            // `Async` itself only flushes when it is closed; this one ends the stream.
            socket: Box::new(smol::net::TcpStream::from(stream)),
            received,
        }
    }
}

/// The future of a plugin's result for a message: the message that goes on, if any does.
pub type HandlerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Message>, Failure>> + Send + 'a>>;

/// A plugin, as a session sees it. The implementation bounds the time of each call; the session
/// makes at most one call of each kind at a time.
pub trait MessageHandler: Send + Sync {
    /// Takes a message from the client, and returns what goes on to the upstream, or back to the
    /// client if there is none.
    fn client_message(&self, message: Message) -> HandlerFuture<'_>;

    /// Takes a message from the upstream, and returns what goes on to the client.
    fn upstream_message(&self, message: Message) -> HandlerFuture<'_>;
}

/// A conversation, from the end of the opening handshake to that of the closing one.
pub struct WebSocketSession {
    /// What the log calls the conversation: request, path, plugin.
    pub label: String,
    /// The client that asked for the conversation.
    pub client: Endpoint,
    /// The upstream that the other side of the conversation is, if there is one.
    pub upstream: Option<Endpoint>,
    /// The plugin that each message is offered to. Without one, messages go on as they came.
    pub handler: Option<Box<dyn MessageHandler>>,
    /// The compression that was agreed with the client. Messages to an upstream are not compressed.
    pub deflate: Option<Deflate>,
    /// The budget that messages are charged to.
    pub budget: Arc<Budget>,
    /// Closed when the daemon drains, or what the conversation began in is gone.
    pub stops: [Receiver<()>; 2],
    /// Closed when what the conversation began in has to be gone at once: it waits for no peer then.
    pub cut: Receiver<()>,
}

/// The two sides of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

/// The two signals that end a direction between two messages.
struct StopSignals {
    /// The daemon drains, or what the conversation began in is gone.
    stops: [Receiver<()>; 2],
    /// The other direction has ended.
    ended: Receiver<()>,
}

impl StopSignals {
    async fn requested(&self) -> End {
        let stop = async {
            let [one, other] = &self.stops;
            or(stopped(one), stopped(other)).await;
            End::Stopped
        };
        let told = async {
            stopped(&self.ended).await;
            End::OtherEnded
        };
        or(stop, told).await
    }
}

impl WebSocketSession {
    /// Carries messages until one side, the plugin or the daemon ends it, and closes both sides.
    pub async fn run(self, limits: &Limits, timeouts: &Timeouts) {
        let WebSocketSession {
            label,
            client,
            upstream,
            handler,
            deflate,
            budget,
            stops,
            cut,
        } = self;
        let message = limits.websocket_message;
        let claim = clients::current();
        let (mut reader, writer) = parts(Side::Client, client, message, &budget, timeouts);
        let mut other =
            upstream.map(|upstream| parts(Side::Upstream, upstream, message, &budget, timeouts));
        let bytes = other.as_ref().map_or(0, |_| UPSTREAM_BYTES);
        if let Some(agreed) = deflate {
            reader.inflate();
            writer.deflate(agreed);
        }
        let Some(_held) = budget.reserve(bytes) else {
            log::warn!("{label}: WebSocket closed: {}", End::NoMemory);
            return close(&mut reader, &writer, &End::NoMemory).await;
        };

        let (end_told, ended) = bounded::<()>(1);
        let leave = StopSignals { stops, ended };
        let first = OnceLock::new();
        let relay = Relay {
            handler: handler.as_deref(),
            leave: &leave,
            budget: &budget,
            limit: message,
            has_upstream: other.is_some(),
        };
        // The direction that ends first signals the other, which first finishes the message that it
        // is working on, so that no message is left half written.
        let conclude = |end: End| {
            if !matches!(end, End::OtherEnded) {
                let _ = first.set(end);
            }
            end_told.close();
        };
        let both = async {
            match &mut other {
                None => conclude(relay.run(&mut reader, &writer, &writer).await),
                Some((upstream_reader, upstream_writer)) => {
                    let out = async {
                        conclude(relay.run(&mut reader, &writer, upstream_writer).await);
                    };
                    let back = async {
                        conclude(relay.run(upstream_reader, upstream_writer, &writer).await);
                    };
                    zip(out, back).await;
                }
            }
        };
        let too_long = async {
            stopped(&leave.ended).await;
            Timer::after(CLOSING).await;
        };
        let displaced = async {
            claim.wait_until_asked(DISPLACING).await;
            let _ = first.set(End::Displaced);
        };
        // The plugin's work on a message goes with it.
        let cut_off = async {
            stopped(&cut).await;
            let _ = first.set(End::Stopped);
        };
        or(both, or(too_long, or(displaced, cut_off))).await;
        let end = first.into_inner().unwrap_or(End::Stopped);
        log::log!(end.level(), "{label}: WebSocket closed: {end}");
        if matches!(end, End::Displaced) || cut.is_closed() {
            return dismiss(&writer, &end, other.as_ref().map(|(_, writer)| writer)).await;
        }
        let closing = async {
            match &mut other {
                None => close(&mut reader, &writer, &end).await,
                Some((upstream_reader, upstream_writer)) => {
                    zip(
                        close(&mut reader, &writer, &end),
                        close(upstream_reader, upstream_writer, &end),
                    )
                    .await;
                }
            }
        };
        // Both sides have been told, or take nothing.
        or(closing, stopped(&cut)).await;
    }
}

/// Tells both sides that the conversation is over, and waits for neither: somebody else waits for its
/// place, or for the memory of what it began in.
async fn dismiss(client: &Writer, end: &End, upstream: Option<&Writer>) {
    let telling = zip(client.close(end.payload(Side::Client)), async {
        if let Some(upstream) = upstream {
            upstream.close(end.payload(Side::Upstream)).await;
        }
    });
    let _ = timeout::within(DISMISSING, telling).await;
}

fn parts(
    side: Side,
    endpoint: Endpoint,
    message: usize,
    budget: &Arc<Budget>,
    timeouts: &Timeouts,
) -> (Reader, Writer) {
    let (read, write) = smol::io::split(endpoint.socket);
    let reader = Reader::new(side, read, endpoint.received, message, budget, timeouts);
    let writer = Writer::new(side, write, timeouts.stall, budget);
    (reader, writer)
}

/// Closes one side: sends our close, waits for the peer's, then ends the stream (RFC 6455, 7).
async fn close(reader: &mut Reader, writer: &Writer, end: &End) {
    let closing = async {
        if writer.close(end.payload(reader.side())).await {
            reader.await_close().await;
        }
    };
    let _ = timeout::within(CLOSING, closing).await;
    // A reset must not overtake what we sent, so end our half and read until the peer ends its own.
    if writer.end_stream().await {
        reader.linger().await;
    }
}
