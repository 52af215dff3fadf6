//! A client's connection as the server reads and writes it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

use super::tls::TlsStream;

/// A client's connection. It is used through shared references: in the one task that serves it, a
/// request is read while its response is written.
pub(super) enum ClientStream {
    /// Without TLS.
    Plain(Async<TcpStream>),
    /// Over TLS.
    Tls(Box<TlsStream>),
}

impl ClientStream {
    /// The address that the client connected to.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().get_ref().local_addr()
    }

    /// Waits for what comes next from the client: bytes, the end of its stream (0), or a reset.
    /// Nothing is taken out of the stream.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let socket = match self {
            ClientStream::Plain(socket) => socket,
            ClientStream::Tls(stream) => return stream.poll_next(cx),
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

    /// The socket below.
    fn socket(&self) -> &Async<TcpStream> {
        match self {
            ClientStream::Plain(socket) => socket,
            ClientStream::Tls(stream) => stream.socket(),
        }
    }
}

impl AsyncRead for &ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &**self {
            ClientStream::Plain(socket) => Pin::new(&mut &*socket).poll_read(cx, buffer),
            ClientStream::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for &ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &**self {
            ClientStream::Plain(socket) => Pin::new(&mut &*socket).poll_write(cx, bytes),
            ClientStream::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// Written bytes may wait in here until this is called.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &**self {
            ClientStream::Plain(socket) => Pin::new(&mut &*socket).poll_flush(cx),
            ClientStream::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Ends our half of the stream; the client may go on with its own.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &**self {
            ClientStream::Plain(socket) => Poll::Ready(socket.get_ref().shutdown(Shutdown::Write)),
            ClientStream::Tls(stream) => stream.poll_close(cx),
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
