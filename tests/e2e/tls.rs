//! Upstreams that speak TLS, with certificates of an authority of their own.

/// Which time certificates are checked at, where nobody knows the time.
mod clock;
/// What a router forwards there, and what comes back.
mod forward;
/// Requests that plugins send to `https`.
mod outgoing;
/// Another implementation of TLS on the other side.
mod python;
/// Upstreams that cannot prove who they are, and files of roots that are no use.
mod refused;
/// The upstream.
mod server;
/// Conversations that are carried on over TLS.
mod websocket;

use std::path::PathBuf;

use crate::support::{Builder, Daemon};

/// One of the certificates that the runtime's own tests of TLS have; see there what they are for.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../runtime/src/upstream/tests/tls")
        .join(name)
}

/// A daemon that trusts the upstreams' authority and forwards everything to this port.
fn proxy(port: u16) -> Builder {
    forwarding(port).arg("--tls-roots").arg(file("ca.pem"))
}

/// The same without the authority.
fn forwarding(port: u16) -> Builder {
    // As much time to shake hands as a slow machine needs.
    let route = format!("test.route=forward localhost {port} tls 60000 60000");
    Daemon::builder("stage-router")
        .args(["--config", &route])
        .allow_host("localhost")
}
