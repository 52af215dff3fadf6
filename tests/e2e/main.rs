//! The product seen from outside: its two binaries, sockets, files and exit codes. The same tests
//! run natively and under QEMU; `cargo boards test` builds what they need and says where it is.

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// Daemon, client, artifacts, folders: what the tests are written with.
mod support;

/// Bodies in both directions: framing, trailers, streaming, back-pressure, memory.
mod body;
/// What SIGTERM and a second signal do; ports that are taken.
mod drain;
/// Requests that are malformed or meant to smuggle, and what must not come of them.
mod hostile_http;
/// Well-formed exchanges: keep-alive, pipelining, versions, methods, expectations.
mod http;
/// Connections that are slow, silent, many, half-closed or gone.
mod http_limits;
