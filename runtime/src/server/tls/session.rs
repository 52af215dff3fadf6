//! TLS on a client's socket: what is read and written goes through rustls.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_rustls::rustls::{self, ProtocolVersion, ServerConfig, ServerConnection};
use smol::Async;

use crate::message::TlsSession;
use crate::sync;

/// Encrypted bytes of one connection that wait to be sent; rustls itself would allow 64 KiB.
const UNSENT_BYTES: usize = 16 << 10;

/// Most bytes that a client may send before hands are shaken. A usual greeting has less than 2 KiB;
/// a message of a handshake may have 64 KiB as far as rustls is concerned, which it would keep.
const HANDSHAKE_BYTES: usize = 16 << 10;

/// How often one poll takes something out of the socket. A client can send records without content
/// (RFC 8446 section 5.4) as fast as they are read, and others want to be served too.
const ROUNDS: usize = 16;

/// A socket on which hands were shaken, or are about to be.
pub(in crate::server) struct TlsStream {
    /// Shared with nobody; so it can be taken out of here.
    socket: Arc<Async<TcpStream>>,
    /// Only one task uses it, so nobody ever waits for the lock.
    session: Mutex<ServerConnection>,
}

/// Why no hands were shaken.
#[derive(Debug)]
pub(in crate::server) enum HandshakeError {
    /// The client and rustls have no common ground, for this reason.
    Tls(rustls::Error),
    /// The client sent more than a handshake takes.
    TooLong,
    /// The connection broke off.
    Io(io::Error),
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HandshakeError::Tls(error) => error.fmt(f),
            HandshakeError::TooLong => write!(f, "more than {HANDSHAKE_BYTES} bytes"),
            HandshakeError::Io(error) => error.fmt(f),
        }
    }
}

impl TlsStream {
    /// Hands have not been shaken yet.
    pub(super) fn new(
        socket: Async<TcpStream>,
        config: Arc<ServerConfig>,
    ) -> Result<TlsStream, HandshakeError> {
        let mut session = ServerConnection::new(config).map_err(HandshakeError::Tls)?;
        session.set_buffer_limit(Some(UNSENT_BYTES));
        Ok(TlsStream {
            socket: Arc::new(socket),
            session: Mutex::new(session),
        })
    }

    /// Shakes hands, to the last byte of ours.
    pub(in crate::server) async fn shake_hands(&self) -> Result<(), HandshakeError> {
        let mut received = 0;
        std::future::poll_fn(|cx| {
            let mut session = sync::lock(&self.session);
            loop {
                ready!(self.poll_send(cx, &mut session)).map_err(HandshakeError::Io)?;
                if !session.is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                let count = ready!(self.poll_receive(cx, &mut session));
                received += count.map_err(HandshakeError::Io)?;
                if received > HANDSHAKE_BYTES {
                    return Poll::Ready(Err(HandshakeError::TooLong));
                }
                if let Err(error) = session.process_new_packets() {
                    // The alert that tells the client why. It fits into the socket's buffer.
                    let _ = self.poll_send(cx, &mut session);
                    return Poll::Ready(Err(HandshakeError::Tls(error)));
                }
            }
        })
        .await
    }

    /// The socket without TLS, of a connection on which no hands were shaken.
    pub(in crate::server) fn into_socket(self) -> Option<Async<TcpStream>> {
        let socket = Arc::clone(&self.socket);
        drop(self);
        Arc::into_inner(socket)
    }

    /// What was agreed on. Hands have to be shaken.
    pub(in crate::server) fn agreed(&self) -> TlsSession {
        let session = sync::lock(&self.session);
        let cipher = session.negotiated_cipher_suite();
        let cipher = cipher.and_then(|cipher| cipher.suite().as_str());
        let cipher = cipher.unwrap_or("unknown");
        TlsSession {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                _ => "1.3",
            },
            // rustls calls those of TLS 1.3 by another name than IANA does.
            cipher: match cipher.strip_prefix("TLS13_") {
                Some(rest) => format!("TLS_{rest}"),
                None => cipher.to_owned(),
            },
            server_name: session.server_name().map(str::to_owned),
        }
    }

    /// Reads what the client wrote. 0 is the end of its half, with or without a `close_notify`: the
    /// length of a request never hangs on it (RFC 9112 section 9.8).
    pub(in crate::server) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_content(cx, |session| session.reader().read(buffer))
    }

    /// Waits for what comes next from the client, without taking it: content, or the end (0).
    pub(in crate::server) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_content(cx, |session| {
            let content = session.reader().fill_buf().map(<[u8]>::len)?;
            Ok(content)
        })
    }

    fn poll_content(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut ServerConnection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut session = sync::lock(&self.session);
        for _ in 0..ROUNDS {
            match take(&mut session) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(0));
                }
                taken => return Poll::Ready(taken),
            }
            // What the client's records call for, such as new keys. Whether it is sent is not what
            // this waits for.
            if let Poll::Ready(Err(error)) = self.poll_send(cx, &mut session) {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_receive(cx, &mut session))?;
            if let Err(error) = session.process_new_packets() {
                let _ = self.poll_send(cx, &mut session);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes bytes to be written. They may wait in here until [`TlsStream::poll_flush`] is ready.
    pub(in crate::server) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut session = sync::lock(&self.session);
        ready!(self.poll_send(cx, &mut session))?;
        // Nothing waits any more, so there is room for a record.
        let count = session.writer().write(bytes)?;
        match self.poll_send(cx, &mut session) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Sends what waits.
    pub(in crate::server) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &mut sync::lock(&self.session))
    }

    /// Ends our half of the stream: with a `close_notify`, then in TCP too.
    pub(in crate::server) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = sync::lock(&self.session);
        // A second time it does nothing.
        session.send_close_notify();
        ready!(self.poll_send(cx, &mut session))?;
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }

    /// The socket below.
    pub(in crate::server) fn socket(&self) -> &Async<TcpStream> {
        &self.socket
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        session: &mut ServerConnection,
    ) -> Poll<io::Result<usize>> {
        loop {
            match session.read_tls(&mut self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // During a handshake the end makes `process_new_packets` see that nothing came.
                Ok(0) if session.is_handshaking() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                received => return Poll::Ready(received),
            }
            ready!(self.socket.poll_readable(cx))?;
        }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        session: &mut ServerConnection,
    ) -> Poll<io::Result<()>> {
        while session.wants_write() {
            match session.write_tls(&mut self.socket.get_ref()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.socket.poll_writable(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        let mut session = sync::lock(&self.session);
        if session.is_handshaking() || session.wants_write() {
            return;
        }
        // Clients that take the end of a connection without it for an attack want to be told. What
        // does not fit into the socket's buffer is not worth waiting for.
        session.send_close_notify();
        let _ = session.write_tls(&mut self.socket.get_ref());
    }
}
