//! What only a daemon does that is built with the cargo features `tls` and `deflate`, seen from
//! outside. `cargo boards test` builds one, and runs these tests against it.

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// What all tests are written with, as the end-to-end tests have it.
#[path = "../e2e"]
mod e2e {
    #[expect(dead_code, unused_imports, reason = "they use more of it")]
    pub(crate) mod support;
}
use e2e::support;

/// Compressed WebSocket messages.
mod deflate;
/// TLS to upstreams: of routers, and of plugins' own requests.
mod tls;
