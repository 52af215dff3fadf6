//! Reads messages from one side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, pending, yield_now};
use smol::Timer;
use smol::io::ReadHalf;
use zlayer_http1::websocket::{Kind, Message, MessageDecoder, ProtocolError, Role};

use super::end::End;
use super::writer::Writer;
use super::{Side, StopSignals};
use crate::clients::{self, Claim};
use crate::config::{TRANSFER_RATE, Timeouts};
use crate::memory::{Budget, Reservation};
use crate::wire::Socket;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};

/// The most bytes that are skipped while waiting for a side's close.
const CLOSING_BYTES: usize = 1 << 20;
/// How long a side may take to end its stream after the closing handshake.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;
/// The most bytes that are read from a client while a plugin works on its last message, in order to
/// see whether the client is still there. It is no more than the read buffer has room for anyway.
const AHEAD_BYTES: usize = 4 << 10;

/// Reads and decodes one side's messages.
pub(super) struct Reader {
    side: Side,
    socket: ReadHalf<Box<dyn Socket>>,
    buffer: ReadBuffer,
    decoder: MessageDecoder,
    budget: Arc<Budget>,
    /// The memory that the message which is coming is charged to.
    held: Option<Reservation>,
    deadline: Deadline,
    ping: Duration,
    stall: Duration,
    half_closed: Duration,
    /// How much longer to wait for the message that is coming.
    patience: Duration,
    /// Told when a client has sent a message.
    claim: Arc<Claim>,
}

/// A message that came, and the memory that it is charged to.
pub(super) struct Incoming {
    pub(super) message: Message,
    pub(super) held: Option<Reservation>,
}

impl Reader {
    pub(super) fn new(
        side: Side,
        socket: ReadHalf<Box<dyn Socket>>,
        received: Vec<u8>,
        limit: usize,
        budget: &Arc<Budget>,
        timeouts: &Timeouts,
    ) -> Reader {
        let role = match side {
            Side::Client => Role::Server,
            Side::Upstream => Role::Client,
        };
        Reader {
            side,
            socket,
            buffer: ReadBuffer::from(received),
            decoder: MessageDecoder::new(role, limit),
            budget: Arc::clone(budget),
            held: None,
            deadline: Deadline::new(),
            ping: timeouts.websocket_ping,
            stall: timeouts.stall,
            half_closed: timeouts.half_closed,
            patience: timeouts.stall,
            claim: clients::current(),
        }
    }

    /// Takes compressed messages too, as was agreed.
    pub(super) fn inflate(&mut self) {
        self.decoder.inflate();
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Waits for the next message. While there is none, `writer` sends pings to see whether this
    /// side is still there.
    pub(super) async fn next(
        &mut self,
        writer: &Writer,
        leave: &StopSignals,
    ) -> Result<Incoming, End> {
        let mut pinged = false;
        loop {
            while let Some(incoming) = self.decode()? {
                let message = &incoming.message;
                if message.kind != Kind::Pong || !writer.is_own_ping(&message.data) {
                    // Whichever side speaks, the conversation is in use.
                    self.claim.touch();
                    return Ok(incoming);
                }
            }
            let within = self.decoder.is_within_message();
            if !within {
                self.patience = self.stall;
            }
            let last = within && self.patience <= self.ping;
            self.deadline
                .set(if last { self.patience } else { self.ping });
            let asked = async { Err(leave.requested().await) };
            let filling = async { Ok(self.buffer.fill(&mut self.socket, 0).await) };
            let began = Instant::now();
            let filled = self.deadline.within(or(asked, filling)).await;
            if within {
                self.patience = self.patience.saturating_sub(began.elapsed());
            }
            match filled {
                Ok(Ok(Ok(count))) if count > 0 => {
                    // Bytes that came fast do not add up to a long wait: silence of the stall time
                    // always ends it.
                    let earned = Duration::from_millis(count as u64 * 1000 / TRANSFER_RATE);
                    self.patience = (self.patience + earned).min(self.stall);
                    pinged = false;
                    // A side that always has more must not keep others from their turn.
                    yield_now().await;
                }
                Ok(Ok(_)) => return Err(End::Gone(self.side)),
                Ok(Err(end)) => return Err(end),
                Err(TimedOut) if last => return Err(End::Slow(self.side)),
                Err(TimedOut) if pinged => return Err(End::Silent(self.side)),
                Err(TimedOut) => {
                    writer.ping().await?;
                    pinged = true;
                }
            }
        }
    }

    /// Resolves when a client has gone and has sent nothing that is still to be handled. A client
    /// that has only closed its half of the stream looks the same from here, so it gets a while.
    /// For an upstream this never resolves: what it has sent goes on to the client whether the
    /// upstream is still there or not.
    pub(super) async fn wait_until_gone(&mut self) -> End {
        while self.side == Side::Client && self.buffer.bytes().len() < AHEAD_BYTES {
            match self.buffer.fill(&mut self.socket, 0).await {
                Ok(count) if count > 0 => {}
                Ok(_) if !self.buffer.bytes().is_empty() => break,
                Ok(_) => {
                    Timer::after(self.half_closed).await;
                    return End::Gone(self.side);
                }
                Err(_) => return End::Gone(self.side),
            }
        }
        pending().await
    }

    /// Decodes the next message from the bytes that were read, if it is complete.
    fn decode(&mut self) -> Result<Option<Incoming>, End> {
        let Reader {
            budget,
            held,
            buffer,
            ..
        } = self;
        let mut room = |capacity: usize| match held {
            Some(held) => held.grow(capacity.saturating_sub(held.bytes())),
            None => {
                *held = budget.reserve(capacity);
                held.is_some()
            }
        };
        let decoded = self.decoder.decode(buffer.bytes_mut(), &mut room);
        let (consumed, message) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                // What had come of the message is gone.
                *held = None;
                return Err(match error {
                    ProtocolError::NoRoom => End::NoMemory,
                    error => End::Wrong(self.side, error),
                });
            }
        };
        buffer.consume(consumed);
        let Some(message) = message else {
            return Ok(None);
        };
        // A control message between fragments is small and not charged: the memory belongs to the
        // message whose fragments these are.
        let held = match message.kind {
            // With a close, what had come of a message is gone.
            Kind::Close => {
                *held = None;
                None
            }
            kind if kind.is_control() => None,
            _ => {
                self.patience = self.stall;
                let mut held = held.take();
                if let Some(held) = &mut held {
                    // What inflated it is gone.
                    held.shrink(held.bytes().saturating_sub(message.data.capacity()));
                }
                held
            }
        };
        Ok(Some(Incoming { message, held }))
    }

    /// Reads and drops messages until this side's close has come, or until it is clear that it will
    /// not come.
    pub(super) async fn await_close(&mut self) {
        let mut read = 0;
        while !self.decoder.is_closed() && read < CLOSING_BYTES {
            match self.decode() {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(_) => return,
            }
            match self.buffer.fill(&mut self.socket, 0).await {
                Ok(count) if count > 0 => read += count,
                _ => return,
            }
        }
    }

    /// Reads and drops bytes until the stream ends, for at most [`LINGER`].
    pub(super) async fn linger(&mut self) {
        self.deadline.set(LINGER);
        let (buffer, socket) = (&mut self.buffer, &mut self.socket);
        let draining = async {
            let mut read = 0;
            while read < LINGER_BYTES {
                let waiting = buffer.bytes().len();
                buffer.consume(waiting);
                match buffer.fill(&mut *socket, 0).await {
                    Ok(count) if count > 0 => read += count,
                    _ => return,
                }
            }
        };
        let _ = self.deadline.within(draining).await;
    }
}
