//! What the server reads of its own certificates.

#[path = "../../../../runtime/src/server/tls/fuzz.rs"]
pub mod fuzz;
#[path = "../../../../runtime/src/server/tls/pem.rs"]
mod pem;
#[path = "../../../../runtime/src/server/tls/validity.rs"]
mod validity;
