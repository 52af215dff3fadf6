//! One connection to an upstream.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

use super::pool::Place;
use crate::server::buffer::ReadBuffer;
use crate::server::deadline::Deadline;

/// A socket, with TLS around it or without.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether nothing came that was not asked for: neither bytes nor the connection's end.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool;
}

impl Io for Async<TcpStream> {
    fn is_quiet(&mut self, _cx: &mut Context<'_>) -> bool {
        let peeked = self.get_ref().peek(&mut [0]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A socket that is written to by one task and read from by another.
#[derive(Clone)]
pub(super) struct SharedIo(Arc<Mutex<Box<dyn Io>>>);

impl SharedIo {
    /// Calls `f` with the socket. Nobody waits while they hold it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut dyn Io) -> R) -> R {
        f(&mut **self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that carries one exchange at a time.
pub(super) struct Connection {
    pub(super) io: SharedIo,
    /// What was read and not used yet.
    pub(super) buffer: ReadBuffer,
    /// One timer for all its phases.
    pub(super) deadline: Arc<Deadline>,
    pub(super) place: Place,
}

impl Connection {
    pub(super) fn new(io: Box<dyn Io>, place: Place) -> Connection {
        Connection {
            io: SharedIo(Arc::new(Mutex::new(io))),
            buffer: ReadBuffer::default(),
            deadline: Arc::new(Deadline::new()),
            place,
        }
    }

    /// Whether it can carry another request, as far as can be seen from here.
    pub(super) async fn is_quiet(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.io.with(|io| io.is_quiet(cx)))).await
    }

    /// Reads once. 0 is the end of the connection.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let buffer = &mut self.buffer;
        self.io.with(|io| buffer.poll_fill(cx, Pin::new(io), limit))
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn rest(&mut self) {
        self.buffer = ReadBuffer::default();
        self.place.rest();
    }
}
