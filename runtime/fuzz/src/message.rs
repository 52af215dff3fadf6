//! Fields and clients.

#[path = "../../src/message/client.rs"]
mod client;
#[path = "../../src/message/fields.rs"]
pub(crate) mod fields;
#[path = "../../src/message/spelling.rs"]
mod spelling;

pub(crate) use client::{Client, Scheme, TlsSession};
pub(crate) use spelling::{Spelled, Spellings};
