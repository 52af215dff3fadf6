//! What a secrets file says.

#[path = "../../src/secrets/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/secrets/lines.rs"]
mod lines;
