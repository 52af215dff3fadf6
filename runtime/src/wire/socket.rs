//! Sockets of every kind: TCP, TLS over it, Unix.

use smol::io::{AsyncRead, AsyncWrite};

/// A stream of bytes that can be read from and written to.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}
