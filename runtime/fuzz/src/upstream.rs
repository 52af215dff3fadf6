//! What is read of fields that belong to one connection.

#[path = "../../src/upstream/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/upstream/hop.rs"]
mod hop;
