//! What the server reads beside the codec, and how it shows what clients say.

mod access;
#[path = "../../../runtime/src/server/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/server/origin.rs"]
mod origin;
#[path = "../../../runtime/src/server/place.rs"]
mod place;

pub mod tls;
