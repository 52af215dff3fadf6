//! `handle`: a plugin makes the response.
//!
//! Comes last. A typed handler may pass the request through to the next handler; one that exports
//! `wasi:http/incoming-handler` cannot, and always makes the response.

mod typed;
mod wasi_http;

pub(super) use typed::handle as typed;
pub(super) use wasi_http::handle as wasi_http;
