//! A connection to an upstream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::io::{Io, SharedIo};
use super::pool::Place;
use super::sender::Peer;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::Deadline;

/// A connection that carries one exchange at a time.
pub(super) struct Connection {
    pub(super) io: SharedIo,
    /// The other end.
    pub(super) peer: Peer,
    /// Bytes that were read and not used yet.
    pub(super) buffer: ReadBuffer,
    /// One timer for all phases of an exchange.
    pub(super) deadline: Arc<Deadline>,
    pub(super) place: Place,
    /// Whether a client has identified itself on it, or was asked to, by a scheme that counts for
    /// all that the connection carries: then nobody else may use it.
    pub(super) personal: bool,
}

impl Connection {
    pub(super) fn new(io: Box<dyn Io>, peer: Peer, place: Place) -> Connection {
        Connection {
            io: SharedIo::new(io),
            peer,
            buffer: ReadBuffer::default(),
            deadline: Arc::new(Deadline::new()),
            place,
            personal: false,
        }
    }

    /// Whether the connection can carry another request, as far as can be seen from here.
    pub(super) async fn is_quiet(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.io.with(|io| io.is_quiet(cx)))).await
    }

    /// Reads once. A count of 0 means the end of the connection.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let buffer = &mut self.buffer;
        self.io.with(|io| buffer.poll_fill(cx, Pin::new(io), limit))
    }

    /// Frees what an idle connection does not need.
    pub(super) fn make_idle(&mut self) {
        self.buffer = ReadBuffer::default();
        self.place.make_idle();
    }
}
