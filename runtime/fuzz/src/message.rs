//! Fields and clients.

#[path = "../../src/message/client.rs"]
mod client;
#[path = "../../src/message/endless.rs"]
mod endless;
#[path = "../../src/message/fields.rs"]
pub(crate) mod fields;
#[path = "../../src/message/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/message/spelling.rs"]
mod spelling;

pub(crate) use client::{Client, Scheme, TlsSession};
pub(crate) use endless::{begins_with, elements, endless, wants_events};
pub(crate) use spelling::{Spelled, Spellings};
