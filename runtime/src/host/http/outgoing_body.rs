//! The body that a plugin writes, of its response or of a request that it sends.
//!
//! A plugin may write the body before it hands the message over (`response-outparam.set`,
//! `outgoing-handler.handle`), when nobody reads yet: then up to [`UNREAD_BYTES`] wait, charged to the
//! memory budget. Once somebody reads, only [`READ_BYTES`] wait, so that the plugin is slowed down to
//! the reader's pace. Who waits for room that cannot come, because nobody will read before he goes
//! on, is told so at once.

mod memory;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use wasmtime::format_err;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use memory::{Memory, Piece};

use super::super::held::NoMemory;
use crate::memory::Reservation;
use crate::sync;

/// How many bytes may wait before anybody reads: as many as an engine takes at once by default.
const UNREAD_BYTES: usize = 1 << 20;
/// How many bytes may wait once somebody reads.
const READ_BYTES: usize = 32 << 10;
/// How many bytes may be written at once when somebody reads.
const CHUNK_BYTES: usize = 16 << 10;
/// Smaller pieces are gathered in chunks of [`GATHER_BYTES`].
const SMALL_BYTES: usize = 2 << 10;
const GATHER_BYTES: usize = 4 << 10;
/// Bytes that a piece takes beside its data.
const PIECE_BYTES: usize = 128;
/// Bytes that one body of an instance may hold before it is charged: the connection's share has room
/// for them.
const FREE_BYTES: usize = READ_BYTES + 2 * GATHER_BYTES;

/// Whether the body is that of a request or of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Request,
    Response,
}

/// `wasi:http/types.outgoing-body`: the plugin's handle for a body.
pub(super) struct OutgoingBody {
    shared: Arc<Shared>,
    /// The stream was given out, which can be done once.
    streams: bool,
}

/// The stream that a plugin writes the body to.
struct Writer {
    shared: Arc<Shared>,
    /// Bytes that may be written without asking again.
    permitted: usize,
}

/// The body as its reader has it.
pub(super) struct Reader {
    shared: Arc<Shared>,
}

/// Stands for a body whose message was not handed over yet, or whose plugin works on.
#[derive(Clone)]
pub(in crate::host) struct HandOver(Weak<Shared>);

struct Shared {
    of: Of,
    state: Mutex<State>,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Bytes of all pieces that wait.
    waiting: usize,
    /// Bytes that were written so far.
    written: u64,
    /// Bytes that the message's head announces.
    announced: Option<u64>,
    end: End,
    /// The message was handed over: somebody reads, or has gone.
    is_read: bool,
    /// The reader has gone.
    is_gone: bool,
    /// The plugin waited for what could not come.
    is_stuck: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// All was written. Trailers may follow.
    Finished(Option<HeaderMap>),
    /// The plugin gave the body up, which its reader is to know.
    GivenUp,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    /// Ends the body, unless it has ended.
    fn end(&self, end: End) {
        let mut state = self.lock();
        if let End::Open = state.end {
            state.end = end;
            state.wake_reader();
        }
    }

    fn size_error(&self, bytes: u64) -> ErrorCode {
        match self.of {
            Of::Request => ErrorCode::HttpRequestBodySize(Some(bytes)),
            Of::Response => ErrorCode::HttpResponseBodySize(Some(bytes)),
        }
    }
}

impl State {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Bytes that may be written now.
    fn room(&self) -> usize {
        match self.is_read {
            true => READ_BYTES.saturating_sub(self.waiting).min(CHUNK_BYTES),
            // What fills it exactly may be flushed all the same, which waits for more room.
            false => (UNREAD_BYTES + CHUNK_BYTES)
                .saturating_sub(self.waiting)
                .min(UNREAD_BYTES),
        }
    }
}

impl OutgoingBody {
    /// A body of which `announced` bytes are announced, with the end that its reader gets. Its
    /// memory is charged to `reservation`, which is empty, but for a part that one body has free:
    /// the one that finds `free_is_taken` not set.
    pub(super) fn new(
        of: Of,
        announced: Option<u64>,
        reservation: Reservation,
        free_is_taken: &Arc<AtomicBool>,
    ) -> (OutgoingBody, Reader, HandOver) {
        let shared = Arc::new(Shared {
            of,
            state: Mutex::new(State {
                announced,
                ..State::default()
            }),
            memory: Memory::new(reservation, FREE_BYTES, free_is_taken),
        });
        let reader = Reader {
            shared: Arc::clone(&shared),
        };
        let handed_over = HandOver(Arc::downgrade(&shared));
        let body = OutgoingBody {
            shared,
            streams: false,
        };
        (body, reader, handed_over)
    }

    /// The stream to write to, the first time that it is asked for.
    pub(super) fn stream(&mut self) -> Option<Box<dyn OutputStream>> {
        let is_first = !std::mem::replace(&mut self.streams, true);
        is_first.then(|| {
            Box::new(Writer {
                shared: Arc::clone(&self.shared),
                permitted: 0,
            }) as Box<dyn OutputStream>
        })
    }

    /// Ends the body as a whole one. `trailers` take so many `bytes` of memory.
    ///
    /// # Errors
    ///
    /// It has another length than was announced, or there is no memory for its trailers.
    pub(super) fn finish(self, trailers: Option<HeaderMap>, bytes: usize) -> Result<(), ErrorCode> {
        let (written, announced) = {
            let state = self.shared.lock();
            (state.written, state.announced)
        };
        if announced.is_some_and(|announced| announced != written) {
            self.shared.end(End::GivenUp);
            return Err(self.shared.size_error(written));
        }
        // They are charged for as long as the body is.
        if !self.shared.memory.take(bytes) {
            self.shared.end(End::GivenUp);
            let reason = "no memory for the trailers".to_owned();
            return Err(ErrorCode::InternalError(Some(reason)));
        }
        self.shared.end(End::Finished(trailers));
        Ok(())
    }

    /// Ends the body in such a way that its reader knows that it is not whole.
    pub(super) fn give_up(self) {
        self.shared.end(End::GivenUp);
    }
}

impl Drop for OutgoingBody {
    /// The instance has ended before the body was finished or given up. Whether that was in order
    /// those know who ran it.
    fn drop(&mut self) {
        self.shared.end(End::Finished(None));
    }
}

impl HandOver {
    /// The message was handed over: the body is read from now on.
    pub(in crate::host) fn done(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.lock().is_read = true;
        }
    }

    /// The plugin has ended its work. What it has not finished it never will.
    pub(in crate::host) fn leave(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.end(End::Finished(None));
        }
    }

    /// Whether the body is there still.
    pub(in crate::host) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let length = bytes.len();
        let Some(permitted) = self.permitted.checked_sub(length) else {
            return Err(StreamError::Trap(format_err!("write exceeded budget")));
        };
        self.permitted = permitted;
        if length == 0 {
            return Ok(());
        }
        let mut state = self.shared.lock();
        if state.is_gone {
            return Err(StreamError::Closed);
        }
        let last = state.pieces.back_mut();
        match last.filter(|last| last.data.capacity() - last.data.len() >= length) {
            Some(last) => last.data.extend_from_slice(&bytes),
            None => {
                let memory = &self.shared.memory;
                let is_small = length < SMALL_BYTES;
                let charged = PIECE_BYTES + if is_small { GATHER_BYTES } else { length };
                if !memory.take(charged) {
                    return Err(StreamError::Trap(wasmtime::Error::from(NoMemory {
                        wanted: state.waiting + charged,
                        is_busy: true,
                    })));
                }
                let data = match is_small {
                    true => {
                        let mut data = Vec::with_capacity(GATHER_BYTES);
                        data.extend_from_slice(&bytes);
                        data
                    }
                    false => Vec::from(bytes),
                };
                state.pieces.push_back(Piece {
                    data,
                    memory: Arc::clone(memory),
                    charged,
                });
            }
        }
        state.waiting += length;
        state.written += length as u64;
        state.wake_reader();
        if state
            .announced
            .is_some_and(|announced| state.written > announced)
        {
            let error = self.shared.size_error(state.written);
            return Err(StreamError::LastOperationFailed(format_err!(error)));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        match self.shared.lock().is_gone {
            true => Err(StreamError::Closed),
            false => Ok(()),
        }
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        let state = self.shared.lock();
        if state.is_gone {
            return Err(StreamError::Closed);
        }
        if state.is_stuck && !state.is_read {
            return Err(StreamError::LastOperationFailed(format_err!(
                "{} bytes of the body wait already, and nobody reads them before the message is handed over \
                 (response-outparam.set, outgoing-handler.handle): do that first",
                state.waiting
            )));
        }
        self.permitted = state.room();
        Ok(self.permitted)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.is_gone || state.room() > 0 {
                return Poll::Ready(());
            }
            if !state.is_read {
                state.is_stuck = true;
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.shared.lock();
        state.is_read = true;
        if let Some(piece) = state.pieces.pop_front() {
            state.waiting -= piece.data.len();
            state.wake_writer();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))));
        }
        match std::mem::take(&mut state.end) {
            End::Open => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Finished(trailers) => {
                state.end = End::Finished(None);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            End::GivenUp => {
                state.end = End::Finished(None);
                Poll::Ready(Some(Err(Error::HttpProtocolError)))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let pieces = {
            let mut state = self.shared.lock();
            state.is_gone = true;
            state.waiting = 0;
            state.wake_writer();
            std::mem::take(&mut state.pieces)
        };
        drop(pieces);
    }
}

#[cfg(test)]
mod tests;
