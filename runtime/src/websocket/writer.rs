//! Writes messages to one side.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use futures_lite::future::yield_now;
use smol::io::{AsyncWriteExt, WriteHalf};
use smol::lock::Mutex;
use zlayer_http1::websocket::{COMPRESSOR_BYTES, Compressor, Deflate, store};
use zlayer_http1::websocket::{FrameHead, Kind, MAX_HEAD_BYTES, Message, apply_mask};

use super::Side;
use super::end::End;
use crate::memory::Budget;
use crate::sync;
use crate::wire::Socket;
use crate::wire::deadline::Deadline;

/// The most bytes that one write sends. A longer message follows in pieces of this size.
const PIECE: usize = 16 << 10;
/// Messages of fewer bytes than this are not worth a compressor; they are stored uncompressed.
const COMPRESS_FROM: usize = 64;
/// How the session's own pings begin; a number follows.
const PING: &[u8; 6] = b"zlayer";

/// Writes to one side. Both directions of a conversation use it, since a pong goes back to the side
/// that the ping came from.
pub(super) struct Writer {
    side: Side,
    half: Mutex<Half>,
    /// The payload of a pong that is still to be sent. A later one takes its place (RFC 6455,
    /// 5.5.3).
    pong: StdMutex<Option<Vec<u8>>>,
    stall: Duration,
    budget: Arc<Budget>,
}

/// What one of the two directions at a time may use.
struct Half {
    socket: WriteHalf<Box<dyn Socket>>,
    /// The frame that is being sent, or its beginning.
    out: Vec<u8>,
    deadline: Deadline,
    /// A frame is written in part, or a close as a whole: no other frame may follow.
    ended: bool,
    /// The secret that masks are drawn from, and how many were drawn (RFC 6455, 10.3).
    masks: Option<(RandomState, u64)>,
    pings: u32,
    deflate: Option<Deflate>,
}

impl Writer {
    pub(super) fn new(
        side: Side,
        socket: WriteHalf<Box<dyn Socket>>,
        stall: Duration,
        budget: &Arc<Budget>,
    ) -> Writer {
        Writer {
            side,
            half: Mutex::new(Half {
                socket,
                out: Vec::new(),
                deadline: Deadline::new(),
                ended: false,
                // To an upstream the session is a client, whose frames are masked.
                masks: (side == Side::Upstream).then(|| (RandomState::new(), 0)),
                pings: 0,
                deflate: None,
            }),
            pong: StdMutex::new(None),
            stall,
            budget: Arc::clone(budget),
        }
    }

    pub(super) fn deflate(&self, agreed: Deflate) {
        // The lock is free, because nobody else knows of this writer yet.
        if let Some(mut half) = self.half.try_lock() {
            half.deflate = Some(agreed);
        }
    }

    /// Sends a message. The caller has checked that it is valid.
    pub(super) async fn send(&self, message: Message) -> Result<(), End> {
        let mut half = self.half.lock().await;
        self.send_pong(&mut half).await?;
        let (message, compressed) = self.compress(&half, message).await;
        self.write_frame(&mut half, message, compressed).await?;
        // This sends a pong that was asked for meanwhile. Both directions run in one task, so none
        // can be asked for between this and the release of the lock.
        self.send_pong(&mut half).await
    }

    /// Sends a pong for a ping of this side. If a message is on its way to this side, the pong goes
    /// out behind it.
    pub(super) async fn pong(&self, payload: Vec<u8>) -> Result<(), End> {
        *self.waiting() = Some(payload);
        match self.half.try_lock() {
            Some(mut half) => self.send_pong(&mut half).await,
            None => Ok(()),
        }
    }

    /// Sends a ping, to see whether this side is still there.
    pub(super) async fn ping(&self) -> Result<(), End> {
        let mut half = self.half.lock().await;
        half.pings = half.pings.wrapping_add(1);
        let mut data = PING.to_vec();
        data.extend_from_slice(&half.pings.to_be_bytes());
        let kind = Kind::Ping;
        self.write_frame(&mut half, Message { kind, data }, false)
            .await
    }

    /// Whether a pong's payload is that of a ping of the session's own.
    pub(super) fn is_own_ping(&self, payload: &[u8]) -> bool {
        payload.len() == PING.len() + 4 && payload.starts_with(PING)
    }

    /// Sends a close. Returns false if that fails.
    pub(super) async fn close(&self, payload: Vec<u8>) -> bool {
        let mut half = self.half.lock().await;
        let kind = Kind::Close;
        let data = payload;
        let sent = self
            .write_frame(&mut half, Message { kind, data }, false)
            .await;
        half.ended = true;
        sent.is_ok()
    }

    /// Ends the stream to this side. Returns false if that fails.
    pub(super) async fn end_stream(&self) -> bool {
        let mut half = self.half.lock().await;
        let half = &mut *half;
        half.deadline.set(self.stall);
        let shutting = half.deadline.within(half.socket.close());
        matches!(shutting.await, Ok(Ok(())))
    }

    async fn send_pong(&self, half: &mut Half) -> Result<(), End> {
        loop {
            let Some(data) = self.waiting().take() else {
                return Ok(());
            };
            let kind = Kind::Pong;
            self.write_frame(half, Message { kind, data }, false)
                .await?;
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
        sync::lock(&self.pong)
    }

    /// Writes one frame to its end.
    async fn write_frame(
        &self,
        half: &mut Half,
        message: Message,
        compressed: bool,
    ) -> Result<(), End> {
        if half.ended {
            return Err(End::Gone(self.side));
        }
        let Message { kind, mut data } = message;
        let mask = half.masks.as_mut().map(|(secret, count)| {
            *count += 1;
            (secret.hash_one(*count) as u32).to_ne_bytes()
        });
        let head = FrameHead {
            fin: true,
            compressed,
            opcode: kind.into(),
            mask,
            length: data.len() as u64,
        };
        if let Some(mask) = mask {
            apply_mask(&mut data, mask, 0);
        }
        half.out.clear();
        head.encode(&mut half.out);
        let (first, rest) = data.split_at(data.len().min(PIECE - MAX_HEAD_BYTES));
        half.out.extend_from_slice(first);
        // Set until all of the frame is written, so that it also holds when this future is dropped
        // half way.
        half.ended = true;
        for piece in std::iter::once(&half.out[..]).chain(rest.chunks(PIECE)) {
            half.deadline.set(self.stall);
            let writing = half.deadline.within(half.socket.write_all(piece));
            match writing.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Gone(self.side)),
                Err(_) => return Err(End::Stuck(self.side)),
            }
        }
        // TLS keeps the last bytes in its buffer when the socket takes no more, and only a flush
        // sends them.
        half.deadline.set(self.stall);
        match half.deadline.within(half.socket.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Gone(self.side)),
            Err(_) => return Err(End::Stuck(self.side)),
        }
        half.ended = false;
        Ok(())
    }

    /// Compresses a message if that was agreed and there is memory for it. One that gets no
    /// shorter is sent so all the same: some clients do not take both kinds on one connection.
    async fn compress(&self, half: &Half, message: Message) -> (Message, bool) {
        let Some(agreed) = half.deflate else {
            return (message, false);
        };
        let Message { kind, data } = &message;
        if kind.is_control() {
            return (message, false);
        }
        let kind = *kind;
        let mut out = Vec::new();
        if data.len() < COMPRESS_FROM {
            store(data, &mut out);
            return (Message { kind, data: out }, true);
        }
        let most = data.len() + data.len() / 8 + PIECE;
        let Some(_held) = self.budget.reserve(COMPRESSOR_BYTES + most) else {
            return (message, false);
        };
        let mut compressor = Compressor::new(&agreed);
        let mut pieces = data.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            if !compressor.push(piece, pieces.peek().is_none(), &mut out) || out.len() > most {
                return (message, false);
            }
            yield_now().await;
        }
        (Message { kind, data: out }, true)
    }
}
