//! What the fuzz targets check.
//!
//! The daemon's small readers of strangers' bytes are included from its sources one by one: the whole
//! of it links the engine, which takes a quarter of an hour to build for fuzzing. What holds for each of
//! them stands beside it, in a `fuzz.rs`. The modules here say where that is looked for, and stand in for
//! the few items that would bring more along than they are worth.
#![allow(dead_code, unused_imports, reason = "the daemon uses what is not used here")]

pub mod admin;
pub mod cache;
pub mod config;
pub mod keyvalue;
pub mod message;
pub mod pipeline;
pub mod resolver;
pub mod secrets;
pub mod server;
pub mod upstream;
pub mod versions;

#[path = "../../../runtime/src/clock.rs"]
mod clock;
#[path = "../../../runtime/src/redact.rs"]
mod redact;
#[path = "../../../runtime/src/sync.rs"]
mod sync;

#[path = "../../../runtime/http1/tests/properties/mod.rs"]
pub mod properties;

mod device;
mod host;
mod target;

#[cfg(fuzzing)]
pub use libfuzzer_sys::fuzz_target;
#[cfg(not(fuzzing))]
pub use target::each_file;
