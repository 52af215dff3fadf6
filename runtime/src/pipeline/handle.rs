//! `handle`: a plugin answers.
//!
//! Comes last. A typed handler may pass the request through to the next; one that exports
//! `wasi:http/incoming-handler` always answers.

mod typed;
mod wasi_http;

pub(super) use typed::handle as typed;
pub(super) use wasi_http::handle as wasi_http;
