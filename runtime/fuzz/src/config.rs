//! What the server knows of proxies.

#[path = "../../src/config/entrance.rs"]
mod entrance;

pub(crate) use entrance::Networks;
