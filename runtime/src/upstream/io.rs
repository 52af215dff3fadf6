//! The socket under a connection to an upstream.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::task::Context;

use smol::Async;

use crate::sync;
use crate::wire::Socket;

/// A socket, with TLS around it or without.
pub(super) trait Io: Socket {
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
    pub(super) fn new(io: Box<dyn Io>) -> SharedIo {
        SharedIo(Arc::new(Mutex::new(io)))
    }

    /// Calls `f` with the socket. Nobody waits while they hold it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut dyn Io) -> R) -> R {
        f(&mut **sync::lock(&self.0))
    }
}
