//! The socket under a connection to an upstream.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::task::Context;

use smol::Async;

use crate::sync;
use crate::wire::Socket;

/// A socket, with or without TLS.
pub(super) trait Io: Socket {
    /// Whether nothing unexpected has come: neither bytes nor the end of the connection.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool;
}

impl Io for Async<TcpStream> {
    fn is_quiet(&mut self, _cx: &mut Context<'_>) -> bool {
        let peeked = self.get_ref().peek(&mut [0]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A socket that one task writes to while another reads from it.
#[derive(Clone)]
pub(super) struct SharedIo(Arc<Mutex<Box<dyn Io>>>);

impl SharedIo {
    pub(super) fn new(io: Box<dyn Io>) -> SharedIo {
        SharedIo(Arc::new(Mutex::new(io)))
    }

    /// Calls `f` with the socket. The lock is never held while somebody waits.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut dyn Io) -> R) -> R {
        f(&mut **sync::lock(&self.0))
    }
}
