//! A client's connection as the server reads and writes it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

use super::sent::Sent;
use super::tls::TlsStream;
use crate::turns;

/// Bytes that TLS may hold unread: two records (RFC 8446 section 5.1).
const TLS_BYTES: u64 = 2 << 14;

/// How a client's half of the stream has ended.
pub(super) enum End {
    /// In order, and at most so many bytes are still to be read.
    Ended { unread: u64 },
    /// Nobody is there to read a response.
    Reset,
}

/// A client's connection. It is used through shared references: in the one task that serves it, a
/// request is read while its response is written.
pub(super) struct ClientStream {
    kind: Kind,
    sent: Arc<Sent>,
    reading: GivesWay,
    writing: GivesWay,
}

/// Has other tasks run between what is read or written and what was done before for long. It does so
/// once and goes on then: what computes before it each time would keep it waiting otherwise.
#[derive(Default)]
struct GivesWay {
    has: AtomicBool,
}

impl GivesWay {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has.swap(false, Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let polled = turns::give_way(cx);
        self.has.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }
}

enum Kind {
    Plain(Async<TcpStream>),
    Tls(Box<TlsStream>),
}

impl ClientStream {
    /// A connection without TLS.
    pub(super) fn plain(socket: Async<TcpStream>) -> ClientStream {
        ClientStream {
            kind: Kind::Plain(socket),
            sent: Arc::default(),
            reading: GivesWay::default(),
            writing: GivesWay::default(),
        }
    }

    /// A connection over TLS.
    pub(super) fn tls(stream: TlsStream) -> ClientStream {
        ClientStream {
            kind: Kind::Tls(Box::new(stream)),
            sent: Arc::default(),
            reading: GivesWay::default(),
            writing: GivesWay::default(),
        }
    }

    /// What has been written to it.
    pub(super) fn sent(&self) -> &Arc<Sent> {
        &self.sent
    }

    /// The address that the client connected to.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().get_ref().local_addr()
    }

    /// Waits for what comes next from the client: bytes, the end of its stream (0), or a reset.
    /// Nothing is taken out of the stream.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let socket = match &self.kind {
            Kind::Plain(socket) => socket,
            Kind::Tls(stream) => return stream.poll_next(cx),
        };
        loop {
            // The first time the socket may be reported as readable because of bytes that were read
            // since.
            let ready = ready!(socket.poll_readable(cx));
            match ready.and_then(|()| socket.get_ref().peek(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                next => return Poll::Ready(next),
            }
        }
    }

    /// Whether the client has ended its half of the stream, or reset it, however much of what it sent
    /// before is still to be read.
    pub(super) fn end(&self) -> Option<End> {
        let flags = PollFlags::RDHUP;
        let mut sockets = [PollFd::new(self.socket(), flags)];
        // Without waiting.
        poll(&mut sockets, Some(&Timespec::default())).ok()?;
        let seen = sockets[0].revents();
        if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Some(End::Reset);
        }
        let unread = ioctl_fionread(self.socket());
        seen.contains(flags).then(|| End::Ended {
            unread: unread.unwrap_or(u64::MAX).saturating_add(match self.kind {
                Kind::Plain(_) => 0,
                // What it has read, and not been asked for.
                Kind::Tls(_) => TLS_BYTES,
            }),
        })
    }

    /// The socket below.
    fn socket(&self) -> &Async<TcpStream> {
        match &self.kind {
            Kind::Plain(socket) => socket,
            Kind::Tls(stream) => stream.socket(),
        }
    }
}

impl AsyncRead for &ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.reading.poll(cx));
        match &self.kind {
            Kind::Plain(socket) => Pin::new(&mut &*socket).poll_read(cx, buffer),
            Kind::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for &ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.writing.poll(cx));
        let written = match &self.kind {
            Kind::Plain(socket) => Pin::new(&mut &*socket).poll_write(cx, bytes),
            Kind::Tls(stream) => stream.poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(count)) = written {
            self.sent.add(count);
        }
        written
    }

    /// Written bytes may wait in here until this is called.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Plain(socket) => Pin::new(&mut &*socket).poll_flush(cx),
            Kind::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Ends our half of the stream; the client may go on with its own.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Plain(socket) => Poll::Ready(socket.get_ref().shutdown(Shutdown::Write)),
            Kind::Tls(stream) => stream.poll_close(cx),
        }
    }
}

/// As a WebSocket session takes it.
impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn whoever_has_given_way_goes_on_however_long_was_computed_before() {
        let gives_way = GivesWay::default();
        let cx = Context::from_waker(std::task::Waker::noop());
        let long_piece = || {
            turns::piece(|| {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(1) {}
                gives_way.poll(&cx).is_ready()
            })
        };
        assert_eq!(
            [long_piece(), long_piece(), long_piece()],
            [false, true, false]
        );
    }
}
