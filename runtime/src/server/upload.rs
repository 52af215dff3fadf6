//! Moves a request's body from the socket to the plugin or upstream that reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smol::io::AsyncWriteExt;
use smol::lock::Mutex;
use zlayer_http1::{BodyDecoder, CONTINUE, Decoded};

use super::client_stream::ClientStream;
use super::receipt::Receipt;
use crate::clients::Claim;
use crate::config::{TRANSFER_RATE, Timeouts};
use crate::message::fields::trailer_map;
use crate::message::{BodySender, Piece};
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::Deadline;

/// How far behind [`TRANSFER_RATE`] a client may be: this long, or a third of the stall time where
/// that is longer, but never longer than the stall time.
const GRACE: Duration = Duration::from_secs(10);

/// The parts of an exchange that the upload reads and changes.
pub(super) struct Upload<'a> {
    pub(super) stream: &'a ClientStream,
    pub(super) deadline: &'a Deadline,
    pub(super) timeouts: &'a Timeouts,
    /// The request's id, for the log.
    pub(super) id: &'a str,
    /// Whether it is known where the next request will start.
    pub(super) in_step: &'a AtomicBool,
    /// Whether the first byte of a response is out.
    pub(super) begun: &'a AtomicBool,
    /// Told what has come.
    pub(super) receipt: &'a Receipt,
    pub(super) claim: &'a Claim,
}

impl Upload<'_> {
    /// Moves the request's body from the socket to the plugin, at the plugin's pace.
    pub(super) async fn run(
        &self,
        sender: Option<BodySender>,
        buffer: &mut ReadBuffer,
        decoder: &mut BodyDecoder,
        out: &Mutex<&mut Vec<u8>>,
    ) {
        let Some(sender) = sender else { return };
        if !self.in_step.load(Ordering::Relaxed) {
            sender.wanted().await;
            // The client was to wait before this, so its time begins now.
            self.deadline.extend(grace(self.timeouts));
            // A response holds this lock from before its first byte to its end. A client that sees
            // the response before `100 Continue` may still send its body, and the plugin may still
            // want it.
            if let Some(_out) = out.try_lock() {
                self.in_step.store(true, Ordering::Relaxed);
                // If only half of `100 Continue` got out, whatever is written next would be
                // unreadable.
                self.begun.store(true, Ordering::Relaxed);
                let mut stream = self.stream;
                let sending = async {
                    stream.write_all(CONTINUE).await?;
                    stream.flush().await
                };
                if sending.await.is_err() {
                    return;
                }
                self.begun.store(false, Ordering::Relaxed);
            }
        }
        self.receipt.look_ahead(decoder, buffer.bytes());
        let started = Instant::now();
        let (mut brought, mut held_up) = (0u64, Duration::ZERO);
        loop {
            let (consumed, piece) = match decoder.decode(buffer.bytes()) {
                Ok(Decoded::NeedMore { consumed }) => (consumed, None),
                Ok(Decoded::Data { consumed, data }) => {
                    (consumed, Some(Piece::Data(Bytes::copy_from_slice(data))))
                }
                Ok(Decoded::End { consumed, trailers }) => {
                    (consumed, Some(Piece::End(trailer_map(trailers))))
                }
                Err(error) => {
                    log::debug!("[{}] the request's body is malformed: {error}", self.id);
                    self.in_step.store(false, Ordering::Relaxed);
                    sender.send(Piece::Malformed(error)).await;
                    return;
                }
            };
            buffer.consume(consumed);
            brought += consumed as u64;
            self.receipt.add(consumed);
            let Some(piece) = piece else {
                self.claim.set_held_up(true);
                let filled = buffer.fill(self.stream, 0).await;
                self.claim.set_held_up(false);
                match filled {
                    Ok(count) if count > 0 => {
                        self.claim.add_moved(count);
                        continue;
                    }
                    // The sender is dropped without an end: the plugin sees a body that broke off.
                    _ => return,
                }
            };
            let is_end = matches!(piece, Piece::End(_));
            if is_end {
                self.receipt.complete();
            }
            let offered = Instant::now();
            if !sender.send(piece).await {
                return;
            }
            // The time that the plugin takes to read is not counted against the client.
            held_up += offered.elapsed();
            let timeouts = self.timeouts;
            if is_end {
                // The plugin has the whole request, so its time to respond begins now.
                self.deadline.extend(timeouts.request);
                return;
            }
            let earned =
                Duration::from_secs(brought / TRANSFER_RATE) + held_up + grace(self.timeouts);
            self.deadline
                .extend(earned.saturating_sub(started.elapsed()).min(timeouts.stall));
        }
    }
}

/// How far behind the upload rate a client may be, with these timeouts.
pub(super) fn grace(timeouts: &Timeouts) -> Duration {
    let stall = timeouts.stall;
    (stall / 3).max(stall.min(GRACE))
}
