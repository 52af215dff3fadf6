//! What is read of fields that belong to one connection.

#[path = "../../../runtime/src/upstream/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/upstream/hop.rs"]
mod hop;
