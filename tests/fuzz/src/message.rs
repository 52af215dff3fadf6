//! Fields and clients.

#[path = "../../../runtime/src/message/client.rs"]
mod client;
#[path = "../../../runtime/src/message/endless.rs"]
mod endless;
#[path = "../../../runtime/src/message/fields.rs"]
pub(crate) mod fields;
#[path = "../../../runtime/src/message/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/message/spelling.rs"]
mod spelling;

pub(crate) use client::{Client, Scheme, TlsSession};
pub(crate) use endless::{begins_with, elements, endless, wants_events};
pub(crate) use spelling::{Spelled, Spellings};
