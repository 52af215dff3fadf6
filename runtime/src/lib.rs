//! The ZLayer Edge device daemon.
//!
//! It maps plugins that `zlayer-precompile` compiled ahead of time and serves them over HTTP. It
//! holds no compiler: what it runs is native code (or Pulley bytecode on 32-bit ARM) that a
//! trusted key signed.
//!
//! # The way of a request
//!
//! A socket's bytes land in one buffer ([`server`]); `zlayer_http1` borrows a request head from it;
//! the [`pipeline`] takes the request from stage to stage; each stage takes an instance from its
//! [`plugin`]'s idle ones or makes a fresh one, whose `Store<HostState>` reaches the device through
//! [`host`]; the response goes back over the same connection, past the stages that have to do with
//! it, and the work of a plugin that goes on behind it is polled beside ([`pipeline::Tail`]).
//!
//! # Layers
//!
//! A module imports only from layers below its own: [`cli`], [`daemon`], [`admin`], [`server`],
//! [`pipeline`], [`websocket`] and [`plugin`], [`host`], [`upstream`] and [`cache`], [`message`],
//! [`wire`] and [`resolver`], and then what everybody uses. `tests/layers` holds the whole table.
//!
//! # Threads
//!
//! A few threads run smol's executor, which polls connections and guests alike, and one more while
//! plugins compute so much that they wait for each other ([`turns`]). Beside them run async-io's
//! reactor, a thread that makes guests yield (`epoch`, asleep while no guest runs), the
//! store's keeper (`kv-keeper`, asleep while nothing changes), fjall's one worker, and a thread for
//! tokio's reactor, which starts with the first outgoing request ([`reactor`]). Threads for work
//! that waits for the disk come with it and go after it.
//!
//! # Memory
//!
//! [`memory::Budget`] is the one ceiling. Everything that a client, an upstream or a plugin can
//! make grow is reserved there first.

pub mod account;
pub mod admin;
pub mod cache;
pub mod capability;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod confinement;
pub mod core_dumps;
pub mod daemon;
pub mod data_dir;
pub mod device;
pub mod error;
pub mod failure;
pub mod generations;
pub mod heap;
pub mod host;
pub mod huge_pages;
pub mod keyvalue;
pub mod log_ring;
pub mod logger;
pub mod logs;
pub mod memory;
pub mod message;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod rate;
pub mod reactor;
pub mod redact;
pub mod resolver;
pub mod secrets;
pub mod server;
pub mod stack;
pub mod standard_error;
pub mod stats;
pub mod turns;
pub mod upstream;
pub mod websocket;
pub mod wire;

mod blocking;
#[cfg(test)]
mod mutations;
mod sync;
mod timeout;
mod told;

pub use config::Config;
pub use error::{Error, Result};
