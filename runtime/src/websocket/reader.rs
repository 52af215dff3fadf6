//! Messages from one side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, pending, yield_now};
use smol::Timer;
use smol::io::ReadHalf;
use zlayer_http1::websocket::{Kind, Message, MessageDecoder, ProtocolError, Role};

use super::end::End;
use super::writer::Writer;
use super::{Side, StopSignals};
use crate::config::{Timeouts, UPLOAD_RATE};
use crate::memory::{Budget, Reservation};
use crate::wire::Socket;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};

/// Bytes that are read over while a side's close is waited for.
const CLOSING_BYTES: usize = 1 << 20;
/// How long a side that was closed may take to end its stream, and how much it may still send.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;
/// Bytes that are read of a client while a plugin is at its last message, to see whether it is still there. No more
/// than a buffer has room for anyway.
const AHEAD_BYTES: usize = 4 << 10;

/// Reads one side.
pub(super) struct Reader {
    side: Side,
    socket: ReadHalf<Box<dyn Socket>>,
    buffer: ReadBuffer,
    decoder: MessageDecoder,
    budget: Arc<Budget>,
    /// What the message that is coming is charged to.
    held: Option<Reservation>,
    deadline: Deadline,
    ping: Duration,
    stall: Duration,
    half_closed: Duration,
    /// How long the message that is coming may still be waited for.
    patience: Duration,
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
        }
    }

    pub(super) fn inflate(&mut self, agreed: &zlayer_http1::websocket::Deflate) {
        self.decoder.inflate(agreed);
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// The next message. While there is none, `writer` asks this side whether it is there.
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
                    // What came fast is no reason to wait for long: silence alone ends it.
                    let earned = Duration::from_millis(count as u64 * 1000 / UPLOAD_RATE);
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

    /// Resolves when a client has gone, and nothing of it is left to be answered. Its end of the stream alone
    /// may be closed, which looks the same from here, so it gets a while then; and what
    /// an upstream has sent is worth the same whether that is still there or not.
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

    /// A message out of what was read.
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
            Err(ProtocolError::NoRoom) => return Err(End::NoMemory),
            Err(error) => return Err(End::Wrong(self.side, error)),
        };
        buffer.consume(consumed);
        let Some(message) = message else {
            return Ok(None);
        };
        // A ping between fragments takes no more than it is: the rest belongs to its message.
        let held = match message.kind.is_control() {
            true => None,
            false => {
                self.patience = self.stall;
                held.take()
            }
        };
        Ok(Some(Incoming { message, held }))
    }

    /// Reads on, to no purpose, until this side's close has come, unless it never will.
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

    /// Reads until the stream ends, for a moment.
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
