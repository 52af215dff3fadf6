//! What a secrets file says.

#[path = "../../../runtime/src/secrets/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/secrets/lines.rs"]
mod lines;
