//! Sends a request: first the head, then the body piece by piece.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use zlayer_http1::{RequestLength, encode_chunk, encode_last_chunk};

use super::io::{Io, SharedIo};
use crate::message::fields::pairs;
use crate::message::{Body, BodyError};
use crate::wire::deadline::Deadline;

/// Bytes of a body that are written at once.
const PIECE: usize = 16 << 10;

/// What is to be sent, and how much of it has been.
pub(super) struct Upload {
    /// Bytes that are ready to be written: the head, or a piece of the body.
    out: Vec<u8>,
    /// How many bytes of `out` are written.
    sent: usize,
    /// What is left of the body's last frame.
    frame: Bytes,
    phase: Phase,
    length: RequestLength,
    /// Whether the body has to wait until the upstream wants it.
    held: bool,
    body: Body,
    /// Whether any byte was written.
    pub(super) wrote: bool,
    /// Whether the body was polled for its first frame.
    pub(super) begun: bool,
    /// Whether nothing can be sent because the body has no frame ready.
    pub(super) waits: bool,
    /// Whether anything was written since this was last reset.
    pub(super) moved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Body,
    Flush,
    Done,
}

/// Why the upload cannot go on.
pub(super) enum UploadError {
    /// The upstream does not take it. It may have sent a response even so.
    Upstream(io::Error),
    /// The body broke off, or has another length than announced.
    Body(BodyError),
}

impl Upload {
    /// Sends `head` and then `body`, whose length is `length`.
    pub(super) fn new(head: Vec<u8>, length: RequestLength, body: Body) -> Upload {
        Upload {
            out: head,
            sent: 0,
            frame: Bytes::new(),
            phase: match length {
                RequestLength::None | RequestLength::Fixed(0) => Phase::Flush,
                RequestLength::Fixed(_) | RequestLength::Chunked => Phase::Body,
            },
            length,
            held: false,
            body,
            wrote: false,
            begun: false,
            waits: false,
            moved: false,
        }
    }

    /// Holds the body back until [`Upload::release`].
    pub(super) fn hold(&mut self) {
        self.held = self.phase == Phase::Body;
    }

    /// Lets a body go that was held back.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Whether the body is held back, so that nothing of it was asked for.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether there is a body that was not asked for yet.
    pub(super) fn is_unasked(&self) -> bool {
        self.phase == Phase::Body && !self.begun
    }

    /// Whether all of it is written.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Returns the body for another try. The caller knows that it was not begun.
    pub(super) fn into_body(self) -> Body {
        self.body
    }

    /// Writes the rest while the response is read elsewhere. Every write moves `deadline` on by
    /// `stall`, and `waits` says whether the body is waited for.
    pub(super) async fn finish(
        mut self,
        io: SharedIo,
        deadline: Arc<Deadline>,
        stall: Duration,
        waits: Arc<AtomicBool>,
    ) -> Result<(), UploadError> {
        poll_fn(|cx| {
            let polled = io.with(|io| self.poll(cx, io));
            if std::mem::take(&mut self.moved) {
                deadline.extend(stall);
            }
            waits.store(self.waits && polled.is_pending(), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// Writes what can be written now. Ready when everything is written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut dyn Io,
    ) -> Poll<Result<(), UploadError>> {
        self.waits = false;
        loop {
            while self.sent < self.out.len() {
                let rest = &self.out[self.sent..];
                match ready!(Pin::new(&mut *io).poll_write(cx, rest)) {
                    Ok(0) => return broken(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.sent += count,
                    Err(error) => return broken(error),
                }
                (self.wrote, self.moved) = (true, true);
            }
            self.out.clear();
            self.sent = 0;
            if !self.frame.is_empty() {
                let piece = self.frame.split_to(self.frame.len().min(PIECE));
                match self.length {
                    RequestLength::Chunked => encode_chunk(&mut self.out, &piece),
                    _ => self.out.extend_from_slice(&piece),
                }
                continue;
            }
            match self.phase {
                Phase::Done => return Poll::Ready(Ok(())),
                Phase::Flush => {
                    if let Err(error) = ready!(Pin::new(&mut *io).poll_flush(cx)) {
                        return broken(error);
                    }
                    self.phase = Phase::Done;
                    // The buffer is not needed any more.
                    self.out = Vec::new();
                }
                Phase::Body if self.held => {
                    return match ready!(Pin::new(&mut *io).poll_flush(cx)) {
                        Ok(()) => Poll::Pending,
                        Err(error) => broken(error),
                    };
                }
                Phase::Body => {
                    self.begun = true;
                    let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                        self.waits = true;
                        // What was written must not wait until the body goes on.
                        return match ready!(Pin::new(&mut *io).poll_flush(cx)) {
                            Ok(()) => Poll::Pending,
                            Err(error) => broken(error),
                        };
                    };
                    if let Err(error) = self.take_frame(frame) {
                        return Poll::Ready(Err(UploadError::Body(error)));
                    }
                }
            }
        }
    }

    /// Takes in the next frame of the body, or its end.
    fn take_frame(
        &mut self,
        frame: Option<Result<http_body::Frame<Bytes>, BodyError>>,
    ) -> Result<(), BodyError> {
        let trailers = match frame.transpose()?.map(http_body::Frame::into_data) {
            Some(Ok(data)) => {
                if let RequestLength::Fixed(left) = &mut self.length {
                    // What exceeds the announced length would be read as the next request.
                    *left = left
                        .checked_sub(data.len() as u64)
                        .ok_or(BodyError::OtherLength)?;
                }
                self.frame = data;
                return Ok(());
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        match self.length {
            RequestLength::Fixed(left) if left > 0 => {
                return Err(BodyError::OtherLength);
            }
            RequestLength::Chunked => {
                let fields = trailers.as_ref().map(pairs).unwrap_or_default();
                encode_last_chunk(&mut self.out, &fields)
                    .map_err(|error| BodyError::BadTrailers(error.to_string()))?;
            }
            // Trailers can only follow a body in chunks.
            RequestLength::Fixed(_) | RequestLength::None => {}
        }
        self.phase = Phase::Flush;
        Ok(())
    }
}

fn broken(error: io::Error) -> Poll<Result<(), UploadError>> {
    Poll::Ready(Err(UploadError::Upstream(error)))
}
