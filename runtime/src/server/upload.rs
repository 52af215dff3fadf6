//! Moves a request's body from the socket to the plugin or upstream that reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Who is waited for while a request's body comes, and for how long.
///
/// While the plugin waits for the client it is the client's time that passes, at all other times the
/// plugin's. So a plugin that does not read the body has no more time than one without a body, and a
/// client that is slow costs the plugin nothing.
pub(super) struct Dues {
    start: Instant,
    /// Milliseconds after `start` by which the client has to bring more.
    client: AtomicU64,
    /// Milliseconds after `start` by which the plugin has to begin its response.
    plugin: AtomicU64,
}

impl Dues {
    pub(super) fn new(timeouts: &Timeouts) -> Dues {
        let dues = Dues {
            start: Instant::now(),
            client: AtomicU64::new(0),
            plugin: AtomicU64::new(0),
        };
        dues.give_client(timeouts.request.min(grace(timeouts)));
        dues.give_plugin(timeouts.request);
        dues
    }

    /// The client has at least this long from now on.
    fn give_client(&self, time: Duration) {
        self.client.fetch_max(self.after(time), Ordering::Relaxed);
    }

    /// The plugin has this long from now on.
    fn give_plugin(&self, time: Duration) {
        self.plugin.store(self.after(time), Ordering::Relaxed);
    }

    /// How long the one who is waited for still has.
    pub(super) fn left(&self, is_for_client: bool) -> Duration {
        let due = match is_for_client {
            true => &self.client,
            false => &self.plugin,
        };
        let due = Duration::from_millis(due.load(Ordering::Relaxed));
        due.saturating_sub(self.start.elapsed())
    }

    /// How long until it has to be looked at who is waited for, and whether their time is up.
    pub(super) fn next_look(&self) -> Duration {
        self.left(true).min(self.left(false))
    }

    fn after(&self, time: Duration) -> u64 {
        let due = self.start.elapsed().saturating_add(time);
        u64::try_from(due.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The parts of an exchange that the upload reads and changes.
pub(super) struct Upload<'a> {
    pub(super) stream: &'a ClientStream,
    pub(super) deadline: &'a Deadline,
    pub(super) dues: &'a Dues,
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
        self.receipt.add(0, buffer.bytes().len());
        if !self.in_step.load(Ordering::Relaxed) {
            sender.wanted().await;
            // The client was to wait before this, so its time begins now.
            self.dues.give_client(grace(self.timeouts));
            self.move_deadline();
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
                    self.receipt.break_off();
                    sender.send(Piece::Malformed(error)).await;
                    return;
                }
            };
            buffer.consume(consumed);
            brought += consumed as u64;
            self.receipt.add(consumed, buffer.bytes().len());
            if started.elapsed() >= self.timeouts.upload {
                log::debug!("[{}] the request's body takes too long", self.id);
                self.in_step.store(false, Ordering::Relaxed);
                self.receipt.break_off();
                sender.send(Piece::TooLong).await;
                return;
            }
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
                    _ => return self.receipt.break_off(),
                }
            };
            let is_end = matches!(piece, Piece::End(_));
            if is_end {
                self.receipt.complete();
            }
            let offered = Instant::now();
            let is_wanted = sender.is_wanted();
            if !sender.send(piece).await {
                return;
            }
            // The time that the plugin takes to read is not counted against the client.
            held_up += offered.elapsed();
            if is_wanted {
                // It has read so far, and its time to respond begins anew. One that reads nothing
                // has what it had.
                self.dues.give_plugin(self.timeouts.request);
            }
            let earned =
                Duration::from_secs(brought / TRANSFER_RATE) + held_up + grace(self.timeouts);
            let left = earned.saturating_sub(started.elapsed());
            self.dues.give_client(left.min(self.timeouts.stall));
            self.move_deadline();
            if is_end {
                return;
            }
        }
    }

    /// Has it looked in time at who is waited for. A response that has begun has its own deadline,
    /// which a body that still comes moves later.
    fn move_deadline(&self) {
        match self.begun.load(Ordering::Relaxed) {
            true => self.deadline.extend(self.dues.left(true)),
            false => self.deadline.set(self.dues.next_look()),
        }
    }
}

/// How far behind the upload rate a client may be, with these timeouts.
pub(super) fn grace(timeouts: &Timeouts) -> Duration {
    let stall = timeouts.stall;
    (stall / 3).max(stall.min(GRACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_time_of_its_own() {
        let second = Duration::from_secs(1);
        let dues = Dues::new(&Timeouts {
            request: 2 * second,
            ..Timeouts::default()
        });
        let is_near = |left: Duration, wanted: Duration| left <= wanted && left + second > wanted;
        assert!(is_near(dues.next_look(), 2 * second));
        // What the client earns is no time for the plugin, and the other way round.
        dues.give_client(30 * second);
        assert!(is_near(dues.left(true), 30 * second) && is_near(dues.left(false), 2 * second));
        dues.give_client(second);
        assert!(is_near(dues.left(true), 30 * second), "it has what it has");
        dues.give_plugin(40 * second);
        assert!(is_near(dues.left(false), 40 * second));
        dues.give_plugin(Duration::ZERO);
        assert_eq!(dues.next_look(), Duration::ZERO);
    }
}
