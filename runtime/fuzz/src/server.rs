//! What the server reads beside the codec.

#[path = "../../src/server/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/server/origin.rs"]
mod origin;

pub mod tls;
