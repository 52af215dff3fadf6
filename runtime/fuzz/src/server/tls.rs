//! What the server reads of its own certificates.

#[path = "../../../src/server/tls/fuzz.rs"]
pub mod fuzz;
#[path = "../../../src/server/tls/pem.rs"]
mod pem;
#[path = "../../../src/server/tls/validity.rs"]
mod validity;
